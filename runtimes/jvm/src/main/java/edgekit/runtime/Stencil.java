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

    /** Bresenham's line, from left to right, between the ends that it has after it was clipped. */
    private void line(Pixel first, Pixel second) {
        int[] ends = {first.x, first.y, second.x, second.y};
        if (!clipped(ends)) {
            return;
        }
        int left = ends[0] > ends[2] ? 2 : 0;
        int x = ends[left];
        int y = ends[left + 1];
        int dx = ends[2 - left] - x;
        int dy = Math.abs(ends[3 - left] - y);
        int down = ends[3 - left] < y ? -1 : 1;
        boolean isSteep = dy > dx;
        int longer = Math.max(dx, dy);
        int shorter = Math.min(dx, dy);
        int error = longer - 2 * shorter;
        for (int k = 0; k <= longer; k++) {
            isSet[y * width + x] = true;
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

    /**
     * Moves the ends {x, y, x, y} of a line that leaves the mask to its border: rows first, and cut to whole pixels each
     * time, as OpenCV does. False when nothing of it lies inside.
     */
    private boolean clipped(int[] ends) {
        for (int axis = 1; axis >= 0; axis--) {
            int most = axis == 1 ? height - 1 : width - 1;
            if (outside(ends[axis], most) * outside(ends[axis + 2], most) > 0
                    || outside(ends[1 - axis], side(axis)) * outside(ends[3 - axis], side(axis)) > 0) {
                return false;
            }
            for (int end = 0; end <= 2; end += 2) {
                int beyond = outside(ends[axis + end], most);
                if (beyond != 0) {
                    int border = beyond < 0 ? 0 : most;
                    long far = border - ends[axis + end];
                    long run = ends[3 - axis] - ends[1 - axis];
                    ends[1 - axis + end] += (int) (far * run / (ends[axis + 2] - ends[axis]));
                    ends[axis + end] = border;
                }
            }
        }
        return true;
    }

    /** The last pixel along the other axis. */
    private int side(int axis) {
        return axis == 1 ? width - 1 : height - 1;
    }

    private static int outside(int value, int most) {
        return value < 0 ? -1 : value > most ? 1 : 0;
    }
}
