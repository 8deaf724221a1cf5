package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class TextReaderTest {
    private static double[][] box(double x, double y, double width, double height) {
        return new double[][] {{x, y}, {x + width, y}, {x + width, y + height}, {x, y + height}};
    }

    /** Pixel (x, y) is (10 y + x) in all channels. */
    private static Picture numbered(int height, int width) {
        byte[] pixels = new byte[height * width * 3];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) (i / 3 / width * 10 + i / 3 % width);
        }
        return Picture.bgr(pixels, height, width);
    }

    private static int[] firstChannel(Picture picture) {
        int[] values = new int[picture.height * picture.width];
        for (int i = 0; i < values.length; i++) {
            values[i] = picture.pixels[3 * i];
        }
        return values;
    }

    @Test
    void anUprightBoxIsCutOutAsItIs() {
        Picture cut = TextLines.cutOut(numbered(6, 8), box(2, 1, 4, 3), 1.5);
        assertEquals(new Size(3, 4), cut.size());
        assertArrayEquals(new int[] {12, 13, 14, 15, 22, 23, 24, 25, 32, 33, 34, 35}, firstChannel(cut));
        assertArrayEquals(
                new int[] {35, 34, 33, 32, 25, 24, 23, 22, 15, 14, 13, 12}, firstChannel(TextLines.upsideDown(cut)));
    }

    @Test
    void aHighBoxIsTurnedAQuarterToTheLeft() {
        Picture cut = TextLines.cutOut(numbered(6, 8), box(2, 1, 2, 3), 1.5);
        assertEquals(new Size(2, 3), cut.size());
        assertArrayEquals(new int[] {13, 23, 33, 12, 22, 32}, firstChannel(cut));
    }

    @Test
    void rowsGoFromTopToBottomAndEachFromLeftToRight() {
        double[][] last = box(0, 100, 50, 10);
        double[][] right = box(200, 12, 50, 10);
        double[][] left = box(0, 16, 50, 10);
        List<double[][]> order = TextLines.readingOrder(List.of(last, right, left));
        assertSame(left, order.get(0));
        assertSame(right, order.get(1));
        assertSame(last, order.get(2));
        assertTrue(TextLines.readingOrder(List.of()).isEmpty());
    }

    @Test
    void whatMakesNoReadingChainIsRefused() {
        byte[] manifest = ("{\"schema_version\": 1, \"name\": \"both\", \"task\": \"reading\", \"files\": [], \"chain\": {},"
                        + "\"parts\": [{\"role\": \"cls\", \"path\": \"cls\"}]}")
                .getBytes(StandardCharsets.UTF_8);
        Spoilable colours = new Spoilable();
        Source combined = name ->
                name.startsWith("cls/") ? colours.open(name.substring(4)) : new ByteArrayInputStream(manifest);
        for (Source source : List.of(combined, colours)) {
            EdgekitException error =
                    assertThrows(EdgekitException.class, () -> new TextReader(Bundle.open(source), "", 1));
            assertEquals("EK107", error.code());
            assertEquals(2, error.exitCode());
        }
        // Nor is a combined bundle one model.
        EdgekitException error = assertThrows(EdgekitException.class, () -> Model.load(Bundle.open(combined), "", 1));
        assertEquals("EK107", error.code());
    }
}
