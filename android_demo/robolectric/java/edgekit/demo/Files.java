package edgekit.demo;

import static org.robolectric.Shadows.shadowOf;

import android.content.ContentResolver;
import android.graphics.Bitmap;
import android.net.Uri;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Paths;
import java.util.function.Supplier;
import java.util.zip.CRC32;
import org.robolectric.RuntimeEnvironment;

/** Picture files, and the address by which another app gives one. */
final class Files {
    private Files() {}

    static byte[] page() throws IOException {
        return java.nio.file.Files.readAllBytes(Paths.get("target/android/pages/page.png"));
    }

    /** Upright, a red left half and a blue right one. */
    static Bitmap halves(int width, int height) {
        Bitmap bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888);
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                bitmap.setPixel(x, y, x < width / 2 ? 0xffff0000 : 0xff0000ff);
            }
        }
        return bitmap;
    }

    static byte[] encoded(Bitmap bitmap, Bitmap.CompressFormat format) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        bitmap.compress(format, 95, out);
        return out.toByteArray();
    }

    /** A JPEG with EXIF's orientation behind its first marker. */
    static byte[] turned(byte[] jpeg, int orientation) {
        byte[] exif = {
            (byte) 0xff, (byte) 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8,
            0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, (byte) orientation, 0, 0, 0, 0, 0, 0,
        };
        return ByteBuffer.allocate(jpeg.length + exif.length)
                .put(jpeg, 0, 2)
                .put(exif)
                .put(jpeg, 2, jpeg.length - 2)
                .array();
    }

    /** A PNG whose header promises so many pixels; hardly any follow. */
    static byte[] promised(int width, int height) {
        byte[] header = ByteBuffer.allocate(17)
                .put("IHDR".getBytes(StandardCharsets.US_ASCII))
                .putInt(width)
                .putInt(height)
                .put(new byte[] {8, 2, 0, 0, 0})
                .array();
        CRC32 sum = new CRC32();
        sum.update(header);
        byte[] pixels = {0x78, (byte) 0x9c, 0x63, 0, 0, 0, 1, 0, 1};
        return ByteBuffer.allocate(8 + 4 + header.length + 4 + 12 + pixels.length + 12)
                .put(new byte[] {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'})
                .putInt(13)
                .put(header)
                .putInt((int) sum.getValue())
                .putInt(pixels.length)
                .put("IDAT".getBytes(StandardCharsets.US_ASCII))
                .put(pixels)
                .putInt(0) // no checksum that holds
                .put(new byte[] {0, 0, 0, 0, 'I', 'E', 'N', 'D', (byte) 0xae, 0x42, 0x60, (byte) 0x82})
                .array();
    }

    static Uri address(byte[] file) {
        return address(() -> new ByteArrayInputStream(file));
    }

    static Uri address(Supplier<InputStream> file) {
        Uri uri = Uri.parse("content://pictures/1");
        ContentResolver resolver = RuntimeEnvironment.getApplication().getContentResolver();
        shadowOf(resolver).registerInputStreamSupplier(uri, file);
        return uri;
    }
}
