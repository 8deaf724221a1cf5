#include "bundle.h"

#include "error.h"
#include "files.h"
#include "preprocess.h"

namespace edgekit {

namespace fs = std::filesystem;

namespace {

constexpr char MANIFEST[] = "manifest.json";

Bundle open_one(const fs::path& path) {
    const auto text = read_file(path / MANIFEST);
    return {path, parse_manifest({reinterpret_cast<const char*>(text.data()), text.size()})};
}

void check_hash(const fs::path& folder, const ListedFile& file) {
    const std::string found = sha256(read_file(folder / file.name));
    if (found != file.sha256)
        throw Error("EK402", file.name + " is damaged: its sha256 is " + found + ", the manifest says " + file.sha256 + ".");
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

std::vector<Bundle> open_bundle(const fs::path& path) {
    Bundle first = open_one(path);
    if (first.manifest.parts.empty()) return {std::move(first)};
    std::vector<Bundle> parts;
    for (const Part& part : first.manifest.parts) {
        parts.push_back(open_one(path / part.path));
        if (!parts.back().manifest.parts.empty())
            throw Error("EK409", "manifest.json cannot be used: the part " + part.path + " is itself a combined bundle.");
    }
    return parts;
}

std::optional<fs::path> Bundle::file(const std::string& role) const {
    for (const ListedFile& file : manifest.files)
        if (file.role == role) return path / file.name;
    return std::nullopt;
}

std::string Bundle::model(const std::string& wanted) const {
    const bool is_role = ends_with(wanted, ".onnx") || ends_with(wanted, ".nb");
    std::vector<std::string> order = {wanted};
    if (wanted.empty()) order = {manifest.preferred, "int8", "fp32"};
    for (const std::string& kind : order)
        if (const std::string role = is_role ? kind : kind + ".onnx"; file(role)) return role;
    throw Error("EK401", "The bundle " + path.string() + " has no " + (wanted.empty() ? "ONNX" : wanted) + " file.");
}

void Bundle::check_hashes() const {
    for (const ListedFile& file : manifest.files) check_hash(path, file);
}

Model::Model(Bundle bundle, const std::string& wanted, int threads) : bundle_(std::move(bundle)), role_(bundle_.model(wanted)) {
    for (const ListedFile& file : bundle_.manifest.files)
        if (file.role == role_) check_hash(bundle_.path, file);
    const fs::path file = *bundle_.file(role_);
    if (ends_with(role_, ".onnx")) {
        engine_ = open_onnx(file, threads);
    } else {
        std::vector<std::string> names;
        for (const TensorSpec& output : bundle_.manifest.outputs) names.push_back(output.name);
        engine_ = open_lite(file, names, threads);
    }
}

Tensor Model::input(const Picture& picture) const {
    const auto size = input_size(picture.height, picture.width, bundle_.manifest.preprocess);
    const std::vector<std::int64_t> have = {1, 3, size[0], size[1]}, &want = bundle_.manifest.inputs[0].shape;
    for (std::size_t i = 0; i < 4; ++i)
        if (want[i] >= 0 && want[i] != have[i])
            throw Error("EK409", "Pre-processing makes an input of " + told(have) + ", the network takes " + told(want) + " (-1: any).");
    return preprocessed(picture, bundle_.manifest.preprocess);
}

Json Model::answer(const Picture& picture) {
    const Tensor tensor = input(picture);
    const std::array<int, 2> size = {static_cast<int>(tensor.shape[2]), static_cast<int>(tensor.shape[3])};
    return edgekit::answer(bundle_.manifest, engine_->run(tensor), size, {picture.height, picture.width});
}

}  // namespace edgekit
