#include "manifest.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "error.h"

namespace edgekit {
namespace {

using Json = nlohmann::json;

constexpr int SCHEMA = 1;
constexpr int LARGEST_SIDE = 8192;
constexpr int ANY = std::numeric_limits<int>::max();

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
    throw Error("EK409", "manifest.json cannot be used: " + where + " " + why + ".");
}

// A JSON object at `where`, whose members are taken one by one.
class Object {
public:
    Object(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
        if (!json_.is_object()) refuse(where_, "is no object");
    }

    std::string at(const std::string& key) const { return where_.empty() ? key : where_ + "." + key; }

    bool has(const std::string& key) const { return json_.contains(key) && !json_[key].is_null(); }

    const Json& get(const std::string& key) const {
        if (!json_.contains(key)) refuse(at(key), "is missing");
        return json_[key];
    }

    Object object(const std::string& key) const { return {get(key), at(key)}; }

    const Json& list(const std::string& key) const {
        if (!get(key).is_array()) refuse(at(key), "is no list");
        return get(key);
    }

    std::string text(const std::string& key) const {
        if (!get(key).is_string()) refuse(at(key), "is no text");
        return get(key).get<std::string>();
    }

    bool truth(const std::string& key, bool otherwise) const {
        if (!json_.contains(key)) return otherwise;
        if (!get(key).is_boolean()) refuse(at(key), "is neither true nor false");
        return get(key).get<bool>();
    }

    double number(const std::string& key, double otherwise) const {
        return json_.contains(key) ? checked(get(key), at(key)) : otherwise;
    }

    int whole(const std::string& key, int least, int most) const { return checked(get(key), at(key), least, most); }
    int whole(const std::string& key, int least, int most, int otherwise) const {
        return json_.contains(key) ? whole(key, least, most) : otherwise;
    }

    template <std::size_t N>
    std::array<float, N> numbers(const std::string& key) const {
        if (list(key).size() != N) refuse(at(key), "has not " + std::to_string(N) + " numbers");
        std::array<float, N> result{};
        for (std::size_t i = 0; i < N; ++i) result[i] = static_cast<float>(checked(list(key)[i], at(key)));
        return result;
    }

    // An option that is not known here would change the answers, were it passed over.
    void only(std::initializer_list<const char*> known) const {
        for (const auto& item : json_.items())
            if (std::find(known.begin(), known.end(), item.key()) == known.end())
                refuse(at(item.key()), "is unknown: the bundle may be from a newer edgekit");
    }

    static int checked(const Json& value, const std::string& where, int least, int most) {
        if (!value.is_number_integer() || value.get<double>() < least || value.get<double>() > most)
            refuse(where, "is no whole number from " + std::to_string(least) + " to " + std::to_string(most));
        return value.get<int>();
    }

private:
    static double checked(const Json& value, const std::string& where) {
        // Every number ends up as float32, where the largest double would be infinite.
        if (!value.is_number() || !std::isfinite(value.get<float>())) refuse(where, "is no number of float32");
        return value.get<double>();
    }

    const Json& json_;
    std::string where_;
};

template <typename Value>
Value one_of(const std::string& text, const std::string& where, std::initializer_list<std::pair<const char*, Value>> known) {
    std::string names;
    for (const auto& [name, value] : known) {
        if (text == name) return value;
        names += (names.empty() ? "" : ", ") + std::string(name);
    }
    refuse(where, "is \"" + text + "\", known here: " + names);
}

Resize read_resize(const Object& json) {
    Resize resize{};
    resize.kind = one_of<Resize::Kind>(json.text("kind"), json.at("kind"),
                                       {{"exact", Resize::Kind::exact},
                                        {"short", Resize::Kind::short_side},
                                        {"line", Resize::Kind::line},
                                        {"page", Resize::Kind::page}});
    resize.height = json.whole("height", 1, LARGEST_SIDE);
    resize.width = json.whole("width", 1, LARGEST_SIDE);
    resize.interpolation = one_of<Interpolation>(json.text("interpolation"), json.at("interpolation"),
                                                 {{"nearest", Interpolation::nearest},
                                                  {"linear", Interpolation::linear},
                                                  {"cubic", Interpolation::cubic},
                                                  {"area", Interpolation::area}});
    if (resize.kind == Resize::Kind::page) {
        json.only({"kind", "height", "width", "longest", "shortest", "multiple", "interpolation"});
        resize.longest = json.whole("longest", 1, LARGEST_SIDE);
        resize.shortest = json.has("shortest") ? json.whole("shortest", 1, resize.longest) : 0;
        resize.multiple = json.whole("multiple", 1, LARGEST_SIDE, 32);
        return resize;
    }
    json.only({"kind", "height", "width", "widest", "interpolation"});
    resize.widest = json.has("widest") ? json.whole("widest", resize.width, LARGEST_SIDE) : resize.width;
    if (json.has("widest") && resize.kind != Resize::Kind::line) refuse(json.at("widest"), "goes with kind line only");
    return resize;
}

Preprocess read_preprocess(const Object& json) {
    json.only({"resize", "crop", "channels", "scale", "mean", "std"});
    Preprocess result{};
    result.resize = read_resize(json.object("resize"));
    if (json.has("crop")) {
        if (result.resize.kind == Resize::Kind::line || result.resize.kind == Resize::Kind::page)
            refuse(json.at("crop"), "does not go with this kind of resize, which shows the whole picture");
        const Json& sides = json.list("crop");
        if (sides.size() != 2) refuse(json.at("crop"), "is no height and width");
        result.crop = {Object::checked(sides[0], json.at("crop"), 1, LARGEST_SIDE),
                       Object::checked(sides[1], json.at("crop"), 1, LARGEST_SIDE)};
    }
    result.is_rgb = !json.has("channels") ||
                    one_of<bool>(json.text("channels"), json.at("channels"), {{"rgb", true}, {"bgr", false}});
    result.scale = static_cast<float>(json.number("scale", 1.0 / 255));
    result.mean = json.numbers<3>("mean");
    result.deviation = json.numbers<3>("std");
    if (std::count(result.deviation.begin(), result.deviation.end(), 0.0F)) refuse(json.at("std"), "has a zero");
    return result;
}

Postprocess read_postprocess(const Object& json) {
    const std::string kind = json.text("kind");
    if (kind == "classification") {
        json.only({"kind", "probabilities", "top_k"});
        return ClassificationPost{json.text("probabilities"), json.whole("top_k", 1, ANY, 5)};
    }
    if (kind == "detection") {
        json.only({"kind", "boxes", "strides", "scores", "score_threshold", "nms_threshold", "nms_top_k", "keep_top_k"});
        DetectionPost post{};
        post.boxes = json.text("boxes");
        post.scores = json.text("scores");
        if (json.has("strides"))
            for (const Json& stride : json.list("strides"))
                post.strides.push_back(Object::checked(stride, json.at("strides"), 1, LARGEST_SIDE));
        post.score_threshold = static_cast<float>(json.number("score_threshold", 0.025));
        post.nms_threshold = static_cast<float>(json.number("nms_threshold", 0.6));
        post.nms_top_k = json.whole("nms_top_k", -1, ANY, 1000);
        post.keep_top_k = json.whole("keep_top_k", -1, ANY, 100);
        return post;
    }
    if (kind == "text_detection") {
        json.only({"kind", "map", "threshold", "box_threshold", "unclip_ratio", "max_candidates", "min_size"});
        TextDetectionPost post{};
        post.map = json.text("map");
        post.threshold = static_cast<float>(json.number("threshold", 0.3));
        post.box_threshold = json.number("box_threshold", 0.6);
        post.unclip_ratio = json.number("unclip_ratio", 1.5);
        // Where regions shrink or grow beyond the picture, something is damaged.
        if (post.unclip_ratio < 0 || post.unclip_ratio > 100) refuse(json.at("unclip_ratio"), "is not from 0 to 100");
        post.max_candidates = json.whole("max_candidates", 0, ANY, 1000);
        post.min_size = json.whole("min_size", 0, LARGEST_SIDE, 3);
        return post;
    }
    if (kind == "text_recognition") {
        json.only({"kind", "probabilities", "space"});
        return TextRecognitionPost{json.text("probabilities"), json.truth("space", true)};
    }
    refuse(json.at("kind"), "is \"" + kind + "\", which is unknown here");
}

std::vector<TensorSpec> read_tensors(const Object& json, const std::string& key) {
    std::vector<TensorSpec> result;
    for (const Json& item : json.list(key)) {
        const Object tensor(item, json.at(key));
        TensorSpec spec{tensor.text("name"), {}};
        if (tensor.has("dtype") && tensor.text("dtype") != "float32") refuse(tensor.at("dtype"), "is not float32");
        for (const Json& side : tensor.list("shape"))
            spec.shape.push_back(Object::checked(side, tensor.at("shape"), -1, ANY));
        result.push_back(std::move(spec));
    }
    if (result.empty()) refuse(json.at(key), "is empty");
    return result;
}

// A path below the bundle. Raises EK409 for one that leaves it.
std::string inside(const std::string& path, const std::string& where) {
    const std::filesystem::path parsed(path);
    if (path.empty() || parsed.is_absolute() || path.find('\0') != std::string::npos ||
        std::find(parsed.begin(), parsed.end(), "..") != parsed.end())
        refuse(where, "names the unsafe path \"" + path + "\"");
    return path;
}

Manifest read(const Object& json) {
    if (json.whole("schema_version", 0, ANY) > SCHEMA)
        refuse("schema_version", "is that of a newer edgekit; this runtime reads up to " + std::to_string(SCHEMA));
    Manifest result{};
    result.name = json.text("name");
    result.task = json.text("task");
    for (const Json& item : json.list("files")) {
        const Object file(item, "files");
        result.files.push_back({inside(file.text("name"), file.at("name")), file.text("role"), file.text("sha256")});
    }
    if (json.has("parts")) {
        for (const Json& item : json.list("parts")) {
            const Object part(item, "parts");
            result.parts.push_back({part.text("role"), inside(part.text("path"), part.at("path"))});
        }
        if (result.parts.empty()) refuse("parts", "is empty");
        return result;
    }
    result.inputs = read_tensors(json, "inputs");
    result.outputs = read_tensors(json, "outputs");
    if (result.inputs.size() != 1 || result.inputs[0].shape.size() != 4)
        refuse("inputs", "is not one picture of four dimensions");
    result.preprocess = read_preprocess(json.object("preprocess"));
    result.postprocess = read_postprocess(json.object("postprocess"));
    if (json.object("postprocess").text("kind") != result.task) refuse("task", "is not that of postprocess.kind");
    // Only where the input shows the whole picture do places in it say where things are in the picture.
    const auto kind = result.preprocess.resize.kind;
    const bool is_whole = !result.preprocess.crop && (kind == Resize::Kind::exact || (kind == Resize::Kind::page && result.task == "text_detection"));
    if ((result.task == "detection" || result.task == "text_detection") && !is_whole)
        refuse("preprocess", "of a detector does not show the whole picture");
    for (const Json& label : json.list("labels")) {
        if (!label.is_string()) refuse("labels", "has something that is no text");
        result.labels.push_back(label.get<std::string>());
    }
    // Bundles of an edgekit that did not compare speeds name no default.
    if (json.has("default")) result.preferred = json.text("default").substr(0, 4);
    return result;
}

}  // namespace

Manifest parse_manifest(std::string_view text) {
    try {
        const Json json = Json::parse(text);
        return read(Object(json, ""));
    } catch (const Json::exception& error) {
        throw Error("EK409", std::string("manifest.json cannot be used: ") + error.what() + ".");
    }
}

}  // namespace edgekit
