#include "geometry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

using namespace edgekit;

namespace {

std::vector<bool> mask_of(const std::string& picture) {
    std::vector<bool> mask;
    for (const char c : picture)
        if (c != '\n') mask.push_back(c == '#');
    return mask;
}

TEST(Borders, AreOuterOnesAndThoseOfHolesTheLastFoundFirst) {
    const auto found = borders(mask_of("#####\n"
                                       "#...#\n"
                                       "#...#\n"
                                       "#####\n"
                                       "....."),
                               5, 5);
    ASSERT_EQ(found.size(), 2U);
    // A hole's border runs over the pixels around it, corner to corner without the ring's own corners.
    EXPECT_EQ(found[0], (std::vector<Pixel>{{0, 1}, {1, 0}, {3, 0}, {4, 1}, {4, 2}, {3, 3}, {1, 3}, {0, 2}}));
    EXPECT_EQ(found[1], (std::vector<Pixel>{{0, 0}, {0, 3}, {4, 3}, {4, 0}}));
}

TEST(Borders, OfASinglePixelIsThatPixel) {
    const auto found = borders(mask_of("...\n.#.\n..."), 3, 3);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0], (std::vector<Pixel>{{1, 1}}));
}

TEST(ConvexHull, HasNoPointsOnItsSidesAndNoneInside) {
    auto hull = convex_hull({{0, 0}, {2, 0}, {4, 0}, {4, 4}, {0, 4}, {1, 2}, {0, 2}, {4, 4}});
    ASSERT_EQ(hull.size(), 4U);
    for (const Pixel corner : {Pixel{0, 0}, {4, 0}, {4, 4}, {0, 4}})
        EXPECT_NE(std::find(hull.begin(), hull.end(), corner), hull.end());
    EXPECT_EQ(convex_hull({{1, 1}, {3, 3}, {2, 2}}).size(), 2U);
    EXPECT_EQ(convex_hull({{1, 1}, {1, 1}}).size(), 1U);
}

TEST(SmallestRectangle, OfADiamondLiesAskew) {
    const auto found = smallest_rectangle({{4, 0}, {8, 4}, {4, 8}, {0, 4}});
    EXPECT_NEAR(found.shorter_side, 5.6569, 1e-3);  // 4 sqrt 2
    for (const Corner& corner : found.corners) {
        const bool is_tip = std::abs(corner.x - 4) < 1e-3 || std::abs(corner.y - 4) < 1e-3;
        EXPECT_TRUE(is_tip) << corner.x << " " << corner.y;
    }
}

TEST(SmallestRectangle, StartsAtTheUpperLeft) {
    const auto found = smallest_rectangle({{2, 3}, {9, 3}, {9, 5}, {2, 5}});
    const float wanted[4][2] = {{2, 3}, {9, 3}, {9, 5}, {2, 5}};
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_NEAR(found.corners[i].x, wanted[i][0], 1e-4);
        EXPECT_NEAR(found.corners[i].y, wanted[i][1], 1e-4);
    }
    EXPECT_NEAR(found.shorter_side, 2, 1e-4);
}

TEST(MeanInside, CountsTheOutline) {
    std::vector<float> map(5 * 5, 0);
    for (int y = 1; y <= 3; ++y)
        for (int x = 1; x <= 3; ++x) map[static_cast<std::size_t>(5 * y + x)] = 1;
    EXPECT_DOUBLE_EQ(mean_inside(map.data(), 5, 5, {{{1, 1}, {3, 1}, {3, 3}, {1, 3}}}), 1);
    EXPECT_DOUBLE_EQ(mean_inside(map.data(), 5, 5, {{{0, 0}, {4, 0}, {4, 4}, {0, 4}}}), 9.0 / 25);
}

TEST(Grown, MovesEverySideOutwardsByAreaTimesRatioOverPerimeter) {
    // 20 x 10: 200 * 1.5 / 60 = 5 pixels.
    const auto outline = grown({{{10, 10}, {30, 10}, {30, 20}, {10, 20}}}, 1.5);
    const auto [left, right] = std::minmax_element(outline.begin(), outline.end(), [](Pixel a, Pixel b) { return a.x < b.x; });
    const auto [top, bottom] = std::minmax_element(outline.begin(), outline.end(), [](Pixel a, Pixel b) { return a.y < b.y; });
    EXPECT_EQ(left->x, 5);
    EXPECT_EQ(right->x, 35);
    EXPECT_EQ(top->y, 5);
    EXPECT_EQ(bottom->y, 25);
    // Round corners: none lies farther from the nearest corner of the quad than 5, and rounding.
    for (const Pixel& p : outline) {
        const int dx = std::max({10 - p.x, p.x - 30, 0}), dy = std::max({10 - p.y, p.y - 20, 0});
        EXPECT_LE(dx * dx + dy * dy, 5.8 * 5.8);
    }
}

TEST(Grown, OfALineIsNothing) { EXPECT_TRUE(grown({{{3, 3}, {3.5F, 3}, {3.5F, 3.5F}, {3, 3.5F}}}, 1.5).empty()); }

}  // namespace
