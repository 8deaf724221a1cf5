package edgekit.runtime;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Iterator;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;

/**
 * PNG and JPEG by javax.imageio, which an Android device does not have: nothing but the command loads this class. The
 * pixels are those of edgekit's Python side: EXIF's orientation applied, transparency over white, of 16 bits the upper 8.
 */
final class Decoding {
    private static final int BYTE = 0xff;

    private Decoding() {}

    /** See {@link Decoder}. */
    static Picture decode(byte[] file, String name) {
        boolean isPng = file.length > 8 && file[0] == (byte) 0x89 && file[1] == 'P' && file[2] == 'N' && file[3] == 'G';
        boolean isJpeg = file.length > 3 && file[0] == (byte) 0xff && file[1] == (byte) 0xd8;
        if (!isPng && !isJpeg) {
            throw unreadable(name, "it is neither PNG nor JPEG", null);
        }
        try {
            Picture picture = pixels(file, name);
            return upright(picture, Exif.orientation(file));
        } catch (IOException | RuntimeException error) { // ImageIO throws many kinds for damaged files
            if (error instanceof EdgekitException) {
                throw (EdgekitException) error;
            }
            throw unreadable(name, String.valueOf(error.getMessage()), error);
        } catch (OutOfMemoryError error) {
            throw unreadable(name, "memory does not suffice for it", error);
        }
    }

    private static EdgekitException unreadable(String name, String why, Throwable cause) {
        return new EdgekitException("EK406", name + " is not a picture that can be read: " + why + ".", cause);
    }

    private static Picture pixels(byte[] file, String name) throws IOException {
        try (ImageInputStream stream = ImageIO.createImageInputStream(new ByteArrayInputStream(file))) {
            Iterator<ImageReader> readers = ImageIO.getImageReaders(stream);
            if (!readers.hasNext()) {
                throw new IOException("it has no header");
            }
            ImageReader reader = readers.next();
            try {
                reader.setInput(stream);
                // By the header alone, before memory is taken for the pixels.
                Picture.checkSize(reader.getHeight(0), reader.getWidth(0), name);
                return colours(reader.read(0));
            } finally {
                reader.dispose();
            }
        }
    }

    /** The samples as they are in the file: BufferedImage.getRGB would convert grey by its gamma. */
    private static Picture colours(BufferedImage image) throws IOException {
        Raster raster = image.getRaster();
        int height = image.getHeight();
        int width = image.getWidth();
        int bands = raster.getNumBands();
        int bits = image.getColorModel().getComponentSize(0);
        IndexColorModel palette =
                image.getColorModel() instanceof IndexColorModel ? (IndexColorModel) image.getColorModel() : null;
        boolean hasAlpha = image.getColorModel().hasAlpha();
        if (palette == null && bands != 1 && bands != 3 && !hasAlpha) {
            throw new IOException("it is in CMYK");
        }
        byte[] pixels = new byte[height * width * Picture.CHANNELS];
        int[] row = null;
        for (int y = 0; y < height; y++) {
            row = raster.getPixels(0, y, width, 1, row);
            for (int x = 0; x < width; x++) {
                int out = (y * width + x) * Picture.CHANNELS;
                int alpha;
                for (int c = 0; c < Picture.CHANNELS; c++) {
                    int sample = palette != null
                            ? palette.getRGB(row[x]) >> 8 * c & BYTE
                            : eight(row[x * bands + (bands < 3 ? 0 : 2 - c)], bits);
                    pixels[out + c] = (byte) sample;
                }
                if (hasAlpha) {
                    alpha = palette != null ? palette.getAlpha(row[x]) : row[x * bands + bands - 1];
                    float share = (float) alpha / (bits == 16 ? 0xffff : BYTE);
                    for (int c = 0; c < Picture.CHANNELS; c++) {
                        pixels[out + c] = (byte) Math.rint((pixels[out + c] & BYTE) * share + 255F * (1F - share));
                    }
                }
            }
        }
        return new Picture(height, width, pixels);
    }

    private static int eight(int sample, int bits) {
        return bits == 16 ? sample >> 8 : sample * BYTE / ((1 << bits) - 1);
    }

    /** EXIF's orientation says where the first row and column of the file are; 5 to 8 have sides exchanged. */
    private static Picture upright(Picture in, int orientation) {
        if (orientation == 1) {
            return in;
        }
        boolean exchanged = orientation >= 5;
        boolean fromBelow = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
        boolean fromRight = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
        int height = exchanged ? in.width : in.height;
        int width = exchanged ? in.height : in.width;
        byte[] out = new byte[in.pixels.length];
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int v = fromBelow ? height - 1 - y : y;
                int u = fromRight ? width - 1 - x : x;
                int from = exchanged ? u * in.width + v : v * in.width + u;
                System.arraycopy(
                        in.pixels, from * Picture.CHANNELS, out, (y * width + x) * Picture.CHANNELS, Picture.CHANNELS);
            }
        }
        return new Picture(height, width, out);
    }
}
