package edgekit.demo;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;

import android.graphics.Bitmap;
import edgekit.runtime.EdgekitException;
import java.io.ByteArrayInputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;

@RunWith(RobolectricTestRunner.class)
public class PhotosTest {
    @Test
    public void eachOrientationOfExifIsTurnedUpright() {
        // In the file the left half is red. Where is it once the picture stands upright?
        String[] red = {"left", "right", "right", "left", "top", "top", "bottom", "bottom"};
        byte[] jpeg = Files.encoded(Files.halves(64, 32), Bitmap.CompressFormat.JPEG);
        for (int k = 0; k < red.length; k++) {
            Bitmap upright = Photos.bitmap(Files.turned(jpeg, k + 1), "it");
            int width = upright.getWidth();
            int height = upright.getHeight();
            assertEquals(k < 4 ? 64 : 32, width);
            int x = red[k].equals("left") ? 5 : red[k].equals("right") ? width - 6 : width / 2;
            int y = red[k].equals("top") ? 5 : red[k].equals("bottom") ? height - 6 : height / 2;
            int pixel = upright.getPixel(x, y);
            assertEquals("orientation " + (k + 1), true, (pixel >> 16 & 255) > 200 && (pixel & 255) < 60);
        }
    }

    @Test
    public void whatMirrorsIsNotConfusedWithATurn() {
        Bitmap bitmap = Files.halves(64, 32);
        for (int y = 0; y < 16; y++) {
            bitmap.setPixel(0, y, 0xff00ff00); // a green stroke, upper left
        }
        byte[] png = Files.encoded(bitmap, Bitmap.CompressFormat.PNG);
        int[][] corners = {{0, 0}, {63, 0}, {63, 31}, {0, 31}, {0, 0}, {31, 0}, {31, 63}, {0, 63}};
        for (int k = 0; k < corners.length; k++) {
            Bitmap upright = Photos.bitmap(turnedPng(png, k + 1), "it");
            assertEquals("orientation " + (k + 1), 0xff00ff00, upright.getPixel(corners[k][0], corners[k][1]));
        }
    }

    /** An eXIf chunk behind the header. */
    private static byte[] turnedPng(byte[] png, int orientation) {
        byte[] chunk = ByteBuffer.allocate(38)
                .putInt(26)
                .put("eXIf".getBytes(StandardCharsets.US_ASCII))
                .put(new byte[] {
                    'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, (byte) orientation, 0, 0, 0, 0, 0, 0
                })
                .array();
        java.util.zip.CRC32 sum = new java.util.zip.CRC32();
        sum.update(chunk, 4, 30);
        ByteBuffer.wrap(chunk).putInt(34, (int) sum.getValue());
        return ByteBuffer.allocate(png.length + chunk.length)
                .put(png, 0, 33)
                .put(chunk)
                .put(png, 33, png.length - 33)
                .array();
    }

    @Test
    public void transparencyIsOverWhite() {
        Bitmap bitmap = Bitmap.createBitmap(2, 1, Bitmap.Config.ARGB_8888);
        bitmap.setPixel(0, 0, 0x00000000);
        bitmap.setPixel(1, 0, 0xff102030);
        Bitmap whole = Photos.bitmap(Files.encoded(bitmap, Bitmap.CompressFormat.PNG), "it");
        edgekit.runtime.Picture wanted = edgekit.runtime.Picture.argb(new int[] {0xffffff, 0x102030}, 1, 2);
        assertEquals(wanted.size(), Photos.picture(whole).size());
        int[] pixels = {0x00000000, 0xff102030};
        assertEquals(0xffffff, Photos.overWhite(pixels, true)[0] & 0xffffff);
        assertEquals(0x102030, pixels[1] & 0xffffff);
    }

    @Test
    public void tooManyPixelsAreRefusedByTheHeader() {
        EdgekitException error =
                assertThrows(EdgekitException.class, () -> Photos.bitmap(Files.promised(20_000, 20_000), "it"));
        assertEquals("EK406", error.code());
        error = assertThrows(EdgekitException.class, () -> Photos.bitmap(new byte[0], "it"));
        assertEquals("EK406", error.code());
    }

    @Test
    public void aNbFileSaysWhoWroteIt() throws Exception {
        byte[] head = "\2\0v2.13-rc\0\0\0\0".getBytes(StandardCharsets.ISO_8859_1);
        assertEquals("v2.13-rc", LiteNetwork.version(head));
        for (byte[] file : new byte[][] {{}, {2}, {2, 0, 'x', 0}, new byte[30]}) {
            assertThrows(EdgekitException.class, () -> LiteNetwork.version(file));
        }
        byte[] version = "\0v2.13-rc\0".getBytes(StandardCharsets.ISO_8859_1);
        for (String library : new String[] {"\0\0v2.13-rc\0", "x\0v2.1\0v2.13-rc\0y"}) {
            assertEquals(true, contains(library, version));
        }
        for (String library : new String[] {"\0v2.13-rc1\0", "\0v2.13-rc", "", "xv2.13-rc\0"}) {
            assertEquals(library, false, contains(library, version));
        }
    }

    private static boolean contains(String library, byte[] text) throws java.io.IOException {
        return LiteNetwork.contains(new ByteArrayInputStream(library.getBytes(StandardCharsets.ISO_8859_1)), text);
    }
}
