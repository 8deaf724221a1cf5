// The pieces of plane geometry that text detection needs, with the answers of OpenCV and Clipper.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace edgekit {

template <typename Number>
struct Point {
    Number x, y;
    bool operator==(const Point& other) const { return x == other.x && y == other.y; }
    bool operator!=(const Point& other) const { return !(*this == other); }
};

using Pixel = Point<int>;
using Corner = Point<float>;
using Quad = std::array<Corner, 4>;  // clockwise from the upper left corner

// The borders of what is set in `mask` [height, width], outer ones and those of holes, as corner points of 8-connected
// chains; the border found last comes first. Suzuki and Abe, "Topological structural analysis of digitized binary
// images by border following", 1985; OpenCV's findContours(RETR_LIST, CHAIN_APPROX_SIMPLE).
std::vector<std::vector<Pixel>> borders(const std::vector<bool>& mask, int height, int width);

// The convex hull without points on its sides, clockwise in a picture.
std::vector<Pixel> convex_hull(const std::vector<Pixel>& points);

struct Rectangle {
    Quad corners;
    float shorter_side;
};

// The rotated rectangle of least area around at least one point, by rotating calipers over the hull. Of equally small
// ones it is OpenCV's, whose float32 arithmetic is kept for that.
Rectangle smallest_rectangle(const std::vector<Pixel>& points);

// The mean of `map` [height, width] over the pixels of a quad, its outline included.
double mean_inside(const float* map, int height, int width, const Quad& quad);

// Points of the outline of a quad moved outwards by area * ratio / perimeter with round corners, whose convex hull is
// that of Clipper's offset (Vatti, 1992; JT_ROUND, arc tolerance 0.25). Corners are cut to whole pixels before and
// rounded after. Empty when in whole pixels the quad has fewer than three corners.
std::vector<Pixel> grown(const Quad& quad, double ratio);

}  // namespace edgekit
