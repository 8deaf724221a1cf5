package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** A classifier's best classes, best first. */
public final class Classes implements Answer {
    /** One class. */
    public static final class Found {
        public final int index;
        public final String label;
        public final float probability;

        Found(int index, String label, float probability) {
            this.index = index;
            this.label = label;
            this.probability = probability;
        }
    }

    public final List<Found> top;

    Classes(List<Found> top) {
        this.top = Collections.unmodifiableList(top);
    }

    @Override
    public JsonObject json() {
        JsonArray list = new JsonArray();
        for (Found found : top) {
            JsonObject item = new JsonObject();
            item.addProperty("class", found.index);
            item.addProperty("label", found.label);
            item.addProperty("probability", (double) found.probability);
            list.add(item);
        }
        JsonObject json = new JsonObject();
        json.add("top", list);
        return json;
    }

    /** The best of probabilities [1, classes]; of equals the lower class wins. */
    static final class Post implements Postprocess {
        private final String probabilities;
        private final int topK;

        Post(String probabilities, int topK) {
            this.probabilities = probabilities;
            this.topK = topK;
        }

        @Override
        public String task() {
            return "classification";
        }

        @Override
        public Classes answer(Map<String, Tensor> outputs, List<String> labels, Size input, Size picture) {
            float[] values = Postprocess.output(outputs, probabilities, 1, FREE).values;
            List<Integer> order = new ArrayList<>();
            for (int k = 0; k < values.length; k++) {
                order.add(k);
            }
            order.sort((a, b) -> Postprocess.byFalling(values[a], values[b]));
            List<Found> top = new ArrayList<>();
            for (int k : order.subList(0, Math.min(topK, order.size()))) {
                top.add(new Found(k, Postprocess.label(labels, k), values[k]));
            }
            return new Classes(top);
        }
    }
}
