package edgekit.runtime;

/** A height and a width in pixels. */
public final class Size {
    public final int height;
    public final int width;

    public Size(int height, int width) {
        this.height = height;
        this.width = width;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Size && ((Size) other).height == height && ((Size) other).width == width;
    }

    @Override
    public int hashCode() {
        return 31 * height + width;
    }

    @Override
    public String toString() {
        return height + "x" + width;
    }
}
