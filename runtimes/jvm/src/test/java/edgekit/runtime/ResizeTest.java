package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class ResizeTest {
    private static final Interpolation HOW = Interpolation.LINEAR;

    private static Size input(Resize resize, int height, int width) {
        float[] one = {1, 1, 1};
        return new Preprocess(resize, null, true, 1, one, one).inputSize(new Size(height, width));
    }

    @Test
    void theShorterSideRoundsHalfToEven() {
        Resize resize = Resize.shortSide(256, 256, HOW);
        assertEquals(new Size(256, 512), input(resize, 512, 1024));
        assertEquals(new Size(256, 512), input(resize, 512, 1025)); // 512.5
        assertEquals(new Size(256, 514), input(resize, 512, 1027)); // 513.5
    }

    /** PaddleOCR's resize_norm_img with H 48, W 320: int(48 * max(320 / 48, w / h)). */
    @Test
    void aLineIsAtLeastTheNominalWidthAndAtMostTheWidest() {
        Resize narrow = Resize.line(48, 320, 320, HOW);
        assertEquals(new Size(48, 320), input(narrow, 32, 100));
        assertEquals(new Size(48, 320), input(narrow, 32, 1000));
        Resize wide = Resize.line(48, 320, 3200, HOW);
        assertEquals(new Size(48, 1500), input(wide, 32, 1000));
        assertEquals(new Size(48, 3200), input(wide, 10, 1000));
        assertEquals(new Size(48, 150), wide.resized(new Size(32, 100))); // the rest is filled up
    }

    /** PaddleOCR's DetResizeForTest, limit_type max at 960, and min at 64 with a max_side_limit of 4000, by hand. */
    @Test
    void aPageHasSidesInMultiplesOf32() {
        Resize most = Resize.page(960, 960, 960, 0, 32, HOW);
        assertEquals(new Size(480, 960), input(most, 1000, 2000));
        assertEquals(new Size(96, 192), input(most, 100, 200)); // 3.125 and 6.25
        assertEquals(new Size(64, 128), input(most, 80, 112)); // 2.5 -> 2, 3.5 -> 4
        assertEquals(new Size(32, 960), input(most, 5, 2000));
        Resize least = Resize.page(960, 960, 4000, 64, 32, HOW);
        assertEquals(new Size(64, 96), input(least, 32, 50)); // 64 x 100; 3.125 -> 3
        assertEquals(new Size(32, 4000), input(least, 8, 8000));
    }

    @Test
    void tooThinAPictureIsRefused() {
        Resize resize = Resize.shortSide(256, 256, HOW);
        EdgekitException error = assertThrows(EdgekitException.class, () -> input(resize, 1, 20_000));
        assertEquals("EK406", error.code());
        assertEquals(new Size(256, 25_600), input(resize, 1, 100));
    }
}
