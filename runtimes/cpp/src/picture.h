#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace edgekit {

// Larger pictures are refused by their header, before memory is taken for them (as in Python).
constexpr int LONGEST_SIDE = 30000;
constexpr std::int64_t MOST_PIXELS = 100'000'000;

struct Picture {
    int height = 0, width = 0;
    std::vector<std::uint8_t> pixels;  // [height, width, 3], blue green red

    Picture() = default;
    Picture(int height_, int width_) : height(height_), width(width_), pixels(stride() * static_cast<std::size_t>(height_)) {}

    std::size_t stride() const { return static_cast<std::size_t>(width) * 3; }
    const std::uint8_t* row(int y) const { return pixels.data() + stride() * static_cast<std::size_t>(y); }
    std::uint8_t* row(int y) { return pixels.data() + stride() * static_cast<std::size_t>(y); }
};

// PNG or JPEG -> the pixels that edgekit's Python side gets from OpenCV: EXIF's orientation applied, transparency
// over white. Raises EK406.
Picture decode_picture(const std::vector<std::uint8_t>& data, const std::string& name);

}  // namespace edgekit
