package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.List;

/**
 * Whether an answer is the expected one, with the tolerances of edgekit's `validate`. Answers are those of
 * golden/N/answers.json; labels are compared by themselves.
 */
final class Answers {
    private static final double SCORE = 1e-3;
    private static final double BOX_PIXELS = 0.5;
    private static final double CORNER_PIXELS = 2; // they are rounded to whole pixels
    private static final int SHOWN = 200; // characters of a thing that is missing
    private static final String DAMAGED = "the expected answer is damaged";

    private final String task;
    private final JsonElement wanted;

    Answers(Manifest manifest, JsonElement wanted) {
        this.task = manifest.task;
        this.wanted = wanted;
    }

    /** What differs but for labels, in words; empty when nothing does. */
    String difference(JsonObject got) {
        if (!wanted.isJsonObject()) {
            return DAMAGED;
        }
        JsonObject expected = wanted.getAsJsonObject();
        switch (task) {
            case "text_recognition":
                if (!isText(expected.get("text"))) {
                    return DAMAGED;
                }
                return close(expected.get("score"), got.get("score"), SCORE)
                        ? ""
                        : "expected the score " + expected.get("score") + ", got " + got.get("score");
            case "classification":
                return new Things("top", "probability", null, 0).difference(expected, got, true);
            case "detection":
                return new Things("detections", "score", "box", BOX_PIXELS).difference(expected, got, true);
            default:
                // Regions do not end at a threshold of what is listed.
                return new Things("regions", "score", "points", CORNER_PIXELS).difference(expected, got, false);
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

    /** A list of things, each with a score and perhaps a class and a place. */
    private static final class Things {
        final String list;
        final String score;
        final String place; // null: none
        final double pixels;

        Things(String list, String score, String place, double pixels) {
            this.list = list;
            this.score = score;
            this.place = place;
            this.pixels = pixels;
        }

        /** `isCutOff`: the list ends at a score, within whose noise a thing may be there or not. */
        String difference(JsonObject wanted, JsonObject got, boolean isCutOff) {
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
            double noise = isCutOff ? Math.min(least(expected), least(found)) + SCORE : -1;
            String lacks = missing(expected, found, noise, "lacks");
            return lacks.isEmpty() ? missing(found, expected, noise, "has unexpectedly") : lacks;
        }

        private boolean isWhole(JsonElement item) {
            return item.isJsonObject() && isNumber(item.getAsJsonObject().get(score))
                    && (list.equals("regions") || isNumber(classOf(item)) && isText(item.getAsJsonObject().get("label")));
        }

        private static JsonElement classOf(JsonElement item) {
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
            return sameClass && close(a.get(score), b.get(score), SCORE)
                    && (place == null || allClose(a.get(place), b.get(place), pixels));
        }
    }
}
