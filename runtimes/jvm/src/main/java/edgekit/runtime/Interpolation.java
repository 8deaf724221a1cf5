package edgekit.runtime;

/** How a picture is resized; OpenCV's INTER_NEAREST, INTER_LINEAR, INTER_CUBIC and INTER_AREA. */
public enum Interpolation {
    NEAREST,
    LINEAR,
    CUBIC,
    AREA
}
