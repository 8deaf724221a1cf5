package edgekit.runtime;

/** A point with whole coordinates. */
final class Pixel {
    final int x;
    final int y;

    Pixel(int x, int y) {
        this.x = x;
        this.y = y;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Pixel && ((Pixel) other).x == x && ((Pixel) other).y == y;
    }

    @Override
    public int hashCode() {
        return 31 * x + y;
    }

    @Override
    public String toString() {
        return "(" + x + ", " + y + ")";
    }
}
