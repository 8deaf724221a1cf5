#include "answers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "error.h"

namespace edgekit {
namespace {

constexpr int GROWN = 2;   // a region must be larger by so many pixels after it has been grown than before
constexpr int BLANK = 0;   // CTC's class for "no new character"

}  // namespace

std::vector<Class> best_classes(const std::vector<float>& probabilities, int top_k) {
    std::vector<int> order(probabilities.size());
    std::iota(order.begin(), order.end(), 0);
    const auto of = [&](int k) { return probabilities[static_cast<std::size_t>(k)]; };
    // What is no number comes last, as in NumPy; a plain > would be no order.
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        return std::isnan(of(b)) ? !std::isnan(of(a)) : of(a) > of(b);
    });
    std::vector<Class> best;
    for (const int k : order) {
        if (best.size() == static_cast<std::size_t>(top_k)) break;
        best.push_back({k, of(k)});
    }
    return best;
}

namespace {

using Box = std::array<float, 4>;

float area(const Box& box) {
    const float width = box[2] - box[0], height = box[3] - box[1];
    return width < 0 || height < 0 ? 0.0F : width * height;
}

// 0 of disjoint boxes, not a number of two without area that touch, as in Paddle.
float iou(const Box& a, const Box& b) {
    if (a[0] > b[2] || a[1] > b[3] || a[2] < b[0] || a[3] < b[1]) return 0;
    const float width = std::min(a[2], b[2]) - std::max(a[0], b[0]), height = std::min(a[3], b[3]) - std::max(a[1], b[1]);
    const float common = width * height;
    return common / (area(a) + area(b) - common);
}

// Boxes in pixels of the network's input.
std::vector<Box> in_pixels(const Tensor& tensor, const std::vector<int>& strides, std::array<int, 2> input) {
    const std::size_t anchors = tensor.values.size() / 4;
    std::vector<Box> boxes(anchors);
    for (std::size_t k = 0; k < anchors; ++k)
        for (std::size_t i = 0; i < 4; ++i) boxes[k][i] = tensor.values[4 * k + i];
    if (strides.empty()) return boxes;
    std::vector<std::size_t> counts;
    for (const int stride : strides)
        counts.push_back(static_cast<std::size_t>((input[0] + stride - 1) / stride) *
                         static_cast<std::size_t>((input[1] + stride - 1) / stride));
    const std::size_t made = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    if (made != anchors)
        throw Error("EK409", "postprocess.strides make " + std::to_string(made) + " anchors at " + std::to_string(input[0]) +
                                 " x " + std::to_string(input[1]) + ", the model has " + std::to_string(anchors) + ".");
    std::size_t at = 0;
    for (std::size_t level = 0; level < strides.size(); ++level)
        for (const std::size_t end = at + counts[level]; at < end; ++at)
            for (float& value : boxes[at]) value *= static_cast<float>(strides[level]);
    return boxes;
}

}  // namespace

std::vector<Detection> detections(const Tensor& raw, const Tensor& scores, const DetectionPost& spec,
                                  std::array<int, 2> input, std::array<int, 2> picture) {
    const std::vector<Box> boxes = in_pixels(raw, spec.strides, input);
    const std::size_t anchors = boxes.size(), classes = anchors ? scores.values.size() / anchors : 0;
    struct Kept {
        int index;
        std::size_t anchor;
        float score;
    };
    const auto better = [](const Kept& a, const Kept& b) { return a.score > b.score; };
    std::vector<Kept> survivors;
    for (std::size_t c = 0; c < classes; ++c) {
        std::vector<Kept> candidates;
        for (std::size_t k = 0; k < anchors; ++k) {
            const float score = scores.values[c * anchors + k];
            if (score > spec.score_threshold) candidates.push_back({static_cast<int>(c), k, score});
        }
        std::stable_sort(candidates.begin(), candidates.end(), better);
        if (spec.nms_top_k > -1 && candidates.size() > static_cast<std::size_t>(spec.nms_top_k))
            candidates.resize(static_cast<std::size_t>(spec.nms_top_k));
        const std::size_t before = survivors.size();
        for (const Kept& candidate : candidates) {
            const auto clears = [&](const Kept& kept) {
                return iou(boxes[candidate.anchor], boxes[kept.anchor]) <= spec.nms_threshold;
            };
            if (std::all_of(survivors.begin() + static_cast<std::ptrdiff_t>(before), survivors.end(), clears))
                survivors.push_back(candidate);
        }
    }
    std::stable_sort(survivors.begin(), survivors.end(), better);
    if (spec.keep_top_k > -1 && survivors.size() > static_cast<std::size_t>(spec.keep_top_k))
        survivors.resize(static_cast<std::size_t>(spec.keep_top_k));

    const auto across = static_cast<float>(static_cast<double>(picture[1]) / input[1]);
    const auto down = static_cast<float>(static_cast<double>(picture[0]) / input[0]);
    std::vector<Detection> found;
    for (const Kept& kept : survivors) {
        const Box& box = boxes[kept.anchor];
        found.push_back({kept.index, kept.score, {box[0] * across, box[1] * down, box[2] * across, box[3] * down}});
    }
    return found;
}

std::vector<Region> regions(const float* map, int height, int width, const TextDetectionPost& spec,
                            std::array<int, 2> picture) {
    std::vector<bool> mask(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
    for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = map[i] > spec.threshold;
    const double across = static_cast<double>(picture[1]) / width, down = static_cast<double>(picture[0]) / height;
    std::vector<Region> found;
    int candidates = 0;
    for (const auto& border : borders(mask, height, width)) {
        if (candidates++ == spec.max_candidates) break;
        const Rectangle core = smallest_rectangle(border);
        if (core.shorter_side < static_cast<float>(spec.min_size)) continue;
        const double score = mean_inside(map, height, width, core.corners);
        if (score < spec.box_threshold) continue;
        const auto outline = grown(core.corners, spec.unclip_ratio);
        if (outline.empty()) continue;
        const Rectangle whole = smallest_rectangle(outline);
        if (whole.shorter_side < static_cast<float>(spec.min_size + GROWN)) continue;
        Region region{static_cast<float>(score), {}};
        for (std::size_t i = 0; i < 4; ++i)
            region.corners[i] = {
                std::clamp(std::nearbyint(whole.corners[i].x * across), 0.0, static_cast<double>(picture[1])),
                std::clamp(std::nearbyint(whole.corners[i].y * down), 0.0, static_cast<double>(picture[0]))};
        found.push_back(region);
    }
    return found;
}

Reading reading(const float* probabilities, std::int64_t steps, std::int64_t classes,
                const std::vector<std::string>& labels, bool has_space) {
    const auto wanted = static_cast<std::int64_t>(labels.size()) + 1 + (has_space ? 1 : 0);
    if (classes != wanted)
        throw Error("EK408", "The dictionary does not fit: the network answers " + std::to_string(classes) +
                                 " classes, expected " + std::to_string(wanted) + " for a dictionary of " +
                                 std::to_string(labels.size()) + " characters.");
    Reading found{"", 0};
    double sum = 0;
    std::int64_t count = 0, before = BLANK;
    for (std::int64_t step = 0; step < steps; ++step) {
        const float* row = probabilities + step * classes;
        const std::int64_t best = std::max_element(row, row + classes) - row;
        if (best != BLANK && best != before) {
            const auto label = static_cast<std::size_t>(best - 1);
            found.text += label < labels.size() ? labels[label] : " ";
            sum += row[best];
            ++count;
        }
        before = best;
    }
    if (count) found.score = sum / static_cast<double>(count);
    return found;
}

namespace {

constexpr std::int64_t FREE = -1;

// Output `name` of one picture; -1 in `shape` is a free side.
const Tensor& output(const Tensors& outputs, const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto found = outputs.find(name);
    if (found == outputs.end()) {
        std::string names;
        for (const auto& item : outputs) names += (names.empty() ? "" : ", ") + item.first;
        throw Error("EK409", "The model has no output \"" + name + "\"; it has " + names + ".");
    }
    const auto& have = found->second.shape;
    const auto fits = [](std::int64_t a, std::int64_t b) { return b == FREE || a == b; };
    if (!std::equal(have.begin(), have.end(), shape.begin(), shape.end(), fits))
        throw Error("EK409", "Output \"" + name + "\" has the shape " + told(have) + ", expected " + told(shape) + " (-1: any).");
    return found->second;
}

std::string label_of(const std::vector<std::string>& labels, int index) {
    if (labels.empty()) return std::to_string(index);
    if (static_cast<std::size_t>(index) >= labels.size())
        throw Error("EK408", "The model answered class " + std::to_string(index) + ", but has only " +
                                 std::to_string(labels.size()) + " labels.");
    return labels[static_cast<std::size_t>(index)];
}

// A float32 as JSON has it in the golden vectors: the double of the same value.
double wide(float value) { return static_cast<double>(value); }

Json answer_of(const ClassificationPost& spec, const Manifest& manifest, const Tensors& outputs, std::array<int, 2>, std::array<int, 2>) {
    Json top = Json::array();
    for (const Class& found : best_classes(output(outputs, spec.probabilities, {1, FREE}).values, spec.top_k))
        top.push_back({{"class", found.index}, {"label", label_of(manifest.labels, found.index)}, {"probability", wide(found.probability)}});
    return {{"top", std::move(top)}};
}

Json answer_of(const DetectionPost& spec, const Manifest& manifest, const Tensors& outputs, std::array<int, 2> input, std::array<int, 2> picture) {
    const Tensor& boxes = output(outputs, spec.boxes, {1, FREE, 4});
    const Tensor& scores = output(outputs, spec.scores, {1, FREE, boxes.shape[1]});
    Json list = Json::array();
    for (const Detection& found : detections(boxes, scores, spec, input, picture))
        list.push_back({{"class", found.index},
                        {"label", label_of(manifest.labels, found.index)},
                        {"score", wide(found.score)},
                        {"box", {wide(found.box[0]), wide(found.box[1]), wide(found.box[2]), wide(found.box[3])}}});
    return {{"detections", std::move(list)}};
}

Json answer_of(const TextDetectionPost& spec, const Manifest&, const Tensors& outputs, std::array<int, 2>, std::array<int, 2> picture) {
    const Tensor& map = output(outputs, spec.map, {1, 1, FREE, FREE});
    if (map.values.empty() || std::max(map.shape[2], map.shape[3]) > LONGEST_SIDE)
        throw Error("EK409", "Output \"" + spec.map + "\" has the shape " + told(map.shape) + ".");
    Json list = Json::array();
    for (const Region& found : regions(map.values.data(), static_cast<int>(map.shape[2]), static_cast<int>(map.shape[3]), spec, picture)) {
        Json points = Json::array();
        for (const auto& corner : found.corners) points.push_back({corner.x, corner.y});
        list.push_back({{"score", found.score}, {"points", std::move(points)}});
    }
    return {{"regions", std::move(list)}};
}

Json answer_of(const TextRecognitionPost& spec, const Manifest& manifest, const Tensors& outputs, std::array<int, 2>, std::array<int, 2>) {
    const Tensor& steps = output(outputs, spec.probabilities, {1, FREE, FREE});
    const Reading found = reading(steps.values.data(), steps.shape[1], steps.shape[2], manifest.labels, spec.has_space);
    return {{"text", found.text}, {"score", found.score}};
}

}  // namespace

Json answer(const Manifest& manifest, const Tensors& outputs, std::array<int, 2> input, std::array<int, 2> picture) {
    return std::visit([&](const auto& spec) { return answer_of(spec, manifest, outputs, input, picture); }, manifest.postprocess);
}

}  // namespace edgekit
