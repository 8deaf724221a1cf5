#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace edgekit {

struct Tensor {
    std::vector<std::int64_t> shape;
    std::vector<float> values;  // row-major
};

using Tensors = std::map<std::string, Tensor>;

// "(1, 3, 416, 416)", as Python prints a shape.
std::string told(const std::vector<std::int64_t>& shape);

}  // namespace edgekit
