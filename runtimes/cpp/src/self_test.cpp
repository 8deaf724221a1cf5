#include "self_test.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cmath>

#include "bundle.h"
#include "error.h"
#include "files.h"
#include "picture.h"
#include "preprocess.h"

namespace edgekit {

namespace fs = std::filesystem;

namespace {

// A resized pixel may differ by one of 255, as OpenCV's own builds do; a shift of mean, scale or std by a tenth of that
// may not.
constexpr double LARGEST_STEP = 1.01, MEAN_STEP = 0.1;
// Raw outputs: signal to noise in dB. A float network's may have less where every value is as close as NEAR: a sigmoid
// that is 0 on x86 is 1e-7 on ARM, and its root, a detector's score, 4e-4.
constexpr double FLOAT_DB = 100, FLOAT_NEAR_DB = 50, NEAR = 5e-4, INT8_DB = 45;
// An int8 layer gives the same bits everywhere, but a float layer's last bits are the processor's, and turn a rounding
// of the int8 layer after it, which turns more roundings further on (PP-LCNetV2 on ARM: of 100,000 values 2 after the
// first int8 layer, 40 % after the last). In the end outputs lie as far apart as those of two int8 networks that round
// on their own, each as far from the float network as int8 costs, and so from each other by no more than twice that:
// INDEPENDENT_DB less will do. Measured on emulated a53 and a76: 12.3 dB (PP-LCNetV2 of 8 calibration pictures; int8
// costs 15.5 dB on x86 and 15.8 on ARM there) to 43.8 dB (PicoDet-S's boxes); more in README.md.
constexpr double INDEPENDENT_DB = 6;

// How far two answers may lie apart. Places in pixels of the picture, or in shares of the thing's longer side.
struct Closeness {
    double score, box, corner, share;
    double certain;  // what scores less may be there or not
};
// As edgekit's `validate` compares them.
constexpr Closeness SAME{1e-3, 0.5, 2, 0, 0};
// From raw outputs of an int8 network that are not as near as INT8_DB.
constexpr Closeness ALIKE{0.1, 0.5, 2, 0.05, 0.5};

struct Differs {
    std::string stage, where, why;
};

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
}

// Signal to noise of `got` in dB: infinite when nothing differs, not a number or below all bounds when it is no answer.
double sqnr_db(const std::vector<float>& wanted, const std::vector<float>& got) {
    double signal = 0, noise = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const double a = wanted[i], d = got[i] - a;
        signal += a * a;
        noise += d * d;
    }
    return noise == 0 ? INFINITY : 10 * std::log10(signal / noise);
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, static_cast<double>(std::abs(a[i] - b[i])));
    return largest;
}

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// One golden vector: golden/N.
class Golden {
public:
    Golden(Model& model, const std::string& name, Json& measured) : model_(model), name_(name), measured_(measured) {}

    void run() {
        const Picture picture = decode_picture(bytes("picture.png"), at("picture.png"));
        const Tensor input = parse_npy(bytes("input.npy"), at("input.npy"));
        preprocess(picture, input);
        Tensors wanted;
        for (const TensorSpec& output : model_.bundle().manifest.outputs) {
            const std::string file = expected() + "." + slashless(output.name) + ".npy";
            wanted[output.name] = parse_npy(bytes(file), at(file));
        }
        infer(input, wanted);
        const Json answers = parsed_answers();
        if (!answers.contains(model_.role())) return;  // an answer of Paddle Lite that was not computed here
        const Json& answer = answers[model_.role()];
        const std::array<int, 2> size = {static_cast<int>(input.shape[2]), static_cast<int>(input.shape[3])};
        compare(answer, edgekit::answer(model_.bundle().manifest, wanted, size, {picture.height, picture.width}), SAME, "post-processing");
        compare(answer, model_.answer(picture), is_near_ ? SAME : ALIKE, "answer");
    }

private:
    std::string at(const std::string& file) const { return name_ + "/" + file; }
    std::vector<std::uint8_t> bytes(const std::string& file) const { return read_file(model_.bundle().path / name_ / file); }

    // The raw outputs that a model is held against: a .nb has the float or int8 ONNX file's.
    std::string expected() const { return model_.role().substr(0, 4) + ".onnx"; }

    // Paddle's exporter puts slashes into names.
    static std::string slashless(std::string name) {
        std::replace(name.begin(), name.end(), '/', '_');
        return name;
    }

    Json parsed_answers() const {
        const auto text = bytes("answers.json");
        try {
            Json answers = Json::parse(text.begin(), text.end());
            if (answers.is_object()) return answers;
        } catch (const Json::exception&) {
        }
        throw Differs{"post-processing", at("answers.json"), "it is no JSON object"};
    }

    void preprocess(const Picture& picture, const Tensor& wanted) const {
        const Preprocess& spec = model_.bundle().manifest.preprocess;
        const Tensor got = step("pre-processing", "input.npy", [&] { return model_.input(picture); });
        if (got.shape != wanted.shape)
            throw Differs{"pre-processing", at("input.npy"), "its shape is " + told(wanted.shape) + ", got " + told(got.shape)};
        double largest = 0, sum = 0;
        const std::size_t plane = got.values.size() / 3;
        for (std::size_t i = 0; i < got.values.size(); ++i) {
            const double one = std::abs(spec.scale / spec.deviation[i / plane]);
            // A value that is no number must not pass for the smaller one.
            const double steps = std::abs(got.values[i] - wanted.values[i]) / one;
            largest = steps <= largest ? largest : steps;
            sum += steps;
        }
        const double mean = sum / static_cast<double>(got.values.size());
        measured_["preprocessing_largest_step"] = finite(largest);
        measured_["preprocessing_mean_step"] = finite(mean);
        if (!(largest <= LARGEST_STEP) || !(mean <= MEAN_STEP))
            throw Differs{"pre-processing", at("input.npy"),
                          "in units of a picture's 255 levels the largest difference is " + number(largest) + " (at most 1) and the mean " +
                              number(mean) + " (at most " + number(MEAN_STEP) + ")"};
    }

    void infer(const Tensor& input, const Tensors& wanted) {
        const Tensors got = step("inference", "input.npy", [&] { return model_.engine().run(input); });
        const bool is_float = model_.role() == "fp32.onnx";
        Json ratios = Json::object(), bounds = Json::object();
        for (const auto& [name, tensor] : wanted) {
            const std::string where = at(expected() + "." + slashless(name) + ".npy");
            const auto found = got.find(name);
            if (found == got.end()) throw Differs{"inference", where, "the model has no output " + name};
            if (found->second.shape != tensor.shape)
                throw Differs{"inference", where, "its shape is " + told(tensor.shape) + ", got " + told(found->second.shape)};
            const double ratio = sqnr_db(tensor.values, found->second.values);
            ratios[name] = std::isinf(ratio) && ratio > 0 ? Json("equal") : finite(ratio);
            measured_["sqnr_db"] = ratios;
            const bool is_near = is_float && largest_difference(tensor.values, found->second.values) <= NEAR;
            const double least = !is_float ? std::min(INT8_DB, cost_db(name, tensor) - INDEPENDENT_DB) : is_near ? FLOAT_NEAR_DB : FLOAT_DB;
            bounds[name] = least;
            measured_["least_db"] = bounds;
            if (!is_float && !(ratio >= INT8_DB)) is_near_ = false;
            if (!(ratio >= least))
                throw Differs{"inference", where, "signal to noise is " + number(ratio) + " dB, at least " + number(least) + " is right"};
        }
    }

    // What int8 costs: how far the golden int8 output lies from the golden float one. Infinite where there is none.
    double cost_db(const std::string& name, const Tensor& int8) const {
        const std::string file = "fp32.onnx." + slashless(name) + ".npy";
        const auto& files = model_.bundle().manifest.files;
        if (std::none_of(files.begin(), files.end(), [&](const ListedFile& listed) { return listed.name == at(file); })) return INFINITY;
        const Tensor exact = parse_npy(bytes(file), at(file));
        if (exact.shape != int8.shape) throw Differs{"inference", at(file), "its shape is not that of the int8 output"};
        return sqnr_db(exact.values, int8.values);
    }

    void compare(const Json& wanted, const Json& got, const Closeness& closeness, const std::string& stage) const {
        if (const std::string why = difference(wanted, got, closeness); !why.empty()) throw Differs{stage, at("answers.json"), why};
    }

    template <typename Do>
    auto step(const std::string& stage, const std::string& file, Do what) const -> decltype(what()) {
        try {
            return what();
        } catch (const Error& error) {
            throw Differs{stage, at(file), error.what()};
        }
    }

    // What differs between two answers of the manifest's task; empty when they are the same.
    std::string difference(const Json& wanted, const Json& got, const Closeness& closeness) const;

    Model& model_;
    std::string name_;
    Json& measured_;
    bool is_near_ = true;  // the raw outputs are so near the golden ones that the answers must be the same
};

bool close(const Json& a, const Json& b, double tolerance) {
    return a.is_number() && b.is_number() && std::abs(a.get<double>() - b.get<double>()) <= tolerance;
}

// Numbers of two (nested) lists of the same form.
bool all_close(const Json& a, const Json& b, double tolerance) {
    if (!a.is_array() || !b.is_array()) return close(a, b, tolerance);
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const Json& x, const Json& y) { return all_close(x, y, tolerance); });
}

struct Thing {
    std::string list, score, place;  // keys
    double tolerance, pixels, share;
};

// The longer side of a box [x y x y] or of points [[x y] ...], 0 of what is neither.
double longer_side(const Json& place) {
    std::array<double, 2> least = {INFINITY, INFINITY}, most = {-INFINITY, -INFINITY};
    std::size_t k = 0;
    for (const Json& item : place.flatten())
        if (item.is_number()) {
            least[k % 2] = std::min(least[k % 2], item.get<double>());
            most[k % 2] = std::max(most[k % 2], item.get<double>());
            ++k;
        }
    return k < 4 ? 0 : std::max(most[0] - least[0], most[1] - least[1]);
}

bool same(const Json& a, const Json& b, const Thing& thing) {
    if (a.value("class", Json()) != b.value("class", Json()) || !close(a.value(thing.score, Json()), b.value(thing.score, Json()), thing.tolerance))
        return false;
    if (thing.place.empty()) return true;
    const Json place = a.value(thing.place, Json());
    return all_close(place, b.value(thing.place, Json()), std::max(thing.pixels, thing.share * longer_side(place)));
}

// The first thing of `from` that `in` lacks, in words.
std::string missing(const Json& from, const Json& in, const Thing& thing, double least, const std::string& verb) {
    for (const Json& item : from) {
        if (!item.is_object()) return "the expected answer is damaged";
        // What lies within the noise of the score threshold may be there or not.
        if (item.value(thing.score, Json()).is_number() && item[thing.score].get<double>() <= least) continue;
        if (std::none_of(in.begin(), in.end(), [&](const Json& other) { return other.is_object() && same(item, other, thing); }))
            return verb + " " + item.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 200);
    }
    return "";
}

double least_score(const Json& list, const Thing& thing) {
    double least = 1;
    for (const Json& item : list)
        if (item.is_object() && item.value(thing.score, Json()).is_number()) least = std::min(least, item[thing.score].get<double>());
    return least;
}

std::string Golden::difference(const Json& wanted, const Json& got, const Closeness& closeness) const {
    if (!wanted.is_object()) return "the expected answer is damaged";
    const std::string& task = model_.bundle().manifest.task;
    if (task == "text_recognition") {
        if (wanted.value("text", Json()) != got["text"])
            return "expected the text " + wanted.value("text", Json()).dump(-1, ' ', false, Json::error_handler_t::replace) + ", got " +
                   got["text"].dump(-1, ' ', false, Json::error_handler_t::replace);
        if (!close(wanted.value("score", Json()), got["score"], closeness.score))
            return "expected the score " + wanted.value("score", Json()).dump() + ", got " + got["score"].dump();
        return "";
    }
    Thing thing{"top", "probability", "", closeness.score, 0, 0};
    if (task == "detection") thing = {"detections", "score", "box", closeness.score, closeness.box, closeness.share};
    if (task == "text_detection") thing = {"regions", "score", "points", closeness.score, closeness.corner, closeness.share};
    const Json expected = wanted.value(thing.list, Json()), &found = got[thing.list];
    if (!expected.is_array()) return "the expected answer is damaged";
    // A list ends at a threshold of the score or at a number of things; what lies within the noise of its end may be
    // there or not.
    double end = std::min(least_score(expected, thing), least_score(found, thing)) + closeness.score;
    if (task == "text_detection") end = std::get<TextDetectionPost>(model_.bundle().manifest.postprocess).box_threshold + closeness.score;
    end = std::max(end, closeness.certain);
    if (task == "classification") {
        // The best class must be the best; further down equals may change places.
        if (expected.size() != found.size()) return "expected " + std::to_string(expected.size()) + " classes, got " + std::to_string(found.size());
        if (!expected.empty() && expected[0].value("class", Json()) != found[0]["class"])
            return "expected class " + expected[0].value("class", Json()).dump() + ", got " + found[0]["class"].dump();
    }
    const std::string lacks = missing(expected, found, thing, end, "lacks");
    return lacks.empty() ? missing(found, expected, thing, end, "has unexpectedly") : lacks;
}

std::string machine() {
    utsname name{};
    return uname(&name) == 0 ? name.machine : "unknown";
}

std::vector<std::string> golden_names(const Bundle& bundle) {
    std::vector<std::string> names;
    for (const ListedFile& file : bundle.manifest.files) {
        const fs::path path(file.name);
        if (path.filename() == "picture.png" && *path.begin() == "golden") names.push_back(path.parent_path().string());
    }
    return names;
}

void run(const Bundle& bundle, const std::string& wanted, int threads, Json& result) {
    try {
        bundle.check_hashes();
    } catch (const Error& error) {
        throw Differs{"files", bundle.path.string(), error.what()};
    }
    std::unique_ptr<Model> model;
    try {
        model = std::make_unique<Model>(bundle, wanted, threads);
    } catch (const Error& error) {
        if (error.code() == "EK502" || error.code() == "EK401") throw;
        throw Differs{"model", bundle.model(wanted), error.what()};
    }
    result["engine"] = model->engine().version();
    const auto names = golden_names(bundle);
    if (names.empty()) throw Differs{"files", "golden", "the bundle has no golden vectors"};
    for (const std::string& name : names) {
        result["golden"].push_back({{"name", name}});
        try {
            Golden(*model, name, result["golden"].back()).run();
        } catch (const Error& error) {
            throw Differs{"files", name, error.what()};
        }
    }
}

Json test_one(const Bundle& bundle, const std::string& wanted, int threads) {
    Json result = {{"bundle", bundle.manifest.name}, {"model", bundle.model(wanted)}, {"engine", nullptr}, {"machine", machine()},
                   {"verdict", "passed"},            {"failed", nullptr},             {"golden", Json::array()}};
    try {
        run(bundle, wanted, threads, result);
    } catch (const Differs& differs) {
        result["verdict"] = "failed";
        result["failed"] = {{"stage", differs.stage}, {"where", differs.where}, {"why", differs.why}};
    }
    return result;
}

}  // namespace

Json self_test(const fs::path& path, const std::string& wanted, int threads) {
    const std::vector<Bundle> bundles = open_bundle(path);
    if (bundles.size() == 1) return test_one(bundles[0], wanted, threads);
    Json result = {{"bundle", path.filename().string()}, {"verdict", "passed"}, {"parts", Json::array()}};
    for (const Bundle& bundle : bundles) {
        result["parts"].push_back(test_one(bundle, wanted, threads));
        if (result["parts"].back()["verdict"] != "passed") result["verdict"] = "failed";
    }
    return result;
}

}  // namespace edgekit
