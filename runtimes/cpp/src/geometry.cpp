#include "geometry.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace edgekit {
namespace {

// The eight neighbours, counter-clockwise from the right.
constexpr std::array<Pixel, 8> NEIGHBOURS = {{{1, 0}, {1, -1}, {0, -1}, {-1, -1}, {-1, 0}, {-1, 1}, {0, 1}, {1, 1}}};

enum Mark : std::int8_t { BACKGROUND = 0, NEW = 1, VISITED = 2, VISITED_RIGHT = -2 };

// The mask with a rim of background, so that every pixel has eight neighbours.
class Canvas {
public:
    Canvas(const std::vector<bool>& mask, int height, int width)
        : stride_(static_cast<std::size_t>(width) + 2), marks_(stride_ * (static_cast<std::size_t>(height) + 2)) {
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x)
                if (mask[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)])
                    at({x, y}) = NEW;
    }

    std::int8_t& at(Pixel p) {
        return marks_[static_cast<std::size_t>(p.y + 1) * stride_ + static_cast<std::size_t>(p.x + 1)];
    }

private:
    std::size_t stride_;
    std::vector<std::int8_t> marks_;
};

Pixel step(Pixel p, int direction) {
    const Pixel& delta = NEIGHBOURS[static_cast<std::size_t>(direction)];
    return {p.x + delta.x, p.y + delta.y};
}

// Follows a border from its first pixel, marks it, and gives the points where it turns.
std::vector<Pixel> follow(Canvas& canvas, Pixel start, bool is_hole) {
    const int background = is_hole ? 0 : 4;  // the direction in which the scan met background
    int direction = background;
    do direction = (direction + 7) % 8;
    while (canvas.at(step(start, direction)) == BACKGROUND && direction != background);
    if (direction == background) {
        canvas.at(start) = VISITED_RIGHT;
        return {start};
    }
    const Pixel last = step(start, direction);
    std::vector<Pixel> corners;
    Pixel here = start;
    int before = (direction + 4) % 8;  // the direction of the step that led here
    while (true) {
        const int from = direction;  // where the last pixel lies
        int turn = from;
        Pixel next{};
        do next = step(here, ++turn % 8);
        while (canvas.at(next) == BACKGROUND);
        direction = turn % 8;
        // Was the right neighbour looked at and found to be background?
        if (direction > 0 && direction - 1 < from) canvas.at(here) = VISITED_RIGHT;
        else if (canvas.at(here) == NEW) canvas.at(here) = VISITED;
        if (direction != before) corners.push_back(here);
        before = direction;
        if (next == start && here == last) return corners;
        here = next;
        direction = (direction + 4) % 8;
    }
}

}  // namespace

std::vector<std::vector<Pixel>> borders(const std::vector<bool>& mask, int height, int width) {
    Canvas canvas(mask, height, width);
    std::vector<std::vector<Pixel>> found;
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            const int left = canvas.at({x - 1, y}), here = canvas.at({x, y});
            if (left == BACKGROUND && here == NEW) found.push_back(follow(canvas, {x, y}, false));
            else if (left > 0 && here == BACKGROUND) found.push_back(follow(canvas, {x - 1, y}, true));
        }
    std::reverse(found.begin(), found.end());
    return found;
}

namespace {

std::int64_t cross(Pixel o, Pixel a, Pixel b) {
    return static_cast<std::int64_t>(a.x - o.x) * (b.y - o.y) - static_cast<std::int64_t>(a.y - o.y) * (b.x - o.x);
}

// Where a hull begins decides between rectangles of equal area: as in OpenCV, with the first point of the input when
// the hull goes round in the input's order, with the last when it goes against it.
void start_as_input(std::vector<std::size_t>& hull) {
    const auto rises = [&](std::size_t i) { return hull[i] < hull[(i + 1) % hull.size()]; };
    std::size_t rising = 0;
    for (std::size_t i = 0; i < hull.size(); ++i) rising += rises(i);
    if (rising == hull.size() - 1) std::rotate(hull.begin(), std::min_element(hull.begin(), hull.end()), hull.end());
    else if (rising == 1) std::rotate(hull.begin(), std::max_element(hull.begin(), hull.end()), hull.end());
}

}  // namespace

std::vector<Pixel> convex_hull(const std::vector<Pixel>& points) {
    std::vector<std::size_t> order(points.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        const Pixel &p = points[a], &q = points[b];
        return p.x != q.x ? p.x < q.x : p.y != q.y ? p.y < q.y : a < b;
    });
    order.erase(std::unique(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return points[a] == points[b]; }),
                order.end());
    // Andrew's monotone chain: from the rightmost point over the lowest of a picture to the leftmost, and back.
    std::vector<std::size_t> hull;
    const auto add = [&](std::size_t index, std::size_t from) {
        while (hull.size() >= from + 2 && cross(points[hull[hull.size() - 2]], points[hull.back()], points[index]) <= 0)
            hull.pop_back();
        hull.push_back(index);
    };
    for (auto it = order.rbegin(); it != order.rend(); ++it) add(*it, 0);
    const std::size_t back = hull.size() - 1;
    for (auto it = order.begin() + 1; it < order.end(); ++it) add(*it, back);
    if (hull.size() > 1) hull.pop_back();
    if (hull.size() > 2) start_as_input(hull);
    std::vector<Pixel> result;
    for (const std::size_t index : hull) result.push_back(points[index]);
    return result;
}

namespace {

constexpr double PI = 3.14159265358979323846;

// Turned clockwise by quarters, in mathematical coordinates.
Corner turned(Corner v, int quarters) {
    switch (quarters) {
        case 1: return {v.y, -v.x};
        case 2: return {-v.x, -v.y};
        case 3: return {-v.y, v.x};
        default: return v;
    }
}

struct Box {
    Corner centre{0, 0}, size{0, 0};
    float angle = 0;  // degrees
};

Box box_of(Corner centre, Corner along, Corner width, Corner height) {
    const auto length = [](Corner v) {
        return static_cast<float>(std::sqrt(static_cast<double>(v.x) * v.x + static_cast<double>(v.y) * v.y));
    };
    const float angle = static_cast<float>(std::atan2(static_cast<double>(along.y), static_cast<double>(along.x)));
    return {centre, {length(width), length(height)}, static_cast<float>(angle * 180 / PI)};
}

Box calipers(const std::vector<Corner>& hull) {
    const std::size_t n = hull.size();
    std::vector<Corner> edges(n);
    std::vector<float> shares(n);  // 1 / length
    std::size_t lowest = 0, rightmost = 0, highest = 0, leftmost = 0;
    for (std::size_t i = 0; i < n; ++i) {
        if (hull[i].x < hull[leftmost].x) leftmost = i;
        if (hull[i].x > hull[rightmost].x) rightmost = i;
        if (hull[i].y > hull[highest].y) highest = i;
        if (hull[i].y < hull[lowest].y) lowest = i;
        const Corner &from = hull[i], &to = hull[(i + 1) % n];
        edges[i] = {to.x - from.x, to.y - from.y};
        const double dx = edges[i].x, dy = edges[i].y;
        shares[i] = static_cast<float>(1.0 / std::sqrt(dx * dx + dy * dy));
    }
    // The points that the four sides touch. Each turn lays a side along the edge that asks for the smallest turn.
    std::array<std::size_t, 4> touched = {lowest, rightmost, highest, leftmost};
    float least = std::numeric_limits<float>::max();
    Corner base{}, size{}, left{}, low{};
    for (std::size_t k = 0; k < n; ++k) {
        std::size_t first = 0;
        const auto edge = [&](std::size_t side) { return turned(edges[touched[side]], static_cast<int>(side)); };
        for (std::size_t side = 1; side < 4; ++side) {
            const Corner a = turned(edge(side), 1), b = edge(first);
            if (a.x * b.x + a.y * b.y < 0) first = side;
        }
        const std::size_t at = touched[first];
        const Corner way = turned({edges[at].x * shares[at], edges[at].y * shares[at]}, static_cast<int>(first));
        touched[first] = (at + 1) % n;
        const Corner &l = hull[touched[3]], &r = hull[touched[1]], &b = hull[touched[0]], &t = hull[touched[2]];
        const float width = (r.x - l.x) * way.x + (r.y - l.y) * way.y;
        const float height = -(t.x - b.x) * way.y + (t.y - b.y) * way.x;
        const float area = width * height;
        if (area <= least) {
            least = area;
            base = way;
            size = {width, height};
            left = l;
            low = b;
        }
    }
    // The corner where the lines through the left and the lowest point meet.
    const float a1 = base.x, b1 = base.y, a2 = -base.y, b2 = base.x;
    const float c1 = a1 * left.x + left.y * b1, c2 = a2 * low.x + low.y * b2;
    const float share = 1.0F / (a1 * b2 - a2 * b1);
    const Corner corner{(c1 * b2 - c2 * b1) * share, (a1 * c2 - a2 * c1) * share};
    const Corner across{a1 * size.x, b1 * size.x}, up{a2 * size.y, b2 * size.y};
    return box_of({corner.x + (across.x + up.x) * 0.5F, corner.y + (across.y + up.y) * 0.5F}, across, across, up);
}

Box box_around(const std::vector<Corner>& hull) {
    if (hull.size() > 2) return calipers(hull);
    const Corner &a = hull.front(), &b = hull.back();
    const Corner way{b.x - a.x, b.y - a.y};
    return box_of({(a.x + b.x) * 0.5F, (a.y + b.y) * 0.5F}, way, way, {0, 0});
}

// PaddleOCR's order: of the two left corners the upper one first, of the two right ones likewise.
Quad ordered(Quad corners) {
    std::stable_sort(corners.begin(), corners.end(), [](Corner a, Corner b) { return a.x < b.x; });
    if (corners[1].y <= corners[0].y) std::swap(corners[0], corners[1]);
    if (corners[3].y <= corners[2].y) std::swap(corners[2], corners[3]);
    return {corners[0], corners[2], corners[3], corners[1]};
}

}  // namespace

Rectangle smallest_rectangle(const std::vector<Pixel>& points) {
    std::vector<Corner> hull;
    for (const Pixel& p : convex_hull(points)) hull.push_back({static_cast<float>(p.x), static_cast<float>(p.y)});
    const Box box = box_around(hull);
    const double angle = box.angle * PI / 180;
    const float b = static_cast<float>(std::cos(angle)) * 0.5F, a = static_cast<float>(std::sin(angle)) * 0.5F;
    const Corner first{box.centre.x - a * box.size.y - b * box.size.x, box.centre.y + b * box.size.y - a * box.size.x};
    const Corner second{box.centre.x + a * box.size.y - b * box.size.x, box.centre.y - b * box.size.y - a * box.size.x};
    return {ordered({{first,
                      second,
                      {2 * box.centre.x - first.x, 2 * box.centre.y - first.y},
                      {2 * box.centre.x - second.x, 2 * box.centre.y - second.y}}}),
            std::min(box.size.x, box.size.y)};
}

namespace {

// A filled polygon in a mask, its outline included, with the pixels that OpenCV's fillPoly takes.
class Stencil {
public:
    Stencil(int height, int width) : height_(height), width_(width), set_(static_cast<std::size_t>(height) * static_cast<std::size_t>(width)) {}

    bool has(int x, int y) const { return set_[index(x, y)]; }

    void fill(const std::array<Pixel, 4>& corners) {
        for (std::size_t i = 0; i < 4; ++i) line(corners[(i + 3) % 4], corners[i]);
        for (int y = 0; y < height_; ++y) {
            std::vector<std::int64_t> crossings;  // in 1/65536 pixel
            for (std::size_t i = 0; i < 4; ++i) {
                Pixel a = corners[(i + 3) % 4], b = corners[i];
                if (a.y > b.y) std::swap(a, b);
                if (y < a.y || y >= b.y) continue;
                const std::int64_t slope = (static_cast<std::int64_t>(b.x - a.x) * ONE) / (b.y - a.y);
                crossings.push_back(a.x * ONE + slope * (y - a.y));
            }
            std::sort(crossings.begin(), crossings.end());
            for (std::size_t i = 0; i + 1 < crossings.size(); i += 2)
                for (std::int64_t x = std::max<std::int64_t>((crossings[i] + ONE - 1) >> BITS, 0);
                     x <= std::min<std::int64_t>(crossings[i + 1] >> BITS, width_ - 1); ++x)
                    set_[index(static_cast<int>(x), y)] = true;
        }
    }

private:
    static constexpr int BITS = 16;
    static constexpr std::int64_t ONE = 1 << BITS;

    std::size_t index(int x, int y) const {
        return static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x);
    }

    // -1, 0 or 1: before, in or behind 0..size-1.
    static int side(int value, int size) { return value < 0 ? -1 : value >= size ? 1 : 0; }

    // Moves the ends of a line onto the mask's rim, first to its rows, then to its columns, cut to whole pixels as in
    // OpenCV. False when the line lies outside.
    bool clip(Pixel& a, Pixel& b) const {
        const auto rim = [](int end, int size) { return end < 0 ? 0 : size - 1; };
        const auto along = [](std::int64_t way, std::int64_t share, std::int64_t whole) { return static_cast<int>(way * share / whole); };
        const auto is_beside = [](int x, int y) { return x != 0 && x == y; };
        if (is_beside(side(a.x, width_), side(b.x, width_)) || is_beside(side(a.y, height_), side(b.y, height_))) return false;
        for (Pixel* end : {&a, &b})
            if (const int at = side(end->y, height_); at != 0) {
                end->x += along(rim(at, height_) - end->y, b.x - a.x, b.y - a.y);
                end->y = rim(at, height_);
            }
        if (is_beside(side(a.x, width_), side(b.x, width_))) return false;
        for (Pixel* end : {&a, &b})
            if (const int at = side(end->x, width_); at != 0) {
                end->y += along(rim(at, width_) - end->x, b.y - a.y, b.x - a.x);
                end->x = rim(at, width_);
            }
        return true;
    }

    // Bresenham's line, from left to right.
    void line(Pixel a, Pixel b) {
        if (!clip(a, b)) return;
        if (a.x > b.x) std::swap(a, b);
        const int dx = b.x - a.x, dy = std::abs(b.y - a.y), down = b.y < a.y ? -1 : 1;
        const bool is_steep = dy > dx;
        const int longer = std::max(dx, dy), shorter = std::min(dx, dy);
        int error = longer - 2 * shorter;
        for (int k = 0; k <= longer; ++k) {
            set_[index(a.x, a.y)] = true;
            const bool aside = error < 0;
            error += (aside ? 2 * longer : 0) - 2 * shorter;
            if (is_steep || aside) a.y += down;
            if (!is_steep || aside) a.x += 1;
        }
    }

    int height_, width_;
    std::vector<bool> set_;
};

}  // namespace

double mean_inside(const float* map, int height, int width, const Quad& quad) {
    float least_x = quad[0].x, most_x = quad[0].x, least_y = quad[0].y, most_y = quad[0].y;
    for (const Corner& corner : quad) {
        least_x = std::min(least_x, corner.x), most_x = std::max(most_x, corner.x);
        least_y = std::min(least_y, corner.y), most_y = std::max(most_y, corner.y);
    }
    const int x0 = std::clamp(static_cast<int>(std::floor(least_x)), 0, width - 1);
    const int x1 = std::clamp(static_cast<int>(std::ceil(most_x)), 0, width - 1);
    const int y0 = std::clamp(static_cast<int>(std::floor(least_y)), 0, height - 1);
    const int y1 = std::clamp(static_cast<int>(std::ceil(most_y)), 0, height - 1);
    Stencil stencil(y1 - y0 + 1, x1 - x0 + 1);
    std::array<Pixel, 4> corners{};
    for (std::size_t i = 0; i < 4; ++i)  // cut, not rounded
        corners[i] = {static_cast<int>(quad[i].x - static_cast<float>(x0)), static_cast<int>(quad[i].y - static_cast<float>(y0))};
    stencil.fill(corners);
    double sum = 0;
    std::size_t count = 0;
    for (int y = y0; y <= y1; ++y)
        for (int x = x0; x <= x1; ++x)
            if (stencil.has(x - x0, y - y0)) {
                sum += map[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)];
                ++count;
            }
    return count ? sum / static_cast<double>(count) : 0;
}

namespace {

using Vector = Point<double>;

double twice_area(const std::vector<Pixel>& ring) {
    double sum = 0;
    for (std::size_t i = 0; i < ring.size(); ++i) {
        const Pixel &a = ring[i], &b = ring[(i + 1) % ring.size()];
        sum += static_cast<double>(a.x) * b.y - static_cast<double>(b.x) * a.y;
    }
    return sum;
}

int whole(double value) { return static_cast<int>(value < 0 ? value - 0.5 : value + 0.5); }

}  // namespace

std::vector<Pixel> grown(const Quad& quad, double ratio) {
    double area = 0, perimeter = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        const Corner &a = quad[i], &b = quad[(i + 1) % 4];
        area += (static_cast<double>(a.x) - quad[0].x) * (static_cast<double>(b.y) - quad[0].y) -
                (static_cast<double>(b.x) - quad[0].x) * (static_cast<double>(a.y) - quad[0].y);
        perimeter += std::hypot(static_cast<double>(b.x) - a.x, static_cast<double>(b.y) - a.y);
    }
    std::vector<Pixel> ring;
    for (const Corner& corner : quad) {
        const Pixel cut{static_cast<int>(corner.x), static_cast<int>(corner.y)};
        if (ring.empty() || ring.back() != cut) ring.push_back(cut);
    }
    while (ring.size() > 1 && ring.front() == ring.back()) ring.pop_back();
    if (ring.size() < 3 || perimeter == 0) return {};
    if (twice_area(ring) < 0) std::reverse(ring.begin(), ring.end());

    const double distance = std::abs(area) / 2 * ratio / perimeter;
    if (distance < 1e-20) return ring;
    const double tolerance = std::min(0.25, distance * 0.25);
    const double steps = std::min(PI / std::acos(1 - tolerance / distance), distance * PI);  // of a full turn
    const double sine = std::sin(2 * PI / steps), cosine = std::cos(2 * PI / steps);

    const std::size_t n = ring.size();
    std::vector<Vector> normals(n);
    for (std::size_t i = 0; i < n; ++i) {
        const Pixel &a = ring[i], &b = ring[(i + 1) % n];
        const double dx = b.x - a.x, dy = b.y - a.y, share = 1 / std::sqrt(dx * dx + dy * dy);
        normals[i] = {dy * share, -dx * share};
    }
    std::vector<Pixel> outline;
    for (std::size_t i = 0; i < n; ++i) {
        const Vector &before = normals[(i + n - 1) % n], &after = normals[i];
        const auto add = [&](const Vector& v) {
            outline.push_back({whole(ring[i].x + v.x * distance), whole(ring[i].y + v.y * distance)});
        };
        const double turn = std::clamp(before.x * after.y - after.x * before.y, -1.0, 1.0);
        const double along = before.x * after.x + before.y * after.y;
        if (std::abs(turn * distance) < 1 && along > 0) {
            add(before);
            continue;
        }
        if (turn < 0) {  // the corner points inwards
            add(before);
            outline.push_back(ring[i]);
            add(after);
            continue;
        }
        const int count = std::max(whole(steps / (2 * PI) * std::abs(std::atan2(turn, along))), 1);
        Vector v = before;
        for (int k = 0; k < count; ++k) {
            add(v);
            v = {v.x * cosine - sine * v.y, v.x * sine + v.y * cosine};
        }
        add(after);
    }
    return outline;
}

}  // namespace edgekit
