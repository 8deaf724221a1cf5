package edgekit.demo;

import java.nio.ByteBuffer;

/** Camera frames (YUV 4:2:0, full range BT.601) as upright pixels. */
final class Frames {
    /** One plane of a frame, as `android.media.Image.Plane` has it. */
    static final class Plane {
        final ByteBuffer bytes;
        final int row;
        final int pixel;

        Plane(ByteBuffer bytes, int row, int pixel) {
            this.bytes = bytes;
            this.row = row;
            this.pixel = pixel;
        }

        int at(int x, int y) {
            return bytes.get(y * row + x * pixel) & 255;
        }
    }

    private Frames() {}

    /** Degrees by which a frame must be turned clockwise to be upright on the screen. */
    static int turn(int sensor, int display, boolean facesUser) {
        return facesUser ? (sensor + display) % 360 : (sensor - display + 360) % 360;
    }

    /** Pixels 0xffRRGGBB; of a quarter turn rows become columns. `width` and `height` are the frame's. */
    static int[] upright(Plane luma, Plane blue, Plane red, int width, int height, int turn) {
        int[] out = new int[width * height];
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int light = luma.at(x, y);
                int u = blue.at(x / 2, y / 2) - 128;
                int v = red.at(x / 2, y / 2) - 128;
                int to;
                switch (turn) {
                    case 90:
                        to = x * height + height - 1 - y;
                        break;
                    case 180:
                        to = (height - 1 - y) * width + width - 1 - x;
                        break;
                    case 270:
                        to = (width - 1 - x) * height + y;
                        break;
                    default:
                        to = y * width + x;
                }
                // In 1024ths: 1.402, 0.344136, 0.714136, 1.772.
                out[to] = 0xff000000
                        | clamped(light + (1436 * v >> 10)) << 16
                        | clamped(light - (352 * u + 731 * v >> 10)) << 8
                        | clamped(light + (1815 * u >> 10));
            }
        }
        return out;
    }

    private static int clamped(int value) {
        return value < 0 ? 0 : Math.min(value, 255);
    }
}
