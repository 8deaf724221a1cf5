package edgekit.runtime;

/**
 * What lies in a quad of a picture as an upright rectangle: OpenCV's getPerspectiveTransform and warpPerspective with
 * INTER_CUBIC and BORDER_REPLICATE, value for value.
 */
final class Perspective {
    private static final int CHANNELS = Picture.CHANNELS;
    private static final int TAPS = 4;
    private static final int STEPS = 32; // between two pixels
    private static final int ONE = 1 << 15; // the sum of 16 weights
    private static final short[] WEIGHTS = weights(); // [step of y][step of x][row][column]

    private Perspective() {}

    /** A rectangle of height x width pixels out of a quad [4][x, y], clockwise from the upper left. */
    static Picture upright(Picture in, double[][] quad, int height, int width) {
        double[] m = inverse(transform(quad, height, width));
        byte[] out = new byte[height * width * CHANNELS];
        // OpenCV goes by blocks, and each begins with sums of its own.
        int blockHeight = Math.min(16, height);
        int blockWidth = Math.min(1024 / blockHeight, width);
        blockHeight = Math.min(1024 / blockWidth, height);
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x += blockWidth) {
                double startX = m[0] * x + m[1] * y + m[2];
                double startY = m[3] * x + m[4] * y + m[5];
                double startW = m[6] * x + m[7] * y + m[8];
                for (int k = 0; k < Math.min(blockWidth, width - x); k++) {
                    double w = startW + m[6] * k;
                    w = w == 0 ? 0 : STEPS / w;
                    int sourceX = whole((startX + m[0] * k) * w);
                    int sourceY = whole((startY + m[3] * k) * w);
                    sample(in, sourceX, sourceY, out, (y * width + x + k) * CHANNELS);
                }
            }
        }
        return new Picture(height, width, out);
    }

    private static int whole(double value) {
        return (int) Math.rint(Math.max(Integer.MIN_VALUE, Math.min(Integer.MAX_VALUE, value)));
    }

    private static int toShort(int value) {
        return Math.max(Short.MIN_VALUE, Math.min(Short.MAX_VALUE, value));
    }

    /** The cubic around a place in steps of 1 / STEPS pixel. */
    private static void sample(Picture in, int x, int y, byte[] out, int at) {
        int weight = (Math.floorMod(y, STEPS) * STEPS + Math.floorMod(x, STEPS)) * TAPS * TAPS;
        int left = toShort(x >> 5) - 1;
        int top = toShort(y >> 5) - 1;
        int blue = ONE / 2;
        int green = ONE / 2;
        int red = ONE / 2;
        for (int v = 0; v < TAPS; v++) {
            int row = clamped(top + v, in.height) * in.stride();
            for (int u = 0; u < TAPS; u++) {
                int pixel = row + clamped(left + u, in.width) * CHANNELS;
                int w = WEIGHTS[weight + v * TAPS + u];
                blue += (in.pixels[pixel] & 0xff) * w;
                green += (in.pixels[pixel + 1] & 0xff) * w;
                red += (in.pixels[pixel + 2] & 0xff) * w;
            }
        }
        out[at] = toByte(blue >> 15);
        out[at + 1] = toByte(green >> 15);
        out[at + 2] = toByte(red >> 15);
    }

    private static int clamped(int value, int side) {
        return Math.max(0, Math.min(side - 1, value));
    }

    private static byte toByte(int value) {
        return (byte) Math.max(0, Math.min(255, value));
    }

    /** Products of two cubics' weights in whole numbers, whose sum is ONE: what is over goes to one of the four last. */
    private static short[] weights() {
        short[] table = new short[STEPS * STEPS * TAPS * TAPS];
        for (int y = 0; y < STEPS; y++) {
            float[] down = Resizing.cubicWeights(y / (float) STEPS);
            for (int x = 0; x < STEPS; x++) {
                float[] across = Resizing.cubicWeights(x / (float) STEPS);
                int start = (y * STEPS + x) * TAPS * TAPS;
                int sum = 0;
                for (int k = 0; k < TAPS * TAPS; k++) {
                    int w = (int) Math.rint(down[k / TAPS] * across[k % TAPS] * ONE);
                    table[start + k] = (short) toShort(w);
                    sum += table[start + k];
                }
                correct(table, start, sum - ONE);
            }
        }
        return table;
    }

    private static void correct(short[] table, int start, int excess) {
        int least = start + 10;
        int most = start + 10;
        for (int k : new int[] {10, 11, 14, 15}) {
            if (table[start + k] < table[least]) {
                least = start + k;
            } else if (table[start + k] > table[most]) {
                most = start + k;
            }
        }
        table[excess < 0 ? most : least] -= (short) excess;
    }

    /** The matrix [9] that takes the quad's corners to those of the rectangle. */
    private static double[] transform(double[][] quad, int height, int width) {
        float[][] to = {{0, 0}, {width, 0}, {width, height}, {0, height}};
        double[][] a = new double[8][9]; // the last column is the right side
        for (int i = 0; i < 4; i++) {
            float x = (float) quad[i][0];
            float y = (float) quad[i][1];
            a[i] = new double[] {x, y, 1, 0, 0, 0, -x * to[i][0], -y * to[i][0], to[i][0]};
            a[i + 4] = new double[] {0, 0, 0, x, y, 1, -x * to[i][1], -y * to[i][1], to[i][1]};
        }
        double[] solved = solve(a);
        double[] matrix = new double[9];
        System.arraycopy(solved, 0, matrix, 0, solved.length);
        matrix[8] = 1;
        return matrix;
    }

    /** Gauss's elimination with pivots by column. All zeros when there is no single solution, as in OpenCV. */
    private static double[] solve(double[][] a) {
        int n = a.length;
        double[] x = new double[n];
        for (int i = 0; i < n; i++) {
            int pivot = i;
            for (int j = i + 1; j < n; j++) {
                pivot = Math.abs(a[j][i]) > Math.abs(a[pivot][i]) ? j : pivot;
            }
            if (Math.abs(a[pivot][i]) < Math.ulp(1.0) * 100) {
                return x;
            }
            double[] row = a[pivot];
            a[pivot] = a[i];
            a[i] = row;
            double share = -1 / row[i];
            for (int j = i + 1; j < n; j++) {
                double alpha = a[j][i] * share;
                for (int k = i + 1; k <= n; k++) {
                    a[j][k] += alpha * row[k];
                }
            }
        }
        for (int i = n - 1; i >= 0; i--) {
            double sum = a[i][n];
            for (int k = i + 1; k < n; k++) {
                sum -= a[i][k] * x[k];
            }
            x[i] = sum / a[i][i];
        }
        return x;
    }

    /** Of a 3 x 3 matrix; all zeros of one that has none. */
    private static double[] inverse(double[] m) {
        double determinant = m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6])
                + m[2] * (m[3] * m[7] - m[4] * m[6]);
        if (determinant == 0) {
            return new double[9];
        }
        double d = 1 / determinant;
        return new double[] {
            (m[4] * m[8] - m[5] * m[7]) * d,
            (m[2] * m[7] - m[1] * m[8]) * d,
            (m[1] * m[5] - m[2] * m[4]) * d,
            (m[5] * m[6] - m[3] * m[8]) * d,
            (m[0] * m[8] - m[2] * m[6]) * d,
            (m[2] * m[3] - m[0] * m[5]) * d,
            (m[3] * m[7] - m[4] * m[6]) * d,
            (m[1] * m[6] - m[0] * m[7]) * d,
            (m[0] * m[4] - m[1] * m[3]) * d
        };
    }
}
