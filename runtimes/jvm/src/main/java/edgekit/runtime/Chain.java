package edgekit.runtime;

/** What holds the networks of a reading chain together; the defaults are PP-OCR's (edgekit/apps/bundles.py). */
final class Chain {
    static final Chain DEFAULT = new Chain(1.5, 0.9, 0.5, 4);

    final double vertical; // from this height / width on a region is a line from top to bottom
    final double turned; // above this probability a line stands upside down
    final double least; // a text with less confidence is no text
    final int smallest; // pixels: a region lower or narrower than this is none

    Chain(double vertical, double turned, double least, int smallest) {
        this.vertical = vertical;
        this.turned = turned;
        this.least = least;
        this.smallest = smallest;
    }
}
