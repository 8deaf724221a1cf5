package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import org.junit.jupiter.api.Test;

class GeometryTest {
    private static List<List<Pixel>> borders(String... rows) {
        Size size = new Size(rows.length, rows[0].length());
        boolean[] mask = new boolean[size.height * size.width];
        for (int i = 0; i < mask.length; i++) {
            mask[i] = rows[i / size.width].charAt(i % size.width) == '#';
        }
        return Borders.of(mask, size);
    }

    @Test
    void aSinglePixelIsItsBorder() {
        assertEquals(List.of(List.of(new Pixel(1, 1))), borders("...", ".#.", "..."));
    }

    @Test
    void aRingHasTwoBordersTheInnerOneFirst() {
        List<List<Pixel>> found = borders("#####", "#...#", "#...#", "#####");
        assertEquals(2, found.size());
        assertEquals(
                List.of(new Pixel(0, 0), new Pixel(0, 3), new Pixel(4, 3), new Pixel(4, 0)), found.get(1));
        // 8-connected around the hole: the corners of the ring itself are not on it.
        assertEquals(8, found.get(0).size());
    }

    @Test
    void aHullHasNoPointsOnItsSidesAndNoneInside() {
        List<Pixel> hull = Hull.of(List.of(
                new Pixel(0, 0), new Pixel(2, 0), new Pixel(4, 0), new Pixel(4, 4), new Pixel(0, 4), new Pixel(1, 2),
                new Pixel(0, 2), new Pixel(4, 4)));
        assertEquals(4, hull.size());
        assertEquals(
                new HashSet<>(List.of(new Pixel(0, 0), new Pixel(4, 0), new Pixel(4, 4), new Pixel(0, 4))),
                new HashSet<>(hull));
        assertEquals(2, Hull.of(List.of(new Pixel(1, 1), new Pixel(3, 3), new Pixel(2, 2))).size());
        assertEquals(1, Hull.of(List.of(new Pixel(1, 1), new Pixel(1, 1))).size());
    }

    @Test
    void theSmallestRectangleOfADiamondLiesAskew() {
        Rectangle found =
                Rectangle.around(List.of(new Pixel(4, 0), new Pixel(8, 4), new Pixel(4, 8), new Pixel(0, 4)));
        assertEquals(5.6569, found.shorterSide, 1e-3); // 4 sqrt 2
        for (float[] corner : found.corners) {
            assertTrue(Math.abs(corner[0] - 4) < 1e-3 || Math.abs(corner[1] - 4) < 1e-3);
        }
    }

    @Test
    void theSmallestRectangleStartsAtTheUpperLeft() {
        Rectangle found =
                Rectangle.around(List.of(new Pixel(2, 3), new Pixel(9, 3), new Pixel(9, 5), new Pixel(2, 5)));
        float[][] wanted = {{2, 3}, {9, 3}, {9, 5}, {2, 5}};
        for (int i = 0; i < 4; i++) {
            assertEquals(wanted[i][0], found.corners[i][0], 1e-4);
            assertEquals(wanted[i][1], found.corners[i][1], 1e-4);
        }
        assertEquals(2, found.shorterSide, 1e-4);
    }

    @Test
    void theMeanInsideCountsTheOutline() {
        float[] map = new float[25];
        for (int y = 1; y <= 3; y++) {
            for (int x = 1; x <= 3; x++) {
                map[5 * y + x] = 1;
            }
        }
        Size size = new Size(5, 5);
        assertEquals(1, Stencil.meanInside(map, size, new float[][] {{1, 1}, {3, 1}, {3, 3}, {1, 3}}));
        assertEquals(9.0 / 25, Stencil.meanInside(map, size, new float[][] {{0, 0}, {4, 0}, {4, 4}, {0, 4}}));
        // What lies outside of the map is not counted.
        assertEquals(9.0 / 25, Stencil.meanInside(map, size, new float[][] {{-9, -9}, {9, -9}, {9, 9}, {-9, 9}}));
    }

    @Test
    void everySideMovesOutwardsByAreaTimesRatioOverPerimeter() {
        // 20 x 10: 200 * 1.5 / 60 = 5 pixels.
        List<Pixel> outline = Outline.grown(new float[][] {{10, 10}, {30, 10}, {30, 20}, {10, 20}}, 1.5);
        assertEquals(5, outline.stream().mapToInt(p -> p.x).min().getAsInt());
        assertEquals(35, outline.stream().mapToInt(p -> p.x).max().getAsInt());
        assertEquals(5, outline.stream().mapToInt(p -> p.y).min().getAsInt());
        assertEquals(25, outline.stream().mapToInt(p -> p.y).max().getAsInt());
        // Round corners: none lies farther from the nearest corner of the quad than 5, and rounding.
        for (Pixel p : outline) {
            int dx = Math.max(0, Math.max(10 - p.x, p.x - 30));
            int dy = Math.max(0, Math.max(10 - p.y, p.y - 20));
            assertTrue(dx * dx + dy * dy <= 5.8 * 5.8, p.toString());
        }
    }

    @Test
    void ofALineNothingGrows() {
        assertTrue(Outline.grown(new float[][] {{3, 3}, {3.5F, 3}, {3.5F, 3.5F}, {3, 3.5F}}, 1.5).isEmpty());
    }
}
