package edgekit.runtime;

/** A decoded colour picture: 8 bits a channel, blue green red, row after row without gaps. */
public final class Picture {
    // Larger pictures are refused, as in Python.
    static final int LONGEST_SIDE = 30_000;
    static final long MOST_PIXELS = 100_000_000;

    static final int CHANNELS = 3;

    public final int height;
    public final int width;
    final byte[] pixels;

    /** Unchecked. */
    Picture(int height, int width, byte[] pixels) {
        this.height = height;
        this.width = width;
        this.pixels = pixels;
    }

    /** Takes height * width * 3 bytes as they are: they must not be changed later. Raises EK406. */
    public static Picture bgr(byte[] pixels, int height, int width) {
        checkSize(height, width, "The picture");
        if (pixels.length != height * width * CHANNELS) {
            throw new EdgekitException(
                    "EK406", pixels.length + " bytes are no colour picture of " + height + "x" + width + ".");
        }
        return new Picture(height, width, pixels);
    }

    /** The same from red green blue; the bytes are copied. Raises EK406. */
    public static Picture rgb(byte[] pixels, int height, int width) {
        byte[] exchanged = new byte[pixels.length];
        for (int i = 0; i + 2 < pixels.length; i += CHANNELS) {
            exchanged[i] = pixels[i + 2];
            exchanged[i + 1] = pixels[i + 1];
            exchanged[i + 2] = pixels[i];
        }
        return bgr(exchanged, height, width);
    }

    /** From ints 0xAARRGGBB, as Android's Bitmap.getPixels gives them; alpha is passed over. Raises EK406. */
    public static Picture argb(int[] pixels, int height, int width) {
        checkSize(height, width, "The picture");
        if (pixels.length != height * width) {
            throw new EdgekitException(
                    "EK406", pixels.length + " pixels are no picture of " + height + "x" + width + ".");
        }
        byte[] bytes = new byte[pixels.length * CHANNELS];
        for (int i = 0; i < pixels.length; i++) {
            bytes[CHANNELS * i] = (byte) pixels[i];
            bytes[CHANNELS * i + 1] = (byte) (pixels[i] >> 8);
            bytes[CHANNELS * i + 2] = (byte) (pixels[i] >> 16);
        }
        return new Picture(height, width, bytes);
    }

    /** Raises EK406 for a picture without pixels, or with too many. */
    public static void checkSize(long height, long width, String name) {
        if (height < 1 || width < 1) {
            throw new EdgekitException("EK406", name + " has no pixels.");
        }
        if (Math.max(height, width) > LONGEST_SIDE || height * width > MOST_PIXELS) {
            throw new EdgekitException(
                    "EK406",
                    name + " is of " + width + " x " + height + " pixels: at most " + LONGEST_SIDE + " a side and "
                            + MOST_PIXELS / 1_000_000 + " million in all are read.");
        }
    }

    public Size size() {
        return new Size(height, width);
    }

    int stride() {
        return width * CHANNELS;
    }
}
