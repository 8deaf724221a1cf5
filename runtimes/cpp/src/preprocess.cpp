#include "preprocess.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace edgekit {
namespace {

constexpr int THINNEST = 32767;  // pixels: the longest side that Python's definition resizes to

// The width of the network's input for a line of text: as PaddleOCR gives a batch of one line.
double line_width(int height, int width, const Resize& resize) {
    const double wide = std::max(static_cast<double>(resize.width) / resize.height, width / static_cast<double>(height));
    return std::min(std::floor(resize.height * wide), static_cast<double>(resize.widest));
}

// As PaddleOCR's DetResizeForTest: sides are cut to whole pixels after each change of scale; to multiples they are
// rounded half to even, and one is the least.
std::array<double, 2> page_size(double height, double width, const Resize& resize) {
    const auto scale = [&](double ratio) { height = std::floor(height * ratio), width = std::floor(width * ratio); };
    if (std::min(height, width) < resize.shortest) scale(resize.shortest / std::min(height, width));
    if (std::max(height, width) > resize.longest) scale(resize.longest / std::max(height, width));
    const auto to_multiple = [&](double side) { return std::max(std::nearbyint(side / resize.multiple), 1.0) * resize.multiple; };
    return {to_multiple(height), to_multiple(width)};
}

// Height and width after resizing, without the filling of a line. Rounding is half to even.
std::array<int, 2> resized_size(int height, int width, const Resize& resize) {
    double high = resize.height, wide = resize.width;
    if (resize.kind == Resize::Kind::line) {
        wide = std::min(std::ceil(resize.height * (width / static_cast<double>(height))), line_width(height, width, resize));
    } else if (resize.kind == Resize::Kind::short_side) {
        const double ratio = static_cast<double>(resize.height) / std::min(height, width);
        high = std::nearbyint(height * ratio);
        wide = std::nearbyint(width * ratio);
    } else if (resize.kind == Resize::Kind::page) {
        const auto page = page_size(height, width, resize);
        high = page[0], wide = page[1];
    }
    if (std::max(high, wide) > THINNEST || high * wide > static_cast<double>(MOST_PIXELS))
        throw Error("EK406", "A picture of " + std::to_string(height) + "x" + std::to_string(width) +
                                 " (height x width) would be resized to too large a one: it is too thin.");
    return {static_cast<int>(high), static_cast<int>(wide)};
}

}  // namespace

std::array<int, 2> input_size(int height, int width, const Preprocess& spec) {
    const auto [high, wide] = resized_size(height, width, spec.resize);
    if (spec.crop) {
        if ((*spec.crop)[0] > high || (*spec.crop)[1] > wide)
            throw Error("EK409", "Pre-processing crops " + std::to_string((*spec.crop)[0]) + "x" +
                                     std::to_string((*spec.crop)[1]) + " from a picture of " + std::to_string(high) +
                                     "x" + std::to_string(wide) + " (height x width).");
        return *spec.crop;
    }
    if (spec.resize.kind == Resize::Kind::line) return {high, static_cast<int>(line_width(height, width, spec.resize))};
    return {high, wide};
}

Tensor preprocessed(const Picture& picture, const Preprocess& spec) {
    const auto [height, width] = input_size(picture.height, picture.width, spec);
    const auto [high, wide] = resized_size(picture.height, picture.width, spec.resize);
    const bool is_same = high == picture.height && wide == picture.width;
    const Picture changed = is_same ? Picture() : resized(picture, high, wide, spec.resize.interpolation);
    const Picture& seen = is_same ? picture : changed;

    // What is left over of an odd rest goes to the bottom and right.
    const int top = spec.crop ? (high - height) / 2 : 0, left = spec.crop ? (wide - width) / 2 : 0;
    const int filled = std::min(width, wide);
    Tensor tensor{{1, 3, height, width}, {}};
    const auto plane = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
    tensor.values.resize(3 * plane);  // zeros, which is what a line is filled up with
    for (std::size_t c = 0; c < 3; ++c) {
        const std::size_t from = spec.is_rgb ? 2 - c : c;
        for (int y = 0; y < height; ++y) {
            const std::uint8_t* in = seen.row(top + y) + static_cast<std::size_t>(left) * 3 + from;
            float* out = tensor.values.data() + c * plane + static_cast<std::size_t>(y) * static_cast<std::size_t>(width);
            for (int x = 0; x < filled; ++x)
                out[x] = (static_cast<float>(in[3 * x]) * spec.scale - spec.mean[c]) / spec.deviation[c];
        }
    }
    return tensor;
}

}  // namespace edgekit
