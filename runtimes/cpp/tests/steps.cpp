// Runs one step of the runtime on what Python's tests give it. Arrays are NumPy's, float32.
//   resize PICTURE.png KIND HEIGHT WIDTH OUT.npy
//   decode PICTURE OUT.npy
//   preprocess MANIFEST.json PICTURE OUT.npy
//   regions MANIFEST.json MAPS.npy OUT.json     maps [n, h, w]; the picture has the map's size times 1.7 and 2.3
//   answer MANIFEST.json HEIGHT WIDTH PICTURE_HEIGHT PICTURE_WIDTH NAME=FILE.npy... OUT.json
#include <cstdio>
#include <string>

#include "answers.h"
#include "error.h"
#include "files.h"
#include "picture.h"
#include "preprocess.h"

using namespace edgekit;

namespace {

Tensor as_tensor(const Picture& picture) {
    return {{picture.height, picture.width, 3}, {picture.pixels.begin(), picture.pixels.end()}};
}

Picture picture_of(const std::string& path) { return decode_picture(read_file(path), path); }

Manifest manifest_of(const std::string& path) {
    const auto text = read_file(path);
    return parse_manifest({reinterpret_cast<const char*>(text.data()), text.size()});
}

void write(const std::string& path, const Json& json) {
    const std::string text = json.dump();
    write_file(path, {text.begin(), text.end()});
}

int number(const char* text) { return std::stoi(text); }

void step(int count, char** words) {
    const std::string what = words[1];
    if (what == "decode") {
        write_file(words[3], npy_bytes(as_tensor(picture_of(words[2]))));
    } else if (what == "resize") {
        const std::string kind = words[3];
        const auto interpolation = kind == "nearest"  ? Interpolation::nearest
                                   : kind == "linear" ? Interpolation::linear
                                   : kind == "cubic"  ? Interpolation::cubic
                                                      : Interpolation::area;
        write_file(words[6], npy_bytes(as_tensor(resized(picture_of(words[2]), number(words[4]), number(words[5]), interpolation))));
    } else if (what == "preprocess") {
        write_file(words[4], npy_bytes(preprocessed(picture_of(words[3]), manifest_of(words[2]).preprocess)));
    } else if (what == "regions") {
        const auto spec = std::get<TextDetectionPost>(manifest_of(words[2]).postprocess);
        const Tensor maps = parse_npy(read_file(words[3]), words[3]);
        const int height = static_cast<int>(maps.shape[1]), width = static_cast<int>(maps.shape[2]);
        Json all = Json::array();
        for (std::int64_t k = 0; k < maps.shape[0]; ++k) {
            Json found = Json::array();
            const float* map = maps.values.data() + k * height * width;
            for (const Region& region : regions(map, height, width, spec, {height * 17 / 10, width * 23 / 10})) {
                Json points = Json::array();
                for (const auto& corner : region.corners) points.push_back({corner.x, corner.y});
                found.push_back({{"score", region.score}, {"points", points}});
            }
            all.push_back(found);
        }
        write(words[4], all);
    } else if (what == "answer") {
        Tensors outputs;
        for (int i = 7; i < count - 1; ++i) {
            const std::string word = words[i];
            const auto at = word.find('=');
            outputs[word.substr(0, at)] = parse_npy(read_file(word.substr(at + 1)), word);
        }
        write(words[count - 1], answer(manifest_of(words[2]), outputs, {number(words[3]), number(words[4])},
                                       {number(words[5]), number(words[6])}));
    } else {
        throw Error("EK200", "no such step: " + what);
    }
}

}  // namespace

int main(int count, char** words) {
    try {
        step(count, words);
        return 0;
    } catch (const Error& error) {
        std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
        return error.exit_code();
    }
}
