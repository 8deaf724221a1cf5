package edgekit.demo;

import android.graphics.Bitmap;
import android.graphics.BitmapFactory;
import android.graphics.Matrix;
import edgekit.runtime.EdgekitException;
import edgekit.runtime.Exif;
import edgekit.runtime.Picture;

/** Picture files by Android's own decoder. */
final class Photos {
    // EXIF's orientations 1 to 8 as the matrix (a b c d) by which a file's pixels become an upright picture's.
    private static final float[][] UPRIGHT = {
        {1, 0, 0, 1}, {-1, 0, 0, 1}, {-1, 0, 0, -1}, {1, 0, 0, -1},
        {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, -1, 0}, {0, 1, -1, 0},
    };

    private Photos() {}

    /** An upright picture. Raises EdgekitException EK406, with `name`, for what is no picture or too large a one. */
    static Bitmap bitmap(byte[] file, String name) {
        BitmapFactory.Options options = new BitmapFactory.Options();
        options.inJustDecodeBounds = true;
        BitmapFactory.decodeByteArray(file, 0, file.length, options);
        if (options.outWidth <= 0 || options.outHeight <= 0) {
            throw unreadable(name);
        }
        // By the header alone, before memory is taken for the pixels.
        Picture.checkSize(options.outHeight, options.outWidth, name);
        options.inJustDecodeBounds = false;
        options.inPreferredConfig = Bitmap.Config.ARGB_8888;
        Bitmap bitmap = BitmapFactory.decodeByteArray(file, 0, file.length, options);
        if (bitmap == null) {
            throw unreadable(name);
        }
        return upright(bitmap, Exif.orientation(file));
    }

    /** What `edgekit.runtime.Decoder` asks for. */
    static Picture decode(byte[] file, String name) {
        return picture(bitmap(file, name));
    }

    static Picture picture(Bitmap bitmap) {
        int[] pixels = new int[bitmap.getWidth() * bitmap.getHeight()];
        bitmap.getPixels(pixels, 0, bitmap.getWidth(), 0, 0, bitmap.getWidth(), bitmap.getHeight());
        return Picture.argb(overWhite(pixels, bitmap.hasAlpha()), bitmap.getHeight(), bitmap.getWidth());
    }

    /** Transparency over white, as in edgekit's Python. */
    static int[] overWhite(int[] pixels, boolean hasAlpha) {
        if (!hasAlpha) {
            return pixels;
        }
        for (int i = 0; i < pixels.length; i++) {
            int alpha = pixels[i] >>> 24;
            if (alpha == 255) {
                continue;
            }
            float share = alpha / 255F;
            int mixed = 0;
            for (int shift = 0; shift <= 16; shift += 8) {
                mixed |= (int) Math.rint((pixels[i] >> shift & 255) * share + 255F * (1F - share)) << shift;
            }
            pixels[i] = mixed;
        }
        return pixels;
    }

    private static Bitmap upright(Bitmap bitmap, int orientation) {
        if (orientation == 1) {
            return bitmap;
        }
        float[] to = UPRIGHT[orientation - 1];
        Matrix matrix = new Matrix();
        matrix.setValues(new float[] {to[0], to[1], 0, to[2], to[3], 0, 0, 0, 1});
        return Bitmap.createBitmap(bitmap, 0, 0, bitmap.getWidth(), bitmap.getHeight(), matrix, false);
    }

    private static EdgekitException unreadable(String name) {
        return new EdgekitException("EK406", name + " is not a picture that can be read.");
    }
}
