#pragma once

#include <array>

#include "manifest.h"
#include "picture.h"
#include "tensor.h"

namespace edgekit {

// Height and width of the network's input for a picture of height x width pixels. Raises EK406 for a picture that
// is too thin, EK409 when crop and resize do not fit.
std::array<int, 2> input_size(int height, int width, const Preprocess& spec);

// A picture -> float32 (1, 3, h, w): (x * scale - mean) / std, each step in float32, as edgekit/tasks/preprocessing.py
// does it. Raises what `input_size` does.
Tensor preprocessed(const Picture& picture, const Preprocess& spec);

}  // namespace edgekit
