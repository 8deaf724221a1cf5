package edgekit.runtime;

/**
 * How a picture becomes as large as the network's input, as edgekit/folder.py defines it. EXACT stretches to height x
 * width. SHORT keeps the aspect and sets the shorter side. LINE, for a line of text, sets the height and fills up with
 * zeros on the right, from `width` to `widest`. PAGE keeps the aspect and rounds both sides to multiples.
 */
final class Resize {
    enum Kind {
        EXACT,
        SHORT,
        LINE,
        PAGE
    }

    // The longest side that Python's definition resizes to: a very thin picture would become gigabytes.
    private static final int THINNEST = 32767;

    final Kind kind;
    final int height;
    final int width;
    final Interpolation interpolation;
    final int widest; // of a line; otherwise the width
    final int longest; // of a page, as are the next two
    final int shortest; // 0: none
    final int multiple;

    private Resize(
            Kind kind, int height, int width, Interpolation interpolation, int widest, int longest, int shortest,
            int multiple) {
        this.kind = kind;
        this.height = height;
        this.width = width;
        this.interpolation = interpolation;
        this.widest = widest;
        this.longest = longest;
        this.shortest = shortest;
        this.multiple = multiple;
    }

    static Resize exact(int height, int width, Interpolation interpolation) {
        return new Resize(Kind.EXACT, height, width, interpolation, width, 0, 0, 0);
    }

    static Resize shortSide(int height, int width, Interpolation interpolation) {
        return new Resize(Kind.SHORT, height, width, interpolation, width, 0, 0, 0);
    }

    static Resize line(int height, int width, int widest, Interpolation interpolation) {
        return new Resize(Kind.LINE, height, width, interpolation, widest, 0, 0, 0);
    }

    static Resize page(
            int height, int width, int longest, int shortest, int multiple, Interpolation interpolation) {
        return new Resize(Kind.PAGE, height, width, interpolation, width, longest, shortest, multiple);
    }

    /** The size of a picture after resizing, without the filling of a line. Raises EK406 for one that is too thin. */
    Size resized(Size picture) {
        double high = height;
        double wide = width;
        if (kind == Kind.LINE) {
            wide = Math.min(Math.ceil(height * ((double) picture.width / picture.height)), lineWidth(picture));
        } else if (kind == Kind.SHORT) {
            double ratio = (double) height / Math.min(picture.height, picture.width);
            high = Math.rint(picture.height * ratio);
            wide = Math.rint(picture.width * ratio);
        } else if (kind == Kind.PAGE) {
            double[] page = page(picture);
            high = page[0];
            wide = page[1];
        }
        if (Math.max(high, wide) > THINNEST || high * wide > Picture.MOST_PIXELS) {
            throw new EdgekitException(
                    "EK406",
                    "A picture of " + picture + " (height x width) would be resized to too large a one: it is too "
                            + "thin.");
        }
        return new Size((int) high, (int) wide);
    }

    /** The width of the network's input for a line of text: what PaddleOCR gives a batch of one line. */
    int lineWidth(Size picture) {
        double aspect = Math.max((double) width / height, (double) picture.width / picture.height);
        return (int) Math.min(Math.floor(height * aspect), widest);
    }

    /**
     * As PaddleOCR's DetResizeForTest: sides are cut to whole pixels after each change of scale; to multiples they are
     * rounded half to even, and one is the least.
     */
    private double[] page(Size picture) {
        double[] sides = {picture.height, picture.width};
        if (Math.min(sides[0], sides[1]) < shortest) {
            scale(sides, shortest / Math.min(sides[0], sides[1]));
        }
        if (Math.max(sides[0], sides[1]) > longest) {
            scale(sides, longest / Math.max(sides[0], sides[1]));
        }
        for (int i = 0; i < 2; i++) {
            sides[i] = Math.max(Math.rint(sides[i] / multiple), 1) * multiple;
        }
        return sides;
    }

    private static void scale(double[] sides, double ratio) {
        sides[0] = Math.floor(sides[0] * ratio);
        sides[1] = Math.floor(sides[1] * ratio);
    }
}
