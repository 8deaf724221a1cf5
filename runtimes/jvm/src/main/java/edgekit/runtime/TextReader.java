package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Reads the text on pictures with a combined bundle: regions of text, each cut out upright, turned where it stands upside
 * down, and read. The chain of PP-OCR's inference, as edgekit/apps/reading.py has it. Not for several threads at once.
 */
public final class TextReader implements AutoCloseable {
    private static final String UPSIDE_DOWN = "180"; // the classifier's label

    /** A line of text: its corners x y in pixels of the picture, and whether it was read upside down. */
    public static final class Line {
        public final String text;
        public final float score;
        public final boolean turned;
        private final double[][] corners;

        Line(String text, float score, double[][] corners, boolean turned) {
            this.text = text;
            this.score = score;
            this.corners = corners;
            this.turned = turned;
        }

        public double[][] corners() {
            return new Regions.Found(score, corners).corners();
        }

        JsonObject json() {
            JsonArray points = new JsonArray();
            for (double[] corner : corners) {
                JsonArray point = new JsonArray();
                point.add(corner[0]);
                point.add(corner[1]);
                points.add(point);
            }
            JsonObject json = new JsonObject();
            json.addProperty("text", text);
            json.addProperty("score", (double) score);
            json.add("points", points);
            json.addProperty("turned", turned);
            return json;
        }
    }

    private final Chain chain;
    private final Map<String, Model> models = new TreeMap<>(); // by role: det, rec and perhaps cls

    /**
     * Loads the parts of a combined bundle. Raises EK107 when they are no reading chain, and what `Model.load` does.
     */
    public TextReader(Bundle bundle, String wanted, int threads) {
        chain = bundle.manifest().chain;
        try {
            for (Bundle part : bundle.parts()) {
                String role = role(part.manifest());
                if (models.containsKey(role)) {
                    throw new EdgekitException("EK107", bundle.manifest().name + " has two parts for " + role + ".");
                }
                models.put(role, Model.load(part, wanted, threads));
            }
            if (chain == null || !models.containsKey("det") || !models.containsKey("rec")) {
                throw new EdgekitException(
                        "EK107", "Reading text needs a combined bundle of a text detector and a recogniser.");
            }
        } catch (EdgekitException error) {
            close();
            throw error;
        }
    }

    private static String role(Manifest manifest) {
        switch (manifest.task) {
            case "text_detection":
                return "det";
            case "text_recognition":
                return "rec";
            case "classification":
                if (manifest.labels.size() == 2 && manifest.labels.get(1).equals(UPSIDE_DOWN)) {
                    return "cls";
                }
                break;
            default:
        }
        throw new EdgekitException("EK107", manifest.name + " (" + manifest.task + ") has no part in reading text.");
    }

    /** The roles of the models that run, by part. */
    public JsonObject roles() {
        JsonObject json = new JsonObject();
        models.forEach((part, model) -> json.addProperty(part, model.role()));
        return json;
    }

    /** The lines on a picture in reading order, without the too small and unsure ones. Raises what `Model.answer` does. */
    public List<Line> read(Picture picture) {
        return read(picture, new Times());
    }

    /** The same, with the times of finding lines, telling their direction, and reading them. */
    public List<Line> read(Picture picture, Times times) {
        List<double[][]> quads = new ArrayList<>();
        Answer regions = times.of("finding lines", () -> models.get("det").answer(picture));
        for (Regions.Found found : ((Regions) regions).regions) {
            Size size = TextLines.size(found.corners);
            if (Math.min(size.height, size.width) >= Math.max(1, chain.smallest)) {
                quads.add(found.corners);
            }
        }
        List<Line> lines = new ArrayList<>();
        for (double[][] quad : TextLines.readingOrder(quads)) {
            Line line = line(picture, quad, times);
            if (!line.text.isEmpty() && line.score >= chain.least) {
                lines.add(line);
            }
        }
        return Collections.unmodifiableList(lines);
    }

    private Line line(Picture picture, double[][] quad, Times times) {
        Picture seen = TextLines.cutOut(picture, quad, chain.vertical);
        boolean turned = models.containsKey("cls")
                && times.of("their direction", () -> upsideDown(seen)) > chain.turned;
        Picture upright = turned ? TextLines.upsideDown(seen) : seen;
        Reading found = (Reading) times.of("reading", () -> models.get("rec").answer(upright));
        return new Line(found.text, found.score, quad, turned);
    }

    private float upsideDown(Picture line) {
        for (Classes.Found found : ((Classes) models.get("cls").answer(line)).top) {
            if (found.label.equals(UPSIDE_DOWN)) {
                return found.probability;
            }
        }
        return 0; // of a bundle that keeps the best class only
    }

    @Override
    public void close() {
        models.values().forEach(Model::close);
    }
}
