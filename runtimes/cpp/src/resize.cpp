#include "resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace edgekit {
namespace {

constexpr int CHANNELS = 3;
constexpr int ONE = 2048;  // a weight of 1

std::uint8_t to_byte(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

int rounded(float value) { return static_cast<int>(std::nearbyint(value)); }  // half to even

// Where each pixel of a side comes from, by `Taps` neighbours: the first of them (it may lie outside), and weights.
template <std::size_t Taps>
struct Side {
    std::vector<int> first;
    std::vector<std::array<int, Taps>> weights;
};

// Keys' cubic with a = -0.75.
std::array<float, 4> cubic_weights(float x) {
    constexpr float A = -0.75F;
    std::array<float, 4> w{};
    w[0] = ((A * (x + 1) - 5 * A) * (x + 1) + 8 * A) * (x + 1) - 4 * A;
    w[1] = ((A + 2) * x - (A + 3)) * x * x + 1;
    w[2] = ((A + 2) * (1 - x) - (A + 3)) * (1 - x) * (1 - x) + 1;
    w[3] = 1.0F - w[0] - w[1] - w[2];
    return w;
}

template <std::size_t Taps>
std::array<int, Taps> weights_at(float x) {
    std::array<float, Taps> weights{};
    if constexpr (Taps == 4) weights = cubic_weights(x);
    else weights = {1.0F - x, x};
    std::array<int, Taps> whole{};
    std::transform(weights.begin(), weights.end(), whole.begin(), [](float w) { return rounded(w * ONE); });
    return whole;
}

// `enlarging` is OpenCV's stand-in for area averages where a side does not shrink.
template <std::size_t Taps>
Side<Taps> side(int from, int to, bool horizontal, bool enlarging) {
    const double inverse = static_cast<double>(to) / from, scale = 1.0 / inverse;
    Side<Taps> result;
    for (int d = 0; d < to; ++d) {
        int s;
        float x;
        if (enlarging) {
            s = static_cast<int>(std::floor(d * scale));
            x = static_cast<float>((d + 1) - (s + 1) * inverse);
            x = x <= 0 ? 0.0F : x - std::floor(x);
        } else {
            x = static_cast<float>((d + 0.5) * scale - 0.5);
            s = static_cast<int>(std::floor(x));
            x -= static_cast<float>(s);
        }
        // Linear columns beyond the border take the border's weight alone; cubic ones and all rows repeat it.
        if (Taps == 2 && horizontal) {
            if (s < 0) x = 0, s = 0;
            if (s >= from - 1) x = 0, s = from - 1;
        }
        result.first.push_back(s - static_cast<int>(Taps / 2) + 1);
        result.weights.push_back(weights_at<Taps>(x));
    }
    return result;
}

// One row of the picture brought to the new width, in units of 1/2048.
template <std::size_t Taps>
void across(const std::uint8_t* in, int width, const Side<Taps>& columns, std::vector<int>& out) {
    for (std::size_t d = 0; d < columns.first.size(); ++d)
        for (std::size_t c = 0; c < CHANNELS; ++c) {
            int sum = 0;
            for (std::size_t k = 0; k < Taps; ++k) {
                const int s = std::clamp(columns.first[d] + static_cast<int>(k), 0, width - 1);
                sum += in[static_cast<std::size_t>(s) * CHANNELS + c] * columns.weights[d][k];
            }
            out[d * CHANNELS + c] = sum;
        }
}

// One value of such rows brought together. What the shifts lose OpenCV loses, too; its vector code weighs the rows of
// a cubic in float32, and the fourth first.
std::uint8_t down(const std::array<const int*, 2>& rows, std::size_t at, const std::array<int, 2>& w) {
    return to_byte((((w[0] * (rows[0][at] >> 4)) >> 16) + ((w[1] * (rows[1][at] >> 4)) >> 16) + 2) >> 2);
}

std::uint8_t down(const std::array<const int*, 4>& rows, std::size_t at, const std::array<int, 4>& w) {
    constexpr float UNIT = 1.0F / (ONE * ONE);
    float sum = 0;
    for (std::size_t k = 4; k-- > 0;) sum += static_cast<float>(rows[k][at]) * (static_cast<float>(w[k]) * UNIT);
    return to_byte(rounded(sum));
}

template <std::size_t Taps>
Picture separable(const Picture& in, int height, int width, bool enlarging) {
    const auto columns = side<Taps>(in.width, width, true, enlarging);
    const auto lines = side<Taps>(in.height, height, false, enlarging);
    Picture out(height, width);
    // The widened rows that the last line needed: `held[k]` is the number of the row in `buffers[k]`.
    std::array<std::vector<int>, Taps> buffers;
    std::array<int, Taps> held;
    held.fill(-1);
    for (auto& buffer : buffers) buffer.resize(out.stride());
    for (int y = 0; y < height; ++y) {
        const auto line = static_cast<std::size_t>(y);
        std::array<const int*, Taps> rows{};
        for (std::size_t k = 0; k < Taps; ++k) {
            const int s = std::clamp(lines.first[line] + static_cast<int>(k), 0, in.height - 1);
            const std::size_t slot = static_cast<std::size_t>(s) % Taps;
            if (held[slot] != s) {
                across<Taps>(in.row(s), in.width, columns, buffers[slot]);
                held[slot] = s;
            }
            rows[k] = buffers[slot].data();
        }
        std::uint8_t* pixels = out.row(y);
        for (std::size_t i = 0; i < out.stride(); ++i) pixels[i] = down(rows, i, lines.weights[line]);
    }
    return out;
}

Picture nearest(const Picture& in, int height, int width) {
    const double down_by = 1.0 / (static_cast<double>(height) / in.height);
    const double across_by = 1.0 / (static_cast<double>(width) / in.width);
    Picture out(height, width);
    for (int y = 0; y < height; ++y) {
        const std::uint8_t* row = in.row(std::min(static_cast<int>(std::floor(y * down_by)), in.height - 1));
        for (int x = 0; x < width; ++x) {
            const int s = std::min(static_cast<int>(std::floor(x * across_by)), in.width - 1);
            std::copy_n(row + s * CHANNELS, CHANNELS, out.row(y) + x * CHANNELS);
        }
    }
    return out;
}

// Means of whole cells.
Picture by_cells(const Picture& in, int height, int width, int cell_height, int cell_width) {
    Picture out(height, width);
    const int area = cell_height * cell_width;
    const float share = 1.0F / static_cast<float>(area);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width * CHANNELS; ++x) {
            int sum = 0;
            for (int v = 0; v < cell_height; ++v) {
                const std::uint8_t* row = in.row(y * cell_height + v) + x / CHANNELS * cell_width * CHANNELS + x % CHANNELS;
                for (int u = 0; u < cell_width; ++u) sum += row[u * CHANNELS];
            }
            // OpenCV has a way of its own for cells of two by two, which rounds up.
            const bool two = cell_height == 2 && cell_width == 2;
            out.row(y)[x] = to_byte(two ? (sum + 2) >> 2 : rounded(static_cast<float>(sum) * share));
        }
    return out;
}

struct Share {
    int to, from;
    float weight;
};

std::vector<Share> shares(int from, int to, double scale) {
    constexpr double LEAST = 1e-3;  // of a pixel
    std::vector<Share> result;
    for (int d = 0; d < to; ++d) {
        const double start = d * scale, end = start + scale, cell = std::min(scale, from - start);
        const int last = std::min(static_cast<int>(std::floor(end)), from - 1);
        const int first = std::min(static_cast<int>(std::ceil(start)), last);
        if (first - start > LEAST) result.push_back({d, first - 1, static_cast<float>((first - start) / cell)});
        for (int s = first; s < last; ++s) result.push_back({d, s, static_cast<float>(1.0 / cell)});
        if (end - last > LEAST)
            result.push_back({d, last, static_cast<float>(std::min(std::min(end - last, 1.0), cell) / cell)});
    }
    return result;
}

Picture by_area(const Picture& in, int height, int width) {
    const double down_by = 1.0 / (static_cast<double>(height) / in.height);
    const double across_by = 1.0 / (static_cast<double>(width) / in.width);
    const auto columns = shares(in.width, width, across_by);
    Picture out(height, width);
    std::vector<float> row(out.stride()), sum(out.stride());
    const auto write = [&](int y) {
        std::transform(sum.begin(), sum.end(), out.row(y), [](float value) { return to_byte(rounded(value)); });
    };
    int open = 0;
    for (const Share& line : shares(in.height, height, down_by)) {
        std::fill(row.begin(), row.end(), 0.0F);
        const std::uint8_t* pixels = in.row(line.from);
        for (const Share& column : columns)
            for (int c = 0; c < CHANNELS; ++c)
                row[static_cast<std::size_t>(column.to * CHANNELS + c)] +=
                    static_cast<float>(pixels[column.from * CHANNELS + c]) * column.weight;
        if (line.to != open) {
            write(open);
            open = line.to;
            std::fill(sum.begin(), sum.end(), 0.0F);
        }
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += line.weight * row[i];
    }
    write(open);
    return out;
}

}  // namespace

Picture resized(const Picture& in, int height, int width, Interpolation interpolation) {
    const double down_by = 1.0 / (static_cast<double>(height) / in.height);
    const double across_by = 1.0 / (static_cast<double>(width) / in.width);
    const int cell_height = static_cast<int>(std::nearbyint(down_by)), cell_width = static_cast<int>(std::nearbyint(across_by));
    constexpr double EPSILON = std::numeric_limits<double>::epsilon();
    const bool whole = std::abs(down_by - cell_height) < EPSILON && std::abs(across_by - cell_width) < EPSILON;
    const bool halved = whole && cell_height == 2 && cell_width == 2;
    const bool shrinking = down_by >= 1 && across_by >= 1;
    switch (interpolation) {
        case Interpolation::nearest: return nearest(in, height, width);
        case Interpolation::cubic: return separable<4>(in, height, width, false);
        case Interpolation::area:
            if (!shrinking) return separable<2>(in, height, width, true);
            return whole ? by_cells(in, height, width, cell_height, cell_width) : by_area(in, height, width);
        case Interpolation::linear: break;
    }
    return halved ? by_cells(in, height, width, 2, 2) : separable<2>(in, height, width, false);
}

}  // namespace edgekit
