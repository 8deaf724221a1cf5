// What runs a network: ONNX Runtime, or Paddle Lite where it was compiled in.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tensor.h"

namespace edgekit {

class Engine {
public:
    Engine() = default;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    virtual ~Engine() = default;

    // Raw outputs by name for the one input. Raises EK501 when the engine fails. Not for several threads at once.
    virtual Tensors run(const Tensor& input) = 0;

    virtual std::string version() const = 0;  // "ONNX Runtime 1.23.2"
};

// `outputs` are the names that the outputs get, in the model's order; ONNX files carry them themselves.
// Both raise EK501 when the file cannot be loaded.
std::unique_ptr<Engine> open_onnx(const std::filesystem::path& model, int threads);
std::unique_ptr<Engine> open_lite(const std::filesystem::path& model, const std::vector<std::string>& outputs, int threads);

}  // namespace edgekit
