#include "manifest.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "error.h"

using namespace edgekit;
using Raw = nlohmann::json;

namespace {

Raw good() {
    return Raw::parse(R"({
        "schema_version": 1, "name": "net", "task": "classification", "default": "int8.onnx",
        "inputs": [{"name": "x", "shape": [-1, 3, 8, 8], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": [-1, 2]}],
        "preprocess": {"resize": {"kind": "short", "height": 9, "width": 9, "widest": null, "interpolation": "linear"},
                       "crop": [8, 8], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 1]},
        "postprocess": {"kind": "classification", "probabilities": "y"},
        "labels": ["a", "b"], "files": [{"name": "golden/0/input.npy", "role": "golden", "sha256": "00"}],
        "recipe": "whatever else"})");
}

// The refusal's message; empty when it is taken.
std::string refusal(const Raw& json) {
    try {
        parse_manifest(json.dump());
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), "EK409");
        return error.what();
    }
    return "";
}

TEST(Manifest, IsRead) {
    const Manifest manifest = parse_manifest(good().dump());
    EXPECT_EQ(manifest.preprocess.resize.kind, Resize::Kind::short_side);
    EXPECT_EQ((*manifest.preprocess.crop)[0], 8);
    EXPECT_TRUE(manifest.preprocess.is_rgb);
    EXPECT_FLOAT_EQ(manifest.preprocess.scale, 1.0F / 255);
    EXPECT_FLOAT_EQ(manifest.preprocess.deviation[1], 0.25F);
    EXPECT_EQ(std::get<ClassificationPost>(manifest.postprocess).top_k, 5);
    EXPECT_EQ(manifest.preferred, "int8");
}

TEST(Manifest, RefusalsNameTheKey) {
    const std::vector<std::tuple<std::string, Raw, std::string>> cases = {
        {"/schema_version", 2, "schema_version is that of a newer"},
        {"/preprocess/mean", Raw::array({1, 2}), "preprocess.mean"},
        {"/preprocess/mean/1", "0.5", "preprocess.mean"},
        {"/preprocess/mean/1", 1e39, "preprocess.mean"},
        {"/preprocess/std/1", 0, "preprocess.std"},
        {"/preprocess/resize/kind", "wide", "preprocess.resize.kind"},
        {"/preprocess/resize/height", 0, "preprocess.resize.height"},
        {"/preprocess/resize/height", 1e300, "preprocess.resize.height"},
        {"/preprocess/resize/width", 8193, "preprocess.resize.width"},
        {"/preprocess/resize/widest", 20, "preprocess.resize.widest"},
        {"/preprocess/resize/padding", 20, "preprocess.resize.padding is unknown"},
        {"/preprocess/crop", Raw::array({8}), "preprocess.crop"},
        {"/preprocess/gamma", 2.2, "preprocess.gamma is unknown"},
        {"/postprocess/kind", "segmentation", "segmentation"},
        {"/postprocess/top_k", -3, "postprocess.top_k"},
        {"/task", "detection", "task"},
        {"/labels/0", 7, "labels"},
        {"/inputs", Raw::array(), "inputs"},
        {"/files/0/name", "../../etc/passwd", "unsafe"},
        {"/files/0/name", "/etc/passwd", "unsafe"},
    };
    for (const auto& [place, value, said] : cases) {
        Raw json = good();
        json[Raw::json_pointer(place)] = value;
        EXPECT_NE(refusal(json).find(said), std::string::npos) << place << ": " << refusal(json);
    }
    for (const std::string key : {"schema_version", "name", "task", "inputs", "outputs", "preprocess", "postprocess", "labels", "files"}) {
        Raw json = good();
        json.erase(key);
        EXPECT_NE(refusal(json).find(key + " is missing"), std::string::npos) << key;
    }
}

TEST(Manifest, ADetectorMustShowTheWholePicture) {
    Raw json = good();
    json["task"] = "text_detection";
    json["postprocess"] = {{"kind", "text_detection"}, {"map", "y"}};
    EXPECT_NE(refusal(json).find("whole picture"), std::string::npos);
    json["preprocess"]["crop"] = nullptr;
    json["preprocess"]["resize"] = {{"kind", "page"}, {"height", 960}, {"width", 960}, {"longest", 960}, {"interpolation", "linear"}};
    EXPECT_EQ(refusal(json), "");
}

TEST(Manifest, RefusesWhatIsNoJson) {
    for (const std::string text : {"", "{", "[1", "null", "7", "\"\\ud800\"", "{\"name\": \"\xff\"}"})
        EXPECT_THROW(parse_manifest(text), Error) << text;
    EXPECT_THROW(parse_manifest(std::string(200'000, '[')), Error);
}

}  // namespace
