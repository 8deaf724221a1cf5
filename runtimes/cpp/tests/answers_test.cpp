#include "answers.h"

#include <gtest/gtest.h>

#include <cmath>

#include "error.h"

using namespace edgekit;

namespace {

TEST(BestClasses, OfEqualsTheLowerWins) {
    const auto best = best_classes({0.1F, 0.4F, 0.4F, NAN, 0.05F}, 3);
    ASSERT_EQ(best.size(), 3U);
    EXPECT_EQ(best[0].index, 1);
    EXPECT_EQ(best[1].index, 2);
    EXPECT_EQ(best[2].index, 0);
    EXPECT_EQ(best_classes({0.5F}, 5).size(), 1U);
}

DetectionPost plain() { return {"boxes", "scores", {}, 0.1F, 0.5F, -1, -1}; }

// Boxes of 10 x 10: the second is shifted by 2 (IoU 80 / 120), the third by 5 (IoU 50 / 150).
const Tensor BOXES{{1, 3, 4}, {0, 0, 10, 10, 2, 0, 12, 10, 5, 0, 15, 10}};

TEST(Detections, NmsIsClassByClass) {
    const Tensor scores{{1, 2, 3}, {0.9F, 0.8F, 0.7F, 0.05F, 0.6F, 0.05F}};
    const auto found = detections(BOXES, scores, plain(), {100, 100}, {200, 50});
    ASSERT_EQ(found.size(), 3U);
    EXPECT_FLOAT_EQ(found[0].score, 0.9F);
    EXPECT_FLOAT_EQ(found[1].score, 0.7F);  // the second overlaps the first by more than a half
    EXPECT_EQ(found[2].index, 1);           // and is the best of its other class
    // From 100 x 100 to a picture 200 high and 50 wide.
    EXPECT_EQ(found[1].box, (std::array<float, 4>{2.5F, 0, 7.5F, 20}));
}

TEST(Detections, KeepsTheBestOfAllClasses) {
    DetectionPost spec = plain();
    spec.keep_top_k = 1;
    const Tensor scores{{1, 2, 3}, {0.2F, 0, 0, 0, 0, 0.4F}};
    const auto found = detections(BOXES, scores, spec, {100, 100}, {100, 100});
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].index, 1);
    spec.keep_top_k = -1;
    spec.nms_top_k = 0;
    EXPECT_TRUE(detections(BOXES, scores, spec, {100, 100}, {100, 100}).empty());
}

TEST(Detections, StridesAreThoseOfTheLevels) {
    DetectionPost spec = plain();
    spec.strides = {8, 16};  // at 9 x 8: 2 anchors and 1
    const Tensor boxes{{1, 3, 4}, {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5}};
    const Tensor scores{{1, 1, 3}, {0.9F, 0.8F, 0.7F}};
    const auto found = detections(boxes, scores, spec, {9, 8}, {9, 8});
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[1].box, (std::array<float, 4>{16, 16, 24, 24}));
    EXPECT_EQ(found[2].box, (std::array<float, 4>{64, 64, 80, 80}));
    EXPECT_THROW(detections(boxes, scores, spec, {16, 16}, {9, 8}), Error);
}

TEST(Reading, DropsRepeatsAndBlanks) {
    // Classes: blank, a, b, space.
    const std::vector<int> path = {1, 1, 0, 1, 2, 2, 3, 0};
    std::vector<float> steps(path.size() * 4, 0.1F);
    for (std::size_t i = 0; i < path.size(); ++i) steps[4 * i + static_cast<std::size_t>(path[i])] = 0.7F;
    steps[1] = 0.5F;
    const Reading found = reading(steps.data(), 8, 4, {"a", "b"}, true);
    EXPECT_EQ(found.text, "aab ");
    EXPECT_NEAR(found.score, (0.5 + 3 * 0.7) / 4, 1e-6);
    EXPECT_THROW(reading(steps.data(), 8, 4, {"a", "b"}, false), Error);
    EXPECT_EQ(reading(steps.data(), 0, 4, {"a", "b"}, true).text, "");
}

TEST(Regions, OfOneBlockIsItsRectangleGrown) {
    constexpr int SIDE = 64;
    std::vector<float> map(SIDE * SIDE, 0);
    for (int y = 20; y <= 30; ++y)
        for (int x = 10; x <= 40; ++x) map[static_cast<std::size_t>(SIDE * y + x)] = 0.8F;
    const TextDetectionPost spec{"map", 0.3F, 0.6, 1.5, 1000, 3};
    // 30 x 10 grows by 300 * 1.5 / 80 = 5.6 pixels on each side; the picture is twice as high.
    const auto found = regions(map.data(), SIDE, SIDE, spec, {2 * SIDE, SIDE});
    ASSERT_EQ(found.size(), 1U);
    EXPECT_NEAR(found[0].score, 0.8, 1e-6);
    EXPECT_EQ(found[0].corners[0].x, 4);
    EXPECT_EQ(found[0].corners[0].y, 28);
    EXPECT_EQ(found[0].corners[2].x, 46);
    EXPECT_EQ(found[0].corners[2].y, 72);
    TextDetectionPost stricter = spec;
    stricter.box_threshold = 0.9;
    EXPECT_TRUE(regions(map.data(), SIDE, SIDE, stricter, {SIDE, SIDE}).empty());
}

}  // namespace
