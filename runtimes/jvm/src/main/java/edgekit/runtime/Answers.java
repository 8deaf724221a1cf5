package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.List;

/**
 * Whether an answer is the expected one. Answers are those of golden/N/answers.json; labels are compared by themselves.
 */
final class Answers {
    /** How far two answers may lie apart; places in pixels of the picture, or in shares of the thing's longer side. */
    static final class Closeness {
        /** As edgekit's `validate` compares them. */
        static final Closeness SAME = new Closeness(1e-3, 0, 0);

        /** From raw outputs of an int8 network that rounded differently. */
        static final Closeness ALIKE = new Closeness(0.1, 0.05, 0.5);

        final double score;
        final double share;
        final double certain; // what scores less may be there or not

        private Closeness(double score, double share, double certain) {
            this.score = score;
            this.share = share;
            this.certain = certain;
        }
    }

    private static final double BOX_PIXELS = 0.5;
    private static final double CORNER_PIXELS = 2; // they are rounded to whole pixels
    private static final int SHOWN = 200; // characters of a thing that is missing
    private static final String DAMAGED = "the expected answer is damaged";

    private final String task;
    private final Postprocess postprocess;
    private final JsonElement wanted;

    Answers(Postprocess postprocess, JsonElement wanted) {
        this.task = postprocess.task();
        this.postprocess = postprocess;
        this.wanted = wanted;
    }

    /** What differs but for labels, in words; empty when nothing does. */
    String difference(JsonObject got, Closeness closeness) {
        if (!wanted.isJsonObject()) {
            return DAMAGED;
        }
        JsonObject expected = wanted.getAsJsonObject();
        switch (task) {
            case "text_recognition":
                if (!isText(expected.get("text"))) {
                    return DAMAGED;
                }
                return close(expected.get("score"), got.get("score"), closeness.score)
                        ? ""
                        : "expected the score " + expected.get("score") + ", got " + got.get("score");
            case "classification":
                return new Things("top", "probability", null, 0, closeness).difference(expected, got);
            case "detection":
                return new Things("detections", "score", "box", BOX_PIXELS, closeness).difference(expected, got);
            default:
                return new Things("regions", "score", "points", CORNER_PIXELS, closeness).difference(expected, got);
        }
    }

    /** What differs in labels between answers that otherwise agree. */
    String differenceOfLabels(JsonObject got) {
        JsonObject expected = wanted.getAsJsonObject();
        if (task.equals("text_recognition")) {
            return expected.get("text").equals(got.get("text"))
                    ? ""
                    : "expected the text " + expected.get("text") + ", got " + got.get("text");
        }
        String list = task.equals("classification") ? "top" : "detections";
        if (task.equals("text_detection")) {
            return "";
        }
        for (JsonElement item : expected.getAsJsonArray(list)) {
            for (JsonElement other : got.getAsJsonArray(list)) {
                JsonObject a = item.getAsJsonObject();
                JsonObject b = other.getAsJsonObject();
                if (a.get("class").equals(b.get("class")) && !b.get("label").equals(a.get("label"))) {
                    return "expected the label " + a.get("label") + " for class " + a.get("class") + ", got "
                            + b.get("label");
                }
            }
        }
        return "";
    }

    private static boolean isText(JsonElement element) {
        return element != null && element.isJsonPrimitive() && element.getAsJsonPrimitive().isString();
    }

    private static boolean isNumber(JsonElement element) {
        return element != null && element.isJsonPrimitive() && element.getAsJsonPrimitive().isNumber();
    }

    private static boolean close(JsonElement a, JsonElement b, double tolerance) {
        return isNumber(a) && isNumber(b) && Math.abs(a.getAsDouble() - b.getAsDouble()) <= tolerance;
    }

    /** Numbers of two (nested) lists of the same form. */
    private static boolean allClose(JsonElement a, JsonElement b, double tolerance) {
        if (a == null || b == null || !a.isJsonArray() || !b.isJsonArray()) {
            return close(a, b, tolerance);
        }
        JsonArray first = a.getAsJsonArray();
        JsonArray second = b.getAsJsonArray();
        boolean same = first.size() == second.size();
        for (int i = 0; same && i < first.size(); i++) {
            same = allClose(first.get(i), second.get(i), tolerance);
        }
        return same;
    }

    /** The longer side of a box [x y x y] or of points [[x y] ...]; 0 of what is neither. */
    private static double longerSide(JsonElement place) {
        List<Double> numbers = new ArrayList<>();
        collect(place, numbers);
        double longest = 0;
        for (int i = 0; i < numbers.size(); i++) {
            for (int j = i % 2; j < i; j += 2) {
                longest = Math.max(longest, Math.abs(numbers.get(i) - numbers.get(j)));
            }
        }
        return longest;
    }

    private static void collect(JsonElement place, List<Double> numbers) {
        if (place.isJsonArray()) {
            place.getAsJsonArray().forEach(item -> collect(item, numbers));
        } else if (isNumber(place)) {
            numbers.add(place.getAsDouble());
        }
    }

    /** A list of things, each with a score and perhaps a class and a place. */
    private final class Things {
        final String list;
        final String score;
        final String place; // null: none
        final double pixels;
        final Closeness closeness;

        Things(String list, String score, String place, double pixels, Closeness closeness) {
            this.list = list;
            this.score = score;
            this.place = place;
            this.pixels = pixels;
            this.closeness = closeness;
        }

        String difference(JsonObject wanted, JsonObject got) {
            if (wanted.get(list) == null || !wanted.get(list).isJsonArray()) {
                return DAMAGED;
            }
            List<JsonElement> expected = wanted.getAsJsonArray(list).asList();
            List<JsonElement> found = got.getAsJsonArray(list).asList();
            for (JsonElement item : expected) {
                if (!isWhole(item)) {
                    return DAMAGED;
                }
            }
            if (place == null) { // classes
                if (expected.size() != found.size()) {
                    return "expected " + expected.size() + " classes, got " + found.size();
                }
                // The best class must be the best; further down equals may change places.
                if (!expected.isEmpty() && !classOf(expected.get(0)).equals(classOf(found.get(0)))) {
                    return "expected class " + classOf(expected.get(0)) + ", got " + classOf(found.get(0));
                }
            }
            // What lies within the noise of where a list ends may be there or not.
            double noise = Math.max(end(expected, found) + closeness.score, closeness.certain);
            String lacks = missing(expected, found, noise, "lacks");
            return lacks.isEmpty() ? missing(found, expected, noise, "has unexpectedly") : lacks;
        }

        /** The score at which a list ends: a threshold, or that of the last thing where there is a number of things. */
        private double end(List<JsonElement> expected, List<JsonElement> found) {
            if (postprocess instanceof Regions.Post) {
                return ((Regions.Post) postprocess).boxThreshold;
            }
            if (postprocess instanceof Detections.Post) {
                Detections.Post post = (Detections.Post) postprocess;
                if (post.keepTopK < 0 || Math.max(expected.size(), found.size()) < post.keepTopK) {
                    return post.scoreThreshold;
                }
            }
            return Math.min(least(expected), least(found));
        }

        private boolean isWhole(JsonElement item) {
            return item.isJsonObject()
                    && isNumber(item.getAsJsonObject().get(score))
                    && (list.equals("regions")
                            || isNumber(classOf(item)) && isText(item.getAsJsonObject().get("label")));
        }

        private JsonElement classOf(JsonElement item) {
            return item.getAsJsonObject().get("class");
        }

        private double scoreOf(JsonElement item) {
            return item.getAsJsonObject().get(score).getAsDouble();
        }

        private double least(List<JsonElement> items) {
            return items.stream().mapToDouble(this::scoreOf).reduce(1, Math::min);
        }

        private String missing(List<JsonElement> from, List<JsonElement> in, double noise, String verb) {
            for (JsonElement item : from) {
                if (scoreOf(item) > noise && in.stream().noneMatch(other -> same(item, other))) {
                    String text = item.toString();
                    return verb + " " + text.substring(0, Math.min(SHOWN, text.length()));
                }
            }
            return "";
        }

        private boolean same(JsonElement first, JsonElement second) {
            JsonObject a = first.getAsJsonObject();
            JsonObject b = second.getAsJsonObject();
            boolean sameClass = list.equals("regions") || close(a.get("class"), b.get("class"), 0);
            if (!sameClass || !close(a.get(score), b.get(score), closeness.score)) {
                return false;
            }
            if (place == null) {
                return true;
            }
            JsonElement where = a.get(place);
            return where != null
                    && allClose(where, b.get(place), Math.max(pixels, closeness.share * longerSide(where)));
        }
    }
}
