#include "preprocess.h"

#include <gtest/gtest.h>

#include "error.h"

using namespace edgekit;

namespace {

using Size = std::array<int, 2>;

Preprocess plain(Resize::Kind kind, int height, int width) {
    return {{kind, height, width, Interpolation::linear, width, 0, 0, 0}, std::nullopt, true, 1.0F, {0, 0, 0}, {1, 1, 1}};
}

TEST(InputSize, OfTheShorterSideRoundsHalfToEven) {
    const Preprocess spec = plain(Resize::Kind::short_side, 256, 256);
    EXPECT_EQ(input_size(512, 1024, spec), (Size{256, 512}));
    EXPECT_EQ(input_size(512, 1025, spec), (Size{256, 512}));  // 512.5
    EXPECT_EQ(input_size(512, 1027, spec), (Size{256, 514}));  // 513.5
}

// PaddleOCR's resize_norm_img with H 48, W 320: int(48 * max(320 / 48, w / h)).
TEST(InputSize, OfALineIsAtLeastTheNominalWidthAndAtMostTheWidest) {
    Preprocess spec = plain(Resize::Kind::line, 48, 320);
    EXPECT_EQ(input_size(32, 100, spec), (Size{48, 320}));
    EXPECT_EQ(input_size(32, 1000, spec), (Size{48, 320}));
    spec.resize.widest = 3200;
    EXPECT_EQ(input_size(32, 1000, spec), (Size{48, 1500}));
    EXPECT_EQ(input_size(10, 1000, spec), (Size{48, 3200}));
}

// PaddleOCR's DetResizeForTest, limit_type max at 960, and min at 64 with a max_side_limit of 4000, by hand.
TEST(InputSize, OfAPageIsInMultiplesOf32) {
    Preprocess spec = plain(Resize::Kind::page, 960, 960);
    spec.resize.longest = 960;
    spec.resize.multiple = 32;
    EXPECT_EQ(input_size(1000, 2000, spec), (Size{480, 960}));
    EXPECT_EQ(input_size(100, 200, spec), (Size{96, 192}));  // 3.125 and 6.25
    EXPECT_EQ(input_size(80, 112, spec), (Size{64, 128}));   // 2.5 -> 2, 3.5 -> 4
    EXPECT_EQ(input_size(5, 2000, spec), (Size{32, 960}));
    spec.resize.longest = 4000;
    spec.resize.shortest = 64;
    EXPECT_EQ(input_size(32, 50, spec), (Size{64, 96}));     // 64 x 100; 3.125 -> 3
    EXPECT_EQ(input_size(8, 8000, spec), (Size{32, 4000 / 32 * 32}));
}

TEST(InputSize, RefusesACropFromLess) {
    Preprocess spec = plain(Resize::Kind::exact, 8, 8);
    spec.crop = {9, 8};
    try {
        input_size(100, 100, spec);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), "EK409");
    }
}

TEST(Preprocessed, NormalisesInTheNetworksOrderAndFillsALineWithZeros) {
    Picture picture(2, 3);
    for (std::size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<std::uint8_t>(10 * i);
    Preprocess spec = plain(Resize::Kind::line, 2, 5);
    spec.mean = {1, 2, 3};
    spec.deviation = {2, 4, 8};
    const Tensor tensor = preprocessed(picture, spec);
    EXPECT_EQ(tensor.shape, (std::vector<std::int64_t>{1, 3, 2, 5}));
    // Red of the first row: 20, 50, 80.
    EXPECT_EQ(std::vector<float>(tensor.values.begin(), tensor.values.begin() + 5), (std::vector<float>{9.5F, 24.5F, 39.5F, 0, 0}));
    spec.is_rgb = false;
    // Blue: 0, 30, 60.
    const Tensor bgr = preprocessed(picture, spec);
    EXPECT_EQ(std::vector<float>(bgr.values.begin(), bgr.values.begin() + 5), (std::vector<float>{-0.5F, 14.5F, 29.5F, 0, 0}));
}

TEST(Preprocessed, TakesTheMiddleAndLeavesAnOddRestBelowAndRight) {
    Picture picture(1, 4);
    for (std::size_t i = 0; i < 12; ++i) picture.pixels[i] = static_cast<std::uint8_t>(i / 3);
    Preprocess spec = plain(Resize::Kind::exact, 1, 4);
    spec.crop = {1, 1};
    EXPECT_EQ(preprocessed(picture, spec).values, (std::vector<float>{1, 1, 1}));
}

}  // namespace
