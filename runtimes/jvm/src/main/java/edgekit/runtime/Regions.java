package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** A text detector's lines of text, in the order in which their borders are found. */
public final class Regions implements Answer {
    /** One region: its corners x y in pixels of the picture, clockwise from the upper left; the map's mean inside. */
    public static final class Found {
        public final float score;
        final double[][] corners; // [4][x, y]

        Found(float score, double[][] corners) {
            this.score = score;
            this.corners = corners;
        }

        public double[][] corners() {
            double[][] copy = new double[corners.length][];
            for (int i = 0; i < corners.length; i++) {
                copy[i] = corners[i].clone();
            }
            return copy;
        }
    }

    public final List<Found> regions;

    Regions(List<Found> regions) {
        this.regions = Collections.unmodifiableList(regions);
    }

    @Override
    public JsonObject json() {
        JsonArray list = new JsonArray();
        for (Found found : regions) {
            JsonArray points = new JsonArray();
            for (double[] corner : found.corners) {
                JsonArray point = new JsonArray();
                point.add(corner[0]);
                point.add(corner[1]);
                points.add(point);
            }
            JsonObject item = new JsonObject();
            item.addProperty("score", (double) found.score);
            item.add("points", points);
            list.add(item);
        }
        JsonObject json = new JsonObject();
        json.add("regions", list);
        return json;
    }

    /** Regions out of DB's map of probabilities, as PaddleOCR's DBPostProcess with quads finds them. */
    static final class Post implements Postprocess {
        private static final int GROWN = 2; // pixels by which a region must be larger after it has been grown
        private static final int LONGEST_SIDE = 30_000; // of a map

        private final String map;
        private final float threshold;
        final double boxThreshold; // the least mean of a region
        private final double unclipRatio;
        private final int maxCandidates;
        private final int minSize;

        Post(String map, float threshold, double boxThreshold, double unclipRatio, int maxCandidates, int minSize) {
            this.map = map;
            this.threshold = threshold;
            this.boxThreshold = boxThreshold;
            this.unclipRatio = unclipRatio;
            this.maxCandidates = maxCandidates;
            this.minSize = minSize;
        }

        @Override
        public String task() {
            return "text_detection";
        }

        @Override
        public Regions answer(Map<String, Tensor> outputs, List<String> labels, Size input, Size picture) {
            Tensor tensor = Postprocess.output(outputs, map, 1, 1, FREE, FREE);
            if (tensor.values.length == 0 || Math.max(tensor.shape[2], tensor.shape[3]) > LONGEST_SIDE) {
                throw new EdgekitException(
                        "EK409", "Output \"" + map + "\" has the shape " + Tensor.told(tensor.shape) + ".");
            }
            return regions(tensor.values, new Size((int) tensor.shape[2], (int) tensor.shape[3]), picture);
        }

        private Regions regions(float[] values, Size size, Size picture) {
            boolean[] mask = new boolean[values.length];
            for (int i = 0; i < mask.length; i++) {
                mask[i] = values[i] > threshold;
            }
            double across = (double) picture.width / size.width;
            double down = (double) picture.height / size.height;
            List<Found> found = new ArrayList<>();
            List<List<Pixel>> borders = Borders.of(mask, size);
            for (List<Pixel> border : borders.subList(0, Math.min(maxCandidates, borders.size()))) {
                Rectangle core = Rectangle.around(border);
                if (core.shorterSide < minSize) {
                    continue;
                }
                double score = Stencil.meanInside(values, size, core.corners);
                if (score < boxThreshold) {
                    continue;
                }
                List<Pixel> outline = Outline.grown(core.corners, unclipRatio);
                if (outline.isEmpty()) {
                    continue;
                }
                Rectangle whole = Rectangle.around(outline);
                if (whole.shorterSide < minSize + GROWN) {
                    continue;
                }
                double[][] corners = new double[4][];
                for (int i = 0; i < 4; i++) {
                    corners[i] = new double[] {
                        scaled(whole.corners[i][0], across, picture.width),
                        scaled(whole.corners[i][1], down, picture.height)
                    };
                }
                found.add(new Found((float) score, corners));
            }
            return new Regions(found);
        }

        private static double scaled(float corner, double by, int most) {
            return Math.max(0.0, Math.min(most, Math.rint(corner * by)));
        }
    }
}
