package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.CRC32;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;

class DecodingTest {
    private static byte[] png(int width, int height) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ImageIO.write(new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB), "png", out);
        return out.toByteArray();
    }

    /** A small file whose header says another size. */
    private static byte[] claiming(int width, int height) throws IOException {
        byte[] file = png(1, 1);
        ByteBuffer bytes = ByteBuffer.wrap(file);
        bytes.putInt(16, width).putInt(20, height);
        CRC32 crc = new CRC32();
        crc.update(file, 12, 17);
        bytes.putInt(29, (int) crc.getValue());
        return file;
    }

    private static String refused(byte[] file) {
        EdgekitException error = assertThrows(EdgekitException.class, () -> Decoding.decode(file, "it"));
        assertEquals("EK406", error.code());
        return error.getMessage();
    }

    @Test
    void aPictureOfOnePixelIsRead() throws IOException {
        assertEquals(new Size(1, 1), Decoding.decode(png(1, 1), "it").size());
    }

    @Test
    void tooLargeAPictureIsRefusedByItsHeader() throws IOException {
        assertTrue(refused(claiming(20_000, 20_000)).contains("20000 x 20000"));
        assertTrue(refused(claiming(2_000_000_000, 2_000_000_000)).contains("at most"));
        assertTrue(refused(claiming(40_000, 1)).contains("40000 x 1"));
    }

    @Test
    void damagedFilesAreRefused() throws IOException {
        byte[] whole = png(40, 30);
        assertTrue(refused(new byte[0]).contains("neither PNG nor JPEG"));
        assertTrue(refused("GIF89a, or so".getBytes()).contains("neither PNG nor JPEG"));
        refused(Arrays.copyOf(whole, 20));
        refused(new byte[] {(byte) 0xff, (byte) 0xd8, (byte) 0xff, 0});
    }
}
