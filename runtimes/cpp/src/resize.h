#pragma once

#include "picture.h"

namespace edgekit {

enum class Interpolation { nearest, linear, cubic, area };

// What OpenCV's resize does with 8 bits a channel, without Intel's IPP. `height` and `width` must be positive.
// tests/runtimes/test_cpp_steps.py compares with OpenCV itself.
Picture resized(const Picture& picture, int height, int width, Interpolation interpolation);

}  // namespace edgekit
