package edgekit.runtime;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** The orientation (1 to 8) that EXIF gives a picture; 1 where there is none, or where it cannot be read. */
public final class Exif {
    private static final int ORIENTATION = 0x0112;
    private static final int ENTRY = 12; // bytes
    private static final byte[] NAME = "Exif\0\0".getBytes(StandardCharsets.US_ASCII);

    private Exif() {}

    /** Of a JPEG or PNG; 1 for anything else. */
    public static int orientation(byte[] file) {
        if (file.length > 3 && file[0] == (byte) 0xff && file[1] == (byte) 0xd8) {
            return ofJpeg(file);
        }
        boolean isPng = file.length > 8 && file[0] == (byte) 0x89 && file[1] == 'P' && file[2] == 'N' && file[3] == 'G';
        return isPng ? ofPng(file) : 1;
    }

    static int ofJpeg(byte[] file) {
        ByteBuffer bytes = ByteBuffer.wrap(file);
        int at = 2;
        while (at + 4 <= file.length && file[at] == (byte) 0xff) {
            int marker = file[at + 1] & 0xff;
            int length = bytes.getShort(at + 2) & 0xffff;
            if (marker == 0xda || length < 2) { // pixels follow
                return 1;
            }
            int start = at + 4;
            int end = Math.min(at + 2 + length, file.length);
            if (marker == 0xe1 && end - start > NAME.length
                    && ByteBuffer.wrap(file, start, NAME.length).equals(ByteBuffer.wrap(NAME))) {
                return orientation(slice(file, start + NAME.length, end));
            }
            at += 2 + length;
        }
        return 1;
    }

    static int ofPng(byte[] file) {
        ByteBuffer bytes = ByteBuffer.wrap(file);
        long at = 8;
        while (at + 8 <= file.length) {
            long length = bytes.getInt((int) at) & 0xffffffffL;
            String type = new String(file, (int) at + 4, 4, StandardCharsets.US_ASCII);
            if (type.equals("eXIf")) {
                return orientation(slice(file, (int) at + 8, (int) Math.min(at + 8 + length, file.length)));
            }
            at += ENTRY + length; // length, type and checksum take twelve, too
        }
        return 1;
    }

    private static ByteBuffer slice(byte[] file, int start, int end) {
        return ByteBuffer.wrap(file, start, end - start).slice();
    }

    private static int orientation(ByteBuffer tiff) {
        try {
            tiff.order(tiff.get(0) == 'M' ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN);
            int directory = tiff.getInt(4);
            int entries = tiff.getShort(directory) & 0xffff;
            for (int k = 0; k < entries; k++) {
                int at = directory + 2 + ENTRY * k;
                if ((tiff.getShort(at) & 0xffff) == ORIENTATION) {
                    int value = tiff.getShort(at + 8);
                    return value >= 1 && value <= 8 ? value : 1;
                }
            }
        } catch (IndexOutOfBoundsException | BufferUnderflowException error) {
            return 1; // damaged, but the pixels could be read
        }
        return 1;
    }
}
