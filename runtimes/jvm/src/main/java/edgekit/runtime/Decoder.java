package edgekit.runtime;

/** Makes pixels of a picture file: {@link Decoding} on a desktop, BitmapFactory in an Android app. */
@FunctionalInterface
public interface Decoder {
    /** Raises EK406, with `name`, for what is no picture, or too large a one. */
    Picture decode(byte[] file, String name);
}
