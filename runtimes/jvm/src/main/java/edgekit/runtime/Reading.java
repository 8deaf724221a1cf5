package edgekit.runtime;

import com.google.gson.JsonObject;
import java.util.List;
import java.util.Map;

/** The text of a line; `score` 0..1 is the mean probability of its characters, 0 for an empty text. */
public final class Reading implements Answer {
    public final String text;
    public final float score;

    Reading(String text, float score) {
        this.text = text;
        this.score = score;
    }

    @Override
    public JsonObject json() {
        JsonObject json = new JsonObject();
        json.addProperty("text", text);
        json.addProperty("score", (double) score);
        return json;
    }

    /**
     * CTC's best path through the probabilities of characters at each step: repeats and blanks dropped. Class k is label
     * k - 1; with `hasSpace` one more class after the labels is the space.
     */
    static final class Post implements Postprocess {
        private static final int BLANK = 0;

        private final String probabilities;
        private final boolean hasSpace;

        Post(String probabilities, boolean hasSpace) {
            this.probabilities = probabilities;
            this.hasSpace = hasSpace;
        }

        @Override
        public String task() {
            return "text_recognition";
        }

        @Override
        public Reading answer(Map<String, Tensor> outputs, List<String> labels, Size input, Size picture) {
            Tensor steps = Postprocess.output(outputs, probabilities, 1, FREE, FREE);
            int classes = (int) steps.shape[2];
            int wanted = labels.size() + 1 + (hasSpace ? 1 : 0);
            if (steps.shape[2] != wanted) {
                throw new EdgekitException(
                        "EK408",
                        "The dictionary does not fit: the network answers " + steps.shape[2] + " classes, expected "
                                + wanted + " for a dictionary of " + labels.size() + " characters.");
            }
            StringBuilder text = new StringBuilder();
            float[] sure = new float[(int) steps.shape[1]];
            int count = 0;
            int before = BLANK;
            for (int start = 0; start < steps.values.length; start += classes) {
                int best = 0;
                for (int k = 1; k < classes; k++) {
                    if (steps.values[start + k] > steps.values[start + best]) {
                        best = k;
                    }
                }
                if (best != BLANK && best != before) {
                    text.append(best <= labels.size() ? labels.get(best - 1) : " ");
                    sure[count++] = steps.values[start + best];
                }
                before = best;
            }
            return new Reading(text.toString(), count == 0 ? 0 : sum(sure, 0, count) / count);
        }

        /** In NumPy's order, so that the last bit is Python's: by eights, and beyond 128 values by halves. */
        private static float sum(float[] values, int from, int count) {
            if (count > 128) {
                int half = count / 2 / 8 * 8;
                return sum(values, from, half) + sum(values, from + half, count - half);
            }
            int eights = count / 8 * 8;
            float total = 0;
            if (eights > 0) {
                float[] r = new float[8];
                for (int i = 0; i < eights; i++) {
                    r[i % 8] += values[from + i];
                }
                total = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
            }
            for (int i = eights; i < count; i++) {
                total += values[from + i];
            }
            return total;
        }
    }
}
