package edgekit.runtime;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Lines of text on a picture: cut out upright for a recogniser, and put in the order in which one reads. */
final class TextLines {
    private static final double SAME_ROW = 0.5; // of the lower line's height: how far the middles lie apart at most

    private TextLines() {}

    /** The rectangle in whole pixels that a quad [4][x, y] becomes: the longer of opposite sides. */
    static Size size(double[][] quad) {
        float[] sides = new float[4];
        for (int i = 0; i < 4; i++) {
            double[] next = quad[(i + 1) % 4];
            sides[i] = length((float) (quad[i][0] - next[0]), (float) (quad[i][1] - next[1]));
        }
        return new Size((int) Math.max(sides[3], sides[1]), (int) Math.max(sides[0], sides[2]));
    }

    private static float length(float x, float y) {
        return (float) Math.sqrt(x * x + y * y);
    }

    /**
     * What lies in a quad as an upright rectangle, turned a quarter to the left where its height is at least `vertical`
     * times its width, as of a line from top to bottom. PaddleOCR's get_rotate_crop_image. The quad must be a pixel high
     * and wide at least.
     */
    static Picture cutOut(Picture picture, double[][] quad, double vertical) {
        Size size = size(quad);
        Picture line = Perspective.upright(picture, quad, size.height, size.width);
        if ((double) size.height / size.width < vertical) {
            return line;
        }
        byte[] turned = new byte[line.pixels.length];
        for (int y = 0; y < size.width; y++) {
            for (int x = 0; x < size.height; x++) {
                int from = (x * size.width + size.width - 1 - y) * Picture.CHANNELS;
                System.arraycopy(
                        line.pixels, from, turned, (y * size.height + x) * Picture.CHANNELS, Picture.CHANNELS);
            }
        }
        return new Picture(size.width, size.height, turned);
    }

    /** Turned by half a circle. */
    static Picture upsideDown(Picture line) {
        byte[] turned = new byte[line.pixels.length];
        for (int from = 0; from < turned.length; from += Picture.CHANNELS) {
            int to = turned.length - Picture.CHANNELS - from;
            System.arraycopy(line.pixels, from, turned, to, Picture.CHANNELS);
        }
        return new Picture(line.height, line.width, turned);
    }

    /** One quad as it lies on the page. */
    private static final class Place {
        final double[][] quad;
        final float alongX;
        final float alongY;
        final float width;
        final float height;
        float x;
        float y;

        Place(double[][] quad) {
            this.quad = quad;
            alongX = (float) (quad[1][0] - quad[0][0] + quad[2][0] - quad[3][0]);
            alongY = (float) (quad[1][1] - quad[0][1] + quad[2][1] - quad[3][1]);
            float downX = (float) (quad[3][0] - quad[0][0] + quad[2][0] - quad[1][0]);
            float downY = (float) (quad[3][1] - quad[0][1] + quad[2][1] - quad[1][1]);
            width = length(alongX, alongY) / 2;
            height = length(downX, downY) / 2;
        }

        void turn(float cosine, float sine) {
            float middleX = (float) (quad[0][0] + quad[1][0] + quad[2][0] + quad[3][0]) / 4;
            float middleY = (float) (quad[0][1] + quad[1][1] + quad[2][1] + quad[3][1]) / 4;
            x = middleX * cosine + middleY * sine;
            y = middleY * cosine - middleX * sine;
        }
    }

    /**
     * Rows from top to bottom, each from left to right. Columns are not told apart. "Top" is meant on the page, which may
     * lie askew: by the angle of most lines.
     */
    static List<double[][]> readingOrder(List<double[][]> quads) {
        List<Place> places = new ArrayList<>();
        for (double[][] quad : quads) {
            places.add(new Place(quad));
        }
        float angle = angle(places);
        float cosine = (float) StrictMath.cos(angle);
        float sine = (float) StrictMath.sin(angle);
        for (Place place : places) {
            place.turn(cosine, sine);
        }
        places.sort((a, b) -> Float.compare(a.y, b.y));
        List<List<Place>> rows = new ArrayList<>();
        for (Place place : places) {
            Place first = rows.isEmpty() ? null : rows.get(rows.size() - 1).get(0);
            if (first == null || place.y - first.y >= SAME_ROW * Math.min(first.height, place.height)) {
                rows.add(new ArrayList<>());
            }
            rows.get(rows.size() - 1).add(place);
        }
        List<double[][]> order = new ArrayList<>();
        for (List<Place> row : rows) {
            row.sort((a, b) -> Float.compare(a.x, b.x));
            row.forEach(place -> order.add(place.quad));
        }
        return order;
    }

    /** The median over lines that are wider than high. */
    private static float angle(List<Place> places) {
        double[] angles = places.stream()
                .filter(place -> place.width >= place.height)
                .mapToDouble(place -> (float) StrictMath.atan2(place.alongY, place.alongX))
                .toArray();
        if (angles.length == 0) {
            return 0;
        }
        Arrays.sort(angles);
        int half = angles.length / 2;
        return (float) (angles.length % 2 == 1 ? angles[half] : (angles[half - 1] + angles[half]) / 2);
    }
}
