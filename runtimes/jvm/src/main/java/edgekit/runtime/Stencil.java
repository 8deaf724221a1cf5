package edgekit.runtime;

import java.util.Arrays;

/** A filled quad in a mask, its outline included, with the pixels that OpenCV's fillPoly takes. */
final class Stencil {
    private static final int BITS = 16;
    private static final long ONE = 1L << BITS;

    private final int height;
    private final int width;
    private final boolean[] isSet;

    private Stencil(int height, int width) {
        this.height = height;
        this.width = width;
        isSet = new boolean[height * width];
    }

    /** The mean of a map over the pixels of a quad [4][x, y]. */
    static double meanInside(float[] map, Size size, float[][] quad) {
        float leastX = quad[0][0];
        float mostX = leastX;
        float leastY = quad[0][1];
        float mostY = leastY;
        for (float[] corner : quad) {
            leastX = Math.min(leastX, corner[0]);
            mostX = Math.max(mostX, corner[0]);
            leastY = Math.min(leastY, corner[1]);
            mostY = Math.max(mostY, corner[1]);
        }
        int x0 = inside(Math.floor(leastX), size.width);
        int x1 = inside(Math.ceil(mostX), size.width);
        int y0 = inside(Math.floor(leastY), size.height);
        int y1 = inside(Math.ceil(mostY), size.height);
        Pixel[] corners = new Pixel[4];
        for (int i = 0; i < 4; i++) { // cut, not rounded
            corners[i] = new Pixel((int) (quad[i][0] - x0), (int) (quad[i][1] - y0));
        }
        Stencil stencil = new Stencil(y1 - y0 + 1, x1 - x0 + 1);
        stencil.fill(corners);
        double sum = 0;
        int count = 0;
        for (int y = 0; y < stencil.height; y++) {
            for (int x = 0; x < stencil.width; x++) {
                if (stencil.isSet[y * stencil.width + x]) {
                    sum += map[(y0 + y) * size.width + x0 + x];
                    count++;
                }
            }
        }
        return count == 0 ? 0 : sum / count;
    }

    private static int inside(double value, int side) {
        return (int) Math.max(0, Math.min(side - 1, value));
    }

    private void fill(Pixel[] corners) {
        for (int i = 0; i < corners.length; i++) {
            line(corners[(i + 3) % 4], corners[i]);
        }
        for (int y = 0; y < height; y++) {
            long[] crossings = new long[corners.length]; // in 1 / ONE pixel
            int count = 0;
            for (int i = 0; i < corners.length; i++) {
                Pixel a = corners[(i + 3) % 4];
                Pixel b = corners[i];
                Pixel upper = a.y > b.y ? b : a;
                Pixel lower = a.y > b.y ? a : b;
                if (y < upper.y || y >= lower.y) {
                    continue;
                }
                long slope = (lower.x - upper.x) * ONE / (lower.y - upper.y);
                crossings[count++] = upper.x * ONE + slope * (y - upper.y);
            }
            Arrays.sort(crossings, 0, count);
            for (int i = 0; i + 1 < count; i += 2) {
                long last = Math.min(crossings[i + 1] >> BITS, width - 1);
                for (long x = Math.max((crossings[i] + ONE - 1) >> BITS, 0); x <= last; x++) {
                    isSet[y * width + (int) x] = true;
                }
            }
        }
    }

    /** Bresenham's line, from left to right. */
    private void line(Pixel first, Pixel second) {
        Pixel from = first.x > second.x ? second : first;
        Pixel to = first.x > second.x ? first : second;
        int dx = to.x - from.x;
        int dy = Math.abs(to.y - from.y);
        int down = to.y < from.y ? -1 : 1;
        boolean isSteep = dy > dx;
        int longer = Math.max(dx, dy);
        int shorter = Math.min(dx, dy);
        int error = longer - 2 * shorter;
        int x = from.x;
        int y = from.y;
        for (int k = 0; k <= longer; k++) {
            if (x >= 0 && x < width && y >= 0 && y < height) {
                isSet[y * width + x] = true;
            }
            boolean aside = error < 0;
            error += (aside ? 2 * longer : 0) - 2 * shorter;
            if (isSteep || aside) {
                y += down;
            }
            if (!isSteep || aside) {
                x += 1;
            }
        }
    }
}
