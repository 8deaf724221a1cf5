package edgekit.runtime;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** OpenCV's resize of 8-bit colour pictures, value for value (as it is without Intel's IPP). */
final class Resizing {
    private static final int CHANNELS = Picture.CHANNELS;
    private static final int ONE = 2048; // a weight of 1

    private Resizing() {}

    static Picture resized(Picture in, int height, int width, Interpolation interpolation) {
        double downBy = 1.0 / ((double) height / in.height);
        double acrossBy = 1.0 / ((double) width / in.width);
        int cellHeight = (int) Math.rint(downBy);
        int cellWidth = (int) Math.rint(acrossBy);
        double epsilon = Math.ulp(1.0);
        boolean whole = Math.abs(downBy - cellHeight) < epsilon && Math.abs(acrossBy - cellWidth) < epsilon;
        switch (interpolation) {
            case NEAREST:
                return nearest(in, height, width);
            case CUBIC:
                return separable(in, height, width, 4, false);
            case AREA:
                if (downBy < 1 || acrossBy < 1) {
                    return separable(in, height, width, 2, true);
                }
                return whole ? byCells(in, height, width, cellHeight, cellWidth) : byArea(in, height, width);
            default:
                boolean halved = whole && cellHeight == 2 && cellWidth == 2;
                return halved ? byCells(in, height, width, 2, 2) : separable(in, height, width, 2, false);
        }
    }

    private static byte toByte(int value) {
        return (byte) Math.max(0, Math.min(255, value));
    }

    private static int rounded(float value) {
        return (int) Math.rint(value); // half to even
    }

    private static int clamped(int value, int least, int most) {
        return Math.max(least, Math.min(most, value));
    }

    /** Keys' cubic with a = -0.75. */
    static float[] cubicWeights(float x) {
        float a = -0.75F;
        float[] w = new float[4];
        w[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
        w[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
        w[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
        w[3] = 1.0F - w[0] - w[1] - w[2];
        return w;
    }

    /** Where each pixel of a side comes from: the first of its neighbours (it may lie outside), and their weights. */
    private static final class Side {
        final int[] first;
        final int[][] weights; // [pixel][neighbour], in units of 1 / ONE

        /** `enlarging` is OpenCV's stand-in for area averages where a side does not shrink. */
        Side(int from, int to, int taps, boolean horizontal, boolean enlarging) {
            double inverse = (double) to / from;
            double scale = 1.0 / inverse;
            first = new int[to];
            weights = new int[to][taps];
            for (int d = 0; d < to; d++) {
                int s;
                float x;
                if (enlarging) {
                    s = (int) Math.floor(d * scale);
                    x = (float) ((d + 1) - (s + 1) * inverse);
                    x = x <= 0 ? 0.0F : x - (float) Math.floor(x);
                } else {
                    x = (float) ((d + 0.5) * scale - 0.5);
                    s = (int) Math.floor(x);
                    x -= (float) s;
                }
                // Linear columns beyond the border take the border's weight alone; cubic ones and all rows repeat it.
                if (taps == 2 && horizontal && (s < 0 || s >= from - 1)) {
                    x = 0;
                    s = s < 0 ? 0 : from - 1;
                }
                first[d] = s - taps / 2 + 1;
                float[] exact = taps == 4 ? cubicWeights(x) : new float[] {1.0F - x, x};
                for (int k = 0; k < taps; k++) {
                    weights[d][k] = rounded(exact[k] * ONE);
                }
            }
        }
    }

    private static Picture separable(Picture in, int height, int width, int taps, boolean enlarging) {
        Side columns = new Side(in.width, width, taps, true, enlarging);
        Side lines = new Side(in.height, height, taps, false, enlarging);
        byte[] out = new byte[height * width * CHANNELS];
        int stride = width * CHANNELS;
        // The widened rows that the last line needed: held[k] is the number of the row in buffers[k].
        int[][] buffers = new int[taps][stride];
        int[] held = new int[taps];
        Arrays.fill(held, -1);
        int[][] rows = new int[taps][];
        for (int y = 0; y < height; y++) {
            for (int k = 0; k < taps; k++) {
                int s = clamped(lines.first[y] + k, 0, in.height - 1);
                int slot = s % taps;
                if (held[slot] != s) {
                    across(in, s, columns, buffers[slot]);
                    held[slot] = s;
                }
                rows[k] = buffers[slot];
            }
            if (taps == 4) {
                downCubic(rows, lines.weights[y], out, y * stride);
            } else {
                downLinear(rows, lines.weights[y], out, y * stride);
            }
        }
        return new Picture(height, width, out);
    }

    /** One row of the picture brought to the new width, in units of 1 / ONE. */
    private static void across(Picture in, int row, Side columns, int[] out) {
        int start = row * in.stride();
        for (int d = 0; d < columns.first.length; d++) {
            int[] weights = columns.weights[d];
            int blue = 0;
            int green = 0;
            int red = 0;
            for (int k = 0; k < weights.length; k++) {
                int at = start + clamped(columns.first[d] + k, 0, in.width - 1) * CHANNELS;
                blue += (in.pixels[at] & 0xff) * weights[k];
                green += (in.pixels[at + 1] & 0xff) * weights[k];
                red += (in.pixels[at + 2] & 0xff) * weights[k];
            }
            out[d * CHANNELS] = blue;
            out[d * CHANNELS + 1] = green;
            out[d * CHANNELS + 2] = red;
        }
    }

    /** Two such rows brought together. What the shifts lose OpenCV loses, too. */
    private static void downLinear(int[][] rows, int[] w, byte[] out, int start) {
        int[] upper = rows[0];
        int[] lower = rows[1];
        for (int i = 0; i < upper.length; i++) {
            out[start + i] = toByte((((w[0] * (upper[i] >> 4)) >> 16) + ((w[1] * (lower[i] >> 4)) >> 16) + 2) >> 2);
        }
    }

    /** OpenCV's vector code weighs the rows of a cubic in float32, and the fourth first. */
    private static void downCubic(int[][] rows, int[] w, byte[] out, int start) {
        float unit = 1.0F / (ONE * ONE);
        for (int i = 0; i < rows[0].length; i++) {
            float sum = 0;
            for (int k = 3; k >= 0; k--) {
                sum += (float) rows[k][i] * ((float) w[k] * unit);
            }
            out[start + i] = toByte(rounded(sum));
        }
    }

    private static Picture nearest(Picture in, int height, int width) {
        double downBy = 1.0 / ((double) height / in.height);
        double acrossBy = 1.0 / ((double) width / in.width);
        byte[] out = new byte[height * width * CHANNELS];
        for (int y = 0; y < height; y++) {
            int row = Math.min((int) Math.floor(y * downBy), in.height - 1) * in.stride();
            for (int x = 0; x < width; x++) {
                int column = Math.min((int) Math.floor(x * acrossBy), in.width - 1);
                System.arraycopy(in.pixels, row + column * CHANNELS, out, (y * width + x) * CHANNELS, CHANNELS);
            }
        }
        return new Picture(height, width, out);
    }

    /** Means of whole cells. */
    private static Picture byCells(Picture in, int height, int width, int cellHeight, int cellWidth) {
        float share = 1.0F / (cellHeight * cellWidth);
        // OpenCV has a way of its own for cells of two by two, which rounds up.
        boolean two = cellHeight == 2 && cellWidth == 2;
        byte[] out = new byte[height * width * CHANNELS];
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width * CHANNELS; x++) {
                int start = y * cellHeight * in.stride() + x / CHANNELS * cellWidth * CHANNELS + x % CHANNELS;
                int sum = 0;
                for (int v = 0; v < cellHeight; v++) {
                    for (int u = 0; u < cellWidth; u++) {
                        sum += in.pixels[start + v * in.stride() + u * CHANNELS] & 0xff;
                    }
                }
                out[y * width * CHANNELS + x] = toByte(two ? (sum + 2) >> 2 : rounded(sum * share));
            }
        }
        return new Picture(height, width, out);
    }

    /** What a pixel of a side takes from one of the picture. */
    private static final class Share {
        final int to;
        final int from;
        final float weight;

        Share(int to, int from, double weight) {
            this.to = to;
            this.from = from;
            this.weight = (float) weight;
        }
    }

    private static List<Share> shares(int from, int to) {
        double scale = 1.0 / ((double) to / from);
        double least = 1e-3; // of a pixel
        List<Share> result = new ArrayList<>();
        for (int d = 0; d < to; d++) {
            double start = d * scale;
            double end = start + scale;
            double cell = Math.min(scale, from - start);
            int last = Math.min((int) Math.floor(end), from - 1);
            int first = Math.min((int) Math.ceil(start), last);
            if (first - start > least) {
                result.add(new Share(d, first - 1, (first - start) / cell));
            }
            for (int s = first; s < last; s++) {
                result.add(new Share(d, s, 1.0 / cell));
            }
            if (end - last > least) {
                result.add(new Share(d, last, Math.min(Math.min(end - last, 1.0), cell) / cell));
            }
        }
        return result;
    }

    private static Picture byArea(Picture in, int height, int width) {
        List<Share> columns = shares(in.width, width);
        int stride = width * CHANNELS;
        byte[] out = new byte[height * stride];
        float[] row = new float[stride];
        float[] sum = new float[stride];
        int open = 0;
        for (Share line : shares(in.height, height)) {
            Arrays.fill(row, 0);
            int start = line.from * in.stride();
            for (Share column : columns) {
                for (int c = 0; c < CHANNELS; c++) {
                    row[column.to * CHANNELS + c] +=
                            (in.pixels[start + column.from * CHANNELS + c] & 0xff) * column.weight;
                }
            }
            if (line.to != open) {
                write(sum, out, open * stride);
                open = line.to;
                Arrays.fill(sum, 0);
            }
            for (int i = 0; i < stride; i++) {
                sum[i] += line.weight * row[i];
            }
        }
        write(sum, out, open * stride);
        return new Picture(height, width, out);
    }

    private static void write(float[] values, byte[] out, int start) {
        for (int i = 0; i < values.length; i++) {
            out[start + i] = toByte(rounded(values[i]));
        }
    }
}
