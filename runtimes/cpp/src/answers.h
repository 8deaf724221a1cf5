// From raw outputs to final answers, as edgekit/tasks does it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "geometry.h"
#include "manifest.h"
#include "tensor.h"

namespace edgekit {

using Json = nlohmann::ordered_json;

struct Class {
    int index;
    float probability;
};

struct Detection {
    int index;
    float score;
    std::array<float, 4> box;  // x1 y1 x2 y2 in pixels of the picture
};

struct Region {
    double score;
    std::array<Point<double>, 4> corners;  // in pixels of the picture, clockwise from the upper left
};

struct Reading {
    std::string text;
    double score;
};

// The best classes of `probabilities` [classes], best first; of equals the lower class wins.
std::vector<Class> best_classes(const std::vector<float>& probabilities, int top_k);

// Class-wise NMS of boxes [anchors, 4] and scores [classes, anchors], then from input to picture pixels. Sizes are
// height, width. Raises EK409 when the strides do not fit the anchors.
std::vector<Detection> detections(const Tensor& boxes, const Tensor& scores, const DetectionPost& spec,
                                  std::array<int, 2> input, std::array<int, 2> picture);

// Regions of text out of DB's map of probabilities [height, width], in the order in which borders are found.
std::vector<Region> regions(const float* map, int height, int width, const TextDetectionPost& spec,
                            std::array<int, 2> picture);

// CTC's best path through probabilities [steps, classes]. Raises EK408 when the dictionary does not fit.
Reading reading(const float* probabilities, std::int64_t steps, std::int64_t classes,
                const std::vector<std::string>& labels, bool has_space);

// The answer for one picture of `picture` (height, width), as it stands in golden/*/answers.json. `input` is the size
// of the network's input. Raises EK409 when an output is missing or has another shape than promised.
Json answer(const Manifest& manifest, const Tensors& outputs, std::array<int, 2> input, std::array<int, 2> picture);

}  // namespace edgekit
