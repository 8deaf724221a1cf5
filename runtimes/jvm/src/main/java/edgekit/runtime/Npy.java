package edgekit.runtime;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** NumPy's files of one array, formats 1.0 to 3.0: float32, little-endian, C order. */
final class Npy {
    private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
    private static final Pattern HEADER =
            Pattern.compile("\\{'descr': '<f4', 'fortran_order': False, 'shape': \\(([0-9, ]*)\\), \\} *\n?");
    private static final int MOST_SIDES = 32;

    private Npy() {}

    /** Raises EK409, naming `name`, for anything else. */
    static Tensor parse(byte[] data, String name) {
        if (data.length < 12 || !Arrays.equals(Arrays.copyOf(data, MAGIC.length), MAGIC)) {
            throw new EdgekitException("EK409", name + " is no array of NumPy.");
        }
        ByteBuffer buffer = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        boolean isLong = data[6] >= 2;
        long length = isLong ? buffer.getInt(8) & 0xffffffffL : buffer.getShort(8) & 0xffff;
        int start = isLong ? 12 : 10;
        if (length > data.length - start) {
            throw new EdgekitException("EK409", name + " is cut off.");
        }
        String header = new String(data, start, (int) length, StandardCharsets.ISO_8859_1);
        Matcher matcher = HEADER.matcher(header);
        if (!matcher.matches()) {
            throw new EdgekitException("EK409", name + " is no array of float32 in C order.");
        }
        int at = start + (int) length;
        long[] shape = shape(matcher.group(1), name);
        long count = 1;
        for (long side : shape) {
            if (side > 0 && count > data.length / side) {
                throw new EdgekitException("EK409", name + " is cut off: its shape is " + Tensor.told(shape) + ".");
            }
            count *= side;
        }
        if (data.length - at != count * Float.BYTES) {
            throw new EdgekitException(
                    "EK409", name + " has " + (data.length - at) + " bytes for the shape " + Tensor.told(shape) + ".");
        }
        float[] values = new float[(int) count];
        ByteBuffer.wrap(data, at, data.length - at).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return new Tensor(shape, values);
    }

    private static long[] shape(String text, String name) {
        String[] words = text.trim().isEmpty() ? new String[0] : text.trim().split(" *, *");
        try {
            if (words.length <= MOST_SIDES) {
                return Arrays.stream(words).mapToLong(Long::parseLong).toArray();
            }
        } catch (NumberFormatException error) {
            // a number of more than 64 bits, or a space within one
        }
        throw new EdgekitException("EK409", name + " has an impossible shape: (" + text + ").");
    }
}
