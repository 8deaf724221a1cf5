package edgekit.runtime;

import java.util.Arrays;
import java.util.StringJoiner;

/** float32 values in C order. */
public final class Tensor {
    final long[] shape;
    final float[] values;

    public Tensor(long[] shape, float[] values) {
        if (count(shape) != values.length) {
            throw new IllegalArgumentException(values.length + " values for the shape " + told(shape));
        }
        this.shape = shape;
        this.values = values;
    }

    public long[] shape() {
        return shape.clone();
    }

    /** Not a copy. */
    public float[] values() {
        return values;
    }

    private static long count(long[] shape) {
        return Arrays.stream(shape).reduce(1, Math::multiplyExact);
    }

    /** "(1, 3, 416, 416)", as Python prints a shape. */
    static String told(long[] shape) {
        StringJoiner text = new StringJoiner(", ", "(", ")");
        for (long side : shape) {
            text.add(Long.toString(side));
        }
        return text.toString();
    }
}
