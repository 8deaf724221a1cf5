package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** A detector's things, best first. */
public final class Detections implements Answer {
    /** One thing: x1 y1 x2 y2 in pixels of the picture, not clipped to it. */
    public static final class Found {
        public final int index;
        public final String label;
        public final float score;
        public final float x1;
        public final float y1;
        public final float x2;
        public final float y2;

        Found(int index, String label, float score, float x1, float y1, float x2, float y2) {
            this.index = index;
            this.label = label;
            this.score = score;
            this.x1 = x1;
            this.y1 = y1;
            this.x2 = x2;
            this.y2 = y2;
        }
    }

    public final List<Found> things;

    Detections(List<Found> things) {
        this.things = Collections.unmodifiableList(things);
    }

    @Override
    public JsonObject json() {
        JsonArray list = new JsonArray();
        for (Found found : things) {
            JsonArray box = new JsonArray();
            for (float side : new float[] {found.x1, found.y1, found.x2, found.y2}) {
                box.add((double) side);
            }
            JsonObject item = new JsonObject();
            item.addProperty("class", found.index);
            item.addProperty("label", found.label);
            item.addProperty("score", (double) found.score);
            item.add("box", box);
            list.add(item);
        }
        JsonObject json = new JsonObject();
        json.add("detections", list);
        return json;
    }

    /**
     * Class-wise NMS with the semantics of Paddle's multiclass_nms3, then from input to picture pixels. A top_k of -1
     * means all; without strides boxes are in pixels of the input.
     */
    static final class Post implements Postprocess {
        private static final int SIDES = 4;

        private final String boxes;
        private final String scores;
        private final int[] strides;
        final float scoreThreshold;
        private final float nmsThreshold;
        private final int nmsTopK;
        final int keepTopK;

        Post(
                String boxes, String scores, int[] strides, float scoreThreshold, float nmsThreshold, int nmsTopK,
                int keepTopK) {
            this.boxes = boxes;
            this.scores = scores;
            this.strides = strides;
            this.scoreThreshold = scoreThreshold;
            this.nmsThreshold = nmsThreshold;
            this.nmsTopK = nmsTopK;
            this.keepTopK = keepTopK;
        }

        @Override
        public String task() {
            return "detection";
        }

        private static final class Candidate {
            final int index;
            final int anchor;
            final float score;

            Candidate(int index, int anchor, float score) {
                this.index = index;
                this.anchor = anchor;
                this.score = score;
            }

            static int better(Candidate a, Candidate b) {
                return Postprocess.byFalling(a.score, b.score);
            }
        }

        @Override
        public Detections answer(Map<String, Tensor> outputs, List<String> labels, Size input, Size picture) {
            Tensor raw = Postprocess.output(outputs, boxes, 1, FREE, SIDES);
            Tensor rows = Postprocess.output(outputs, scores, 1, FREE, raw.shape[1]);
            float[] corners = inPixels(raw, input);
            int anchors = (int) raw.shape[1];
            int classes = anchors == 0 ? 0 : (int) rows.shape[1];
            List<Candidate> survivors = new ArrayList<>();
            for (int c = 0; c < classes; c++) {
                List<Candidate> candidates = new ArrayList<>();
                for (int k = 0; k < anchors; k++) {
                    float score = rows.values[c * anchors + k];
                    if (score > scoreThreshold) {
                        candidates.add(new Candidate(c, k, score));
                    }
                }
                candidates.sort(Candidate::better);
                survivors.addAll(cleared(first(candidates, nmsTopK), corners));
            }
            survivors.sort(Candidate::better);

            float across = (float) ((double) picture.width / input.width);
            float down = (float) ((double) picture.height / input.height);
            List<Found> found = new ArrayList<>();
            for (Candidate kept : first(survivors, keepTopK)) {
                int at = SIDES * kept.anchor;
                found.add(new Found(
                        kept.index, Postprocess.label(labels, kept.index), kept.score, corners[at] * across,
                        corners[at + 1] * down, corners[at + 2] * across, corners[at + 3] * down));
            }
            return new Detections(found);
        }

        private static List<Candidate> first(List<Candidate> list, int most) {
            return most > -1 && list.size() > most ? list.subList(0, most) : list;
        }

        /** Greedily, best first: a box goes when it overlaps a kept one by more than the threshold. */
        private List<Candidate> cleared(List<Candidate> candidates, float[] corners) {
            List<Candidate> kept = new ArrayList<>();
            for (Candidate candidate : candidates) {
                boolean clears = true;
                for (int i = 0; clears && i < kept.size(); i++) {
                    clears = iou(corners, candidate.anchor, kept.get(i).anchor) <= nmsThreshold;
                }
                if (clears) {
                    kept.add(candidate);
                }
            }
            return kept;
        }

        private float[] inPixels(Tensor raw, Size input) {
            float[] corners = raw.values.clone();
            if (strides.length == 0) {
                return corners;
            }
            long made = 0;
            for (int stride : strides) {
                made += anchors(stride, input);
            }
            if (made != raw.shape[1]) {
                throw new EdgekitException(
                        "EK409",
                        "postprocess.strides make " + made + " anchors at " + input + ", the model has "
                                + raw.shape[1] + ".");
            }
            int at = 0;
            for (int stride : strides) {
                for (long end = at + SIDES * anchors(stride, input); at < end; at++) {
                    corners[at] *= stride;
                }
            }
            return corners;
        }

        private static long anchors(int stride, Size input) {
            return (long) ((input.height + stride - 1) / stride) * ((input.width + stride - 1) / stride);
        }

        /** 0 of disjoint boxes, not a number of two without area that touch, as in Paddle. */
        private static float iou(float[] corners, int first, int second) {
            int a = SIDES * first;
            int b = SIDES * second;
            if (corners[a] > corners[b + 2] || corners[a + 1] > corners[b + 3]
                    || corners[a + 2] < corners[b] || corners[a + 3] < corners[b + 1]) {
                return 0;
            }
            float width = Math.min(corners[a + 2], corners[b + 2]) - Math.max(corners[a], corners[b]);
            float height = Math.min(corners[a + 3], corners[b + 3]) - Math.max(corners[a + 1], corners[b + 1]);
            float common = width * height;
            return common / (area(corners, a) + area(corners, b) - common);
        }

        private static float area(float[] corners, int at) {
            float width = corners[at + 2] - corners[at];
            float height = corners[at + 3] - corners[at + 1];
            return width < 0 || height < 0 ? 0 : width * height;
        }
    }
}
