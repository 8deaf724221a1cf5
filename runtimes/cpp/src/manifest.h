// `manifest.json` of a bundle, checked as edgekit/folder.py checks it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "resize.h"

namespace edgekit {

struct Resize {
    enum class Kind { exact, short_side, line, page };
    Kind kind;
    int height, width;
    Interpolation interpolation;
    int widest;                       // of a line
    int longest, shortest, multiple;  // of a page; a `shortest` of 0 is none
};

struct Preprocess {
    Resize resize;
    std::optional<std::array<int, 2>> crop;  // height, width
    bool is_rgb;
    float scale;
    std::array<float, 3> mean, deviation;
};

struct ClassificationPost {
    std::string probabilities;
    int top_k;
};

struct DetectionPost {
    std::string boxes, scores;
    std::vector<int> strides;
    float score_threshold, nms_threshold;
    int nms_top_k, keep_top_k;  // -1: all
};

struct TextDetectionPost {
    std::string map;
    float threshold;
    double box_threshold, unclip_ratio;
    int max_candidates, min_size;
};

struct TextRecognitionPost {
    std::string probabilities;
    bool has_space;
};

using Postprocess = std::variant<ClassificationPost, DetectionPost, TextDetectionPost, TextRecognitionPost>;

struct TensorSpec {
    std::string name;
    std::vector<std::int64_t> shape;  // -1: a free side
};

struct ListedFile {
    std::string name, role, sha256;
};

struct Part {
    std::string role, path;
};

struct Manifest {
    std::string name, task;
    std::vector<ListedFile> files;

    std::vector<Part> parts;  // of a combined bundle, which has nothing of what follows

    std::vector<TensorSpec> inputs, outputs;
    Preprocess preprocess;
    Postprocess postprocess;
    std::vector<std::string> labels;
    std::string preferred;  // `default` without ".onnx": "int8", "fp32" or empty
};

// Raises EK409, naming the key, for what is no manifest of a bundle that this runtime knows.
Manifest parse_manifest(std::string_view text);

}  // namespace edgekit
