package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class NpyTest {
    /** Format 1.0 with a header of its own and so many bytes of zeros behind it. */
    private static byte[] file(String header, int bytes) {
        String text = "\u0093NUMPY\1\0" + (char) header.length() + "\0" + header + "\0".repeat(bytes);
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    private static String header(String type, String order, String shape) {
        return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': (" + shape + "), }   \n";
    }

    @Test
    void shapesAreRead() {
        assertArrayEquals(new long[] {1, 3, 2}, Npy.parse(file(header("<f4", "False", "1, 3, 2"), 24), "a").shape);
        assertArrayEquals(new long[] {5}, Npy.parse(file(header("<f4", "False", "5,"), 20), "a").shape);
        assertArrayEquals(new long[0], Npy.parse(file(header("<f4", "False", ""), 4), "a").shape);
        assertEquals(0, Npy.parse(file(header("<f4", "False", "3, 0"), 0), "a").values.length);
    }

    @Test
    void anythingElseIsRefused() {
        String huge = "4000000000000000000, 4000000000000000000, 0";
        for (byte[] data : new byte[][] {
            {},
            "no array of NumPy".getBytes(StandardCharsets.US_ASCII),
            file(header("<f8", "False", "2"), 16),
            file(header(">f4", "False", "2"), 8),
            file(header("<f4", "True", "2"), 8),
            file(header("<f4", "False", "2"), 7),
            file(header("<f4", "False", "2"), 12),
            file(header("<f4", "False", "1 2"), 48),
            file(header("<f4", "False", huge), 0),
            file(header("<f4", "False", "99999999999999999999999"), 0),
            file("{}", 0),
        }) {
            assertEquals("EK409", assertThrows(EdgekitException.class, () -> Npy.parse(data, "a")).code());
        }
    }
}
