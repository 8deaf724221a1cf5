package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class PreprocessTest {
    private static final float[] ZERO = {0, 0, 0};
    private static final float[] ONE = {1, 1, 1};

    private static Picture counting(int height, int width, int factor) {
        byte[] pixels = new byte[height * width * 3];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) (i * factor);
        }
        return Picture.bgr(pixels, height, width);
    }

    @Test
    void normalisesInTheNetworksOrderAndFillsALineWithZeros() {
        Picture picture = counting(2, 3, 10);
        Resize resize = Resize.line(2, 5, 5, Interpolation.LINEAR);
        float[] mean = {1, 2, 3};
        float[] deviation = {2, 4, 8};
        Tensor rgb = new Preprocess(resize, null, true, 1, mean, deviation).apply(picture);
        assertArrayEquals(new long[] {1, 3, 2, 5}, rgb.shape);
        // Red of the first row: 20, 50, 80.
        assertArrayEquals(new float[] {9.5F, 24.5F, 39.5F, 0, 0}, Arrays.copyOf(rgb.values, 5));
        Tensor bgr = new Preprocess(resize, null, false, 1, mean, deviation).apply(picture);
        // Blue: 0, 30, 60.
        assertArrayEquals(new float[] {-0.5F, 14.5F, 29.5F, 0, 0}, Arrays.copyOf(bgr.values, 5));
    }

    @Test
    void takesTheMiddleAndLeavesAnOddRestBelowAndRight() {
        Picture picture = Picture.bgr(new byte[] {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3}, 1, 4);
        Resize resize = Resize.exact(1, 4, Interpolation.LINEAR);
        Tensor middle = new Preprocess(resize, new Size(1, 1), true, 1, ZERO, ONE).apply(picture);
        assertArrayEquals(new float[] {1, 1, 1}, middle.values);
    }

    @Test
    void aCropFromLessIsRefused() {
        Resize resize = Resize.exact(8, 8, Interpolation.LINEAR);
        Preprocess spec = new Preprocess(resize, new Size(9, 8), true, 1, ZERO, ONE);
        assertEquals("EK409", assertThrows(EdgekitException.class, () -> spec.apply(counting(9, 9, 1))).code());
    }

    @Test
    void halvingIsTheMeanOfFourRoundedUp() {
        // 0 1 / 1 0 has the mean 0.5.
        byte[] pixels = {0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0};
        Picture half = Resizing.resized(Picture.bgr(pixels, 2, 2), 1, 1, Interpolation.LINEAR);
        assertArrayEquals(new byte[] {1, 1, 1}, half.pixels);
    }

    @Test
    void anEvenPictureStaysEvenAtEverySize() {
        byte[] pixels = new byte[7 * 5 * 3];
        Arrays.fill(pixels, (byte) 200);
        for (Interpolation how : Interpolation.values()) {
            for (int side : new int[] {1, 3, 10, 35}) {
                Picture resized = Resizing.resized(Picture.bgr(pixels.clone(), 7, 5), side, side + 2, how);
                byte[] wanted = new byte[side * (side + 2) * 3];
                Arrays.fill(wanted, (byte) 200);
                assertArrayEquals(wanted, resized.pixels, how + " " + side);
            }
        }
    }

    @Test
    void picturesComeInThreeOrders() {
        byte[] bgr = {1, 2, 3, 4, 5, 6};
        assertArrayEquals(bgr, Picture.rgb(new byte[] {3, 2, 1, 6, 5, 4}, 1, 2).pixels);
        assertArrayEquals(bgr, Picture.argb(new int[] {0xff030201, 0xff060504}, 1, 2).pixels);
        for (int[] size : new int[][] {{0, 5}, {1, 1}, {2, 2}, {-1, -2}, {40_000, 1}, {20_000, 20_000}}) {
            EdgekitException error =
                    assertThrows(EdgekitException.class, () -> Picture.bgr(bgr, size[0], size[1]));
            assertEquals("EK406", error.code());
        }
    }
}
