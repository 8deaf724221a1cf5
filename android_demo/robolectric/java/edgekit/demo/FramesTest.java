package edgekit.demo;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import java.nio.ByteBuffer;
import org.junit.Test;

public class FramesTest {
    /** 4 x 2 pixels of grey 0 10 20 30 / 40 50 60 70, in rows of 6 bytes. */
    private static Frames.Plane luma() {
        byte[] bytes = new byte[12];
        for (int y = 0; y < 2; y++) {
            for (int x = 0; x < 4; x++) {
                bytes[6 * y + x] = (byte) (40 * y + 10 * x);
            }
        }
        return new Frames.Plane(ByteBuffer.wrap(bytes), 6, 1);
    }

    /** Colours of 2 x 1 blocks, two bytes apart as cameras interleave them. */
    private static Frames.Plane colours(int left, int right) {
        return new Frames.Plane(ByteBuffer.wrap(new byte[] {(byte) left, 0, (byte) right}), 4, 2);
    }

    private static int[] greys(int turn) {
        int[] pixels = Frames.upright(luma(), colours(128, 128), colours(128, 128), 4, 2, turn);
        for (int k = 0; k < pixels.length; k++) {
            assertEquals(0xff000000 | (pixels[k] & 255) * 0x010101, pixels[k]);
            pixels[k] &= 255;
        }
        return pixels;
    }

    @Test
    public void framesAreTurnedUpright() {
        assertArrayEquals(new int[] {0, 10, 20, 30, 40, 50, 60, 70}, greys(0));
        assertArrayEquals(new int[] {40, 0, 50, 10, 60, 20, 70, 30}, greys(90)); // 2 wide, 4 high
        assertArrayEquals(new int[] {70, 60, 50, 40, 30, 20, 10, 0}, greys(180));
        assertArrayEquals(new int[] {30, 70, 20, 60, 10, 50, 0, 40}, greys(270));
    }

    @Test
    public void coloursAreThoseOfJpeg() {
        // Red and blue have these in full-range BT.601: Y 76 U 84 V 255, and Y 29 U 255 V 107.
        byte[] light = {76, 76, 29, 29, 76, 76, 29, 29};
        int[] pixels = Frames.upright(
                new Frames.Plane(ByteBuffer.wrap(light), 4, 1), colours(84, 255), colours(255, 107), 4, 2, 0);
        assertNear(0xff0000, pixels[0]);
        assertNear(0x0000ff, pixels[3]);
    }

    private static void assertNear(int wanted, int pixel) {
        for (int shift = 0; shift <= 16; shift += 8) {
            assertEquals(wanted >> shift & 255, pixel >> shift & 255, 3);
        }
    }

    @Test
    public void theTurnIsTheSensorsAgainstTheDisplays() {
        assertEquals(90, Frames.turn(90, 0, false)); // a phone's back camera, held upright
        assertEquals(0, Frames.turn(90, 90, false));
        assertEquals(180, Frames.turn(90, 270, false));
        assertEquals(270, Frames.turn(270, 0, true));
        assertEquals(0, Frames.turn(270, 90, true));
    }
}
