// edgekit-fuzz BUNDLE COUNT SEED: mutates a bundle's manifest, pictures, arrays and raw outputs, and does with them what
// the runtime does short of running a network. Every mutant must be taken or refused with an edgekit::Error; anything
// else, and whatever the sanitizers find, ends the program.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "answers.h"
#include "error.h"
#include "files.h"
#include "nb.h"
#include "picture.h"
#include "preprocess.h"

using namespace edgekit;

namespace {

using Bytes = std::vector<std::uint8_t>;

std::mt19937 random_bits;

std::size_t below(std::size_t n) { return n ? random_bits() % n : 0; }

// Values that have broken parsers before.
const std::vector<Json>& odd_values() {
    static const std::vector<Json> values = {
        nullptr, true, 0, -1, 1, 2147483647, -2147483648LL, 4294967296LL, 9223372036854775807LL, 18446744073709551615ULL, 1e308, -1e308, 1e-320,
        0.5, "", "..", "/etc/passwd", "a/../../b", std::string(1, '\0'), "exact", "page", "line", "short", "text_detection", "detection",
        "classification", "text_recognition", "\xc3\xa9", Json::array(), Json::object(), Json::array({0, 0, 0}), Json::array({1, -1}),
        Json::array({nullptr, 1e39, "x"}), Json::parse(R"({"kind": "detection"})"), 8192, 8193, 32, 100000000};
    return values;
}

// A random place in a JSON value.
Json& place(Json& json) {
    Json* at = &json;
    while (at->is_structured() && !at->empty() && below(6) != 0) {
        auto item = at->begin();
        std::advance(item, static_cast<std::ptrdiff_t>(below(std::min<std::size_t>(at->size(), 40))));
        at = &*item;
    }
    return *at;
}

std::string mutated(const Json& original) {
    Json json = original;
    for (std::size_t k = 1 + below(3); k > 0; --k) {
        Json& at = place(json);
        switch (below(4)) {
            case 0: at = odd_values()[below(odd_values().size())]; break;
            case 1:
                if (at.is_object() && !at.empty()) {
                    auto item = at.begin();
                    std::advance(item, static_cast<std::ptrdiff_t>(below(at.size())));
                    at.erase(item);
                } else if (at.is_array() && !at.empty()) {
                    at.erase(below(at.size()));
                }
                break;
            case 2:
                if (at.is_object()) at["surprise"] = odd_values()[below(odd_values().size())];
                else if (at.is_array()) at.push_back(odd_values()[below(odd_values().size())]);
                else at = Json::array({at});
                break;
            default: at = place(json);  // something from elsewhere
        }
    }
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

template <typename Text>
Text damaged(Text data) {
    for (std::size_t k = 1 + below(8); k > 0 && !data.empty(); --k) {
        const auto at = below(data.size());
        switch (below(3)) {
            case 0: data[at] = static_cast<typename Text::value_type>(random_bits()); break;
            case 1: data.resize(at); break;
            default: data[at] = static_cast<typename Text::value_type>(data[at] ^ (1 << below(8)));
        }
    }
    return data;
}

// Raw outputs of wild values and shapes.
Tensor wild(const Tensor& original) {
    Tensor tensor = original;
    const float odd[] = {0.0F, -1.0F, 1e30F, -1e30F, NAN, INFINITY, -INFINITY, 0.5F};
    for (std::size_t k = below(200); k > 0 && !tensor.values.empty(); --k) tensor.values[below(tensor.values.size())] = odd[below(8)];
    if (below(4) == 0 && !tensor.shape.empty()) {
        auto& side = tensor.shape[below(tensor.shape.size())];
        side = static_cast<std::int64_t>(below(static_cast<std::size_t>(side) + 2));
        std::size_t count = 1;
        for (const auto s : tensor.shape) count *= static_cast<std::size_t>(s);
        tensor.values.resize(count, 0.25F);
    }
    return tensor;
}

std::map<std::string, int> tally;

template <typename Do>
void attempt(const std::string& what, Do step) {
    try {
        step();
        ++tally[what + " taken"];
    } catch (const Error& error) {
        ++tally[what + " " + error.code()];
    }
}

}  // namespace

int main(int count, char** words) {
    if (count != 4) return 2;
    const std::filesystem::path bundle = words[1];
    const int turns = std::atoi(words[2]);
    random_bits.seed(static_cast<unsigned>(std::atoi(words[3])));
    const Bytes text = read_file(bundle / "manifest.json");
    const Json manifest = Json::parse(text.begin(), text.end());
    const Manifest good = parse_manifest({reinterpret_cast<const char*>(text.data()), text.size()});
    const Bytes png = read_file(bundle / "golden/0/picture.png"), npy = read_file(bundle / "golden/0/input.npy");
    Tensors outputs;
    for (const TensorSpec& output : good.outputs)
        outputs[output.name] = parse_npy(read_file(bundle / ("golden/0/fp32.onnx." + output.name + ".npy")), output.name);
    const Picture whole = decode_picture(png, "picture");
    const Picture picture = resized(whole, 61, 47, Interpolation::area);  // small, as mutants may enlarge it often
    for (int turn = 0; turn < turns; ++turn) {
        const std::string json = below(4) ? mutated(manifest) : damaged(std::string(text.begin(), text.end()));
        attempt("manifest", [&] {
            const Manifest mutant = parse_manifest(json);
            if (!mutant.parts.empty()) return;
            attempt("pre-processing", [&] {
                // The sides of the pictures that edgekit's models see; larger ones only take longer.
                const auto size = input_size(picture.height, picture.width, mutant.preprocess);
                if (size[0] * size[1] < 1'000'000) preprocessed(picture, mutant.preprocess);
            });
            attempt("post-processing", [&] { answer(mutant, outputs, {416, 416}, {480, 640}); });
        });
        if (turn % 10 == 0) {
            attempt("picture", [&] { decode_picture(damaged(png), "picture"); });
            attempt("array", [&] { parse_npy(damaged(npy), "array"); });
            attempt("nb", [&] { nb_version(damaged(Bytes(npy.begin(), npy.begin() + 64)), "nb"); });
            Tensors strange;
            for (const auto& [name, tensor] : outputs) strange[name] = wild(tensor);
            attempt("outputs", [&] { answer(good, strange, {416, 416}, {480, 640}); });
        }
    }
    for (const auto& [what, number] : tally) std::printf("%s: %d\n", what.c_str(), number);
    return 0;
}
