package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;

/**
 * Holds a bundle against its golden vectors and names the first thing that differs:
 *
 * <ul>
 *   <li>files: a listed file is missing or has another sha256
 *   <li>model: the model cannot be loaded
 *   <li>pre-processing: golden/N/picture.png does not become golden/N/input.npy
 *   <li>inference: input.npy does not become the expected raw outputs
 *   <li>post-processing: the expected raw outputs do not become the expected answer
 *   <li>labels: they do, but the manifest's labels are others
 *   <li>answer: each step is right by itself, but the picture's answer is another
 * </ul>
 *
 * Each step starts from the golden vector of the one before, so that none hides or is blamed for another's fault.
 */
public final class SelfTest {
    // A resized pixel may differ by one of 255, as OpenCV's own builds do; a shift of mean, scale or std by a tenth of
    // that may not.
    private static final double LARGEST_STEP = 1.01;
    private static final double MEAN_STEP = 0.1;
    // Raw outputs: signal to noise in dB. A float network's may have less where every value is as close as NEAR: a
    // sigmoid that is 0 on x86 is 1e-7 on ARM, and its root, a detector's score, 4e-4.
    private static final double FLOAT_DB = 100;
    private static final double FLOAT_NEAR_DB = 50;
    private static final double NEAR = 5e-4;
    private static final double INT8_DB = 45;
    // An int8 layer gives the same bits everywhere, but a float layer's last bits are the processor's, and turn a
    // rounding of the int8 layer after it, which turns more further on. In the end outputs lie as far apart as those of
    // two int8 networks that round on their own, each as far from the float network as int8 costs, and so from each
    // other by no more than twice that: so much less will do.
    private static final double INDEPENDENT_DB = 6;

    private static final String PICTURE = "/picture.png";

    private SelfTest() {}

    /** A stage at which the bundle differs. */
    private static final class Differs extends Exception {
        final String stage;
        final String where;

        Differs(String stage, String where, String why) {
            super(why);
            this.stage = stage;
            this.where = where;
        }
    }

    /**
     * {"bundle", "model", "engine", "machine", "verdict": "passed" | "failed", "failed": null | {"stage", "where", "why"},
     * "golden": [{"name", ... what was measured}]}; of a combined bundle {"bundle", "verdict", "parts": [...]}. What is
     * wrong with the bundle is in the result; raised are EK401 and EK409, when there is no bundle to test, and EK502, when
     * there is no engine.
     */
    public static JsonObject run(Bundle bundle, String wanted, int threads, Decoder decoder) {
        if (!bundle.manifest().isCombined()) {
            return testOne(bundle, wanted, threads, decoder);
        }
        JsonArray parts = new JsonArray();
        boolean passed = true;
        for (Bundle part : bundle.parts()) {
            JsonObject result = testOne(part, wanted, threads, decoder);
            passed &= passed(result);
            parts.add(result);
        }
        JsonObject json = new JsonObject();
        json.addProperty("bundle", bundle.manifest().name);
        json.addProperty("verdict", passed ? "passed" : "failed");
        json.add("parts", parts);
        return json;
    }

    public static boolean passed(JsonObject result) {
        return result.get("verdict").getAsString().equals("passed");
    }

    private static JsonObject testOne(Bundle bundle, String wanted, int threads, Decoder decoder) {
        JsonArray golden = new JsonArray();
        JsonElement failed = JsonNull.INSTANCE;
        try {
            test(bundle, wanted, threads, decoder, golden);
        } catch (Differs differs) {
            JsonObject what = new JsonObject();
            what.addProperty("stage", differs.stage);
            what.addProperty("where", differs.where);
            what.addProperty("why", differs.getMessage());
            failed = what;
        }
        JsonObject json = new JsonObject();
        json.addProperty("bundle", bundle.manifest().name);
        json.addProperty("model", bundle.model(wanted));
        json.addProperty("engine", OnnxNetwork.version());
        json.addProperty("machine", System.getProperty("os.arch"));
        json.addProperty("verdict", failed.isJsonNull() ? "passed" : "failed");
        json.add("failed", failed);
        json.add("golden", golden);
        return json;
    }

    private static void test(Bundle bundle, String wanted, int threads, Decoder decoder, JsonArray measured)
            throws Differs {
        String role = bundle.model(wanted);
        blamed("files", bundle.manifest().name, () -> {
            bundle.checkHashes();
            return null;
        });
        try (Model model = loaded(bundle, role, threads)) {
            List<String> names = golden(bundle);
            if (names.isEmpty()) {
                throw new Differs("files", "golden", "the bundle has no golden vectors");
            }
            for (String name : names) {
                JsonObject found = new JsonObject();
                found.addProperty("name", name);
                measured.add(found);
                new Golden(bundle, model, name, decoder, found).test();
            }
        }
    }

    private static Model loaded(Bundle bundle, String role, int threads) throws Differs {
        try {
            return Model.load(bundle, role, threads);
        } catch (EdgekitException error) {
            if (error.code().equals("EK502")) {
                throw error;
            }
            throw new Differs("model", role, error.getMessage());
        }
    }

    /** The names golden/N of the vectors in a bundle. */
    static List<String> golden(Bundle bundle) {
        List<String> names = new ArrayList<>();
        for (Manifest.Listed file : bundle.manifest().files) {
            if (file.name.startsWith("golden/") && file.name.endsWith(PICTURE)) {
                names.add(file.name.substring(0, file.name.length() - PICTURE.length()));
            }
        }
        return names;
    }

    private static <T> T blamed(String stage, String where, Supplier<T> step) throws Differs {
        try {
            return step.get();
        } catch (EdgekitException error) {
            throw new Differs(stage, where, error.getMessage());
        }
    }

    /** One golden vector. */
    private static final class Golden {
        private final Bundle bundle;
        private final Model model;
        private final String name;
        private final Decoder decoder;
        private final JsonObject measured;
        private Answers.Closeness closeness = Answers.Closeness.SAME; // which the raw outputs' nearness asks of answers

        Golden(Bundle bundle, Model model, String name, Decoder decoder, JsonObject measured) {
            this.bundle = bundle;
            this.model = model;
            this.name = name;
            this.decoder = decoder;
            this.measured = measured;
        }

        void test() throws Differs {
            String at = name + PICTURE;
            Picture picture = blamed("files", at, () -> decoder.decode(bundle.read(at), at));
            Tensor input = array("input.npy");
            preprocess(picture, input);
            Map<String, Tensor> wanted = new TreeMap<>();
            for (Manifest.TensorSpec output : model.manifest().outputs) {
                wanted.put(output.name, array(file(model.role(), output.name)));
            }
            infer(input, wanted);

            JsonElement expected = answers().get(model.role());
            if (expected == null) {
                throw new Differs("files", name + "/answers.json", "it has no answer of " + model.role());
            }
            Answers comparison = new Answers(model.manifest().postprocess, expected);
            JsonObject got = answered("post-processing", () -> model.answer(wanted, input, picture.size()));
            compare("post-processing", comparison.difference(got, Answers.Closeness.SAME));
            compare("labels", comparison.differenceOfLabels(got));
            compareLabelFile();
            JsonObject whole = answered("answer", () -> model.answer(picture));
            compare("answer", comparison.difference(whole, closeness));
        }

        private Tensor array(String file) throws Differs {
            String at = name + "/" + file;
            return blamed("files", at, () -> Npy.parse(bundle.read(at), at));
        }

        /** The file of a model's raw output; Paddle's exporter puts slashes into names. */
        private static String file(String role, String output) {
            return role + "." + output.replace('/', '_') + ".npy";
        }

        private JsonObject answers() throws Differs {
            String at = name + "/answers.json";
            return blamed("files", at, () -> JsonFields.parse(bundle.read(at), at).json());
        }

        private JsonObject answered(String stage, Supplier<Answer> step) throws Differs {
            try {
                return step.get().json();
            } catch (EdgekitException error) {
                boolean isOfLabels = error.code().equals("EK408");
                throw new Differs(isOfLabels ? "labels" : stage, name + "/answers.json", error.getMessage());
            }
        }

        private void compare(String stage, String difference) throws Differs {
            if (!difference.isEmpty()) {
                throw new Differs(stage, name + "/answers.json", difference);
            }
        }

        private void preprocess(Picture picture, Tensor wanted) throws Differs {
            String at = name + "/input.npy";
            Preprocess spec = model.manifest().preprocess;
            Tensor got = blamed("pre-processing", at, () -> model.input(picture));
            checkShape("pre-processing", at, wanted, got);
            double largest = 0;
            double sum = 0;
            int plane = got.values.length / 3;
            for (int i = 0; i < got.values.length; i++) {
                double one = Math.abs(spec.scale / spec.deviation[i / plane]);
                double steps = Math.abs(got.values[i] - wanted.values[i]) / one;
                largest = Math.max(largest, steps); // which is no number when one of them is none
                sum += steps;
            }
            double mean = sum / got.values.length;
            measured.add("preprocessing_largest_step", finite(largest));
            measured.add("preprocessing_mean_step", finite(mean));
            if (!(largest <= LARGEST_STEP) || !(mean <= MEAN_STEP)) {
                throw new Differs(
                        "pre-processing", at,
                        "in units of a picture's 255 levels the largest difference is " + told(largest)
                                + " (at most 1) and the mean " + told(mean) + " (at most " + told(MEAN_STEP) + ")");
            }
        }

        private void infer(Tensor input, Map<String, Tensor> wanted) throws Differs {
            Map<String, Tensor> got = blamed("inference", name + "/input.npy", () -> model.infer(input));
            boolean isFloat = model.role().equals("fp32.onnx");
            JsonObject ratios = new JsonObject();
            JsonObject bounds = new JsonObject();
            measured.add("sqnr_db", ratios);
            measured.add("least_db", bounds);
            for (Map.Entry<String, Tensor> output : wanted.entrySet()) {
                String at = name + "/" + file(model.role(), output.getKey());
                Tensor found = got.get(output.getKey());
                if (found == null) {
                    throw new Differs("inference", at, "the model has no output " + output.getKey());
                }
                checkShape("inference", at, output.getValue(), found);
                double ratio = sqnr(output.getValue().values, found.values);
                boolean isEqual = ratio == Double.POSITIVE_INFINITY;
                ratios.add(output.getKey(), isEqual ? new JsonPrimitive("equal") : finite(ratio));
                double least = isFloat
                        ? largestDifference(output.getValue().values, found.values) <= NEAR ? FLOAT_NEAR_DB : FLOAT_DB
                        : Math.min(INT8_DB, cost(output.getKey(), output.getValue()) - INDEPENDENT_DB);
                bounds.addProperty(output.getKey(), least);
                if (!isFloat && !(ratio >= INT8_DB)) {
                    closeness = Answers.Closeness.ALIKE;
                }
                if (!(ratio >= least)) {
                    throw new Differs(
                            "inference", at,
                            "signal to noise is " + told(ratio) + " dB, at least " + told(least) + " is right");
                }
            }
        }

        /** What int8 costs in dB: how far the golden int8 output is from the golden float one; infinite without one. */
        private double cost(String output, Tensor int8) throws Differs {
            String file = file("fp32.onnx", output);
            for (Manifest.Listed listed : model.manifest().files) {
                if (listed.name.equals(name + "/" + file)) {
                    Tensor exact = array(file);
                    checkShape("inference", listed.name, int8, exact);
                    return sqnr(exact.values, int8.values);
                }
            }
            return Double.POSITIVE_INFINITY;
        }

        /** `labels.txt`, of which there is a hash, against the manifest's labels, of which there is none. */
        private void compareLabelFile() throws Differs {
            for (Manifest.Listed file : model.manifest().files) {
                if (!file.role.equals("labels")) {
                    continue;
                }
                String text = String.join("\n", model.manifest().labels) + "\n";
                byte[] found = blamed("files", file.name, () -> bundle.read(file.name));
                if (!new String(found, StandardCharsets.UTF_8).equals(text)) {
                    throw new Differs("labels", file.name, "its labels are not those of the manifest");
                }
            }
        }

        private static void checkShape(String stage, String at, Tensor wanted, Tensor got) throws Differs {
            String shape = Tensor.told(wanted.shape);
            if (!shape.equals(Tensor.told(got.shape))) {
                throw new Differs(stage, at, "its shape is " + shape + ", got " + Tensor.told(got.shape));
            }
        }
    }

    /** In dB: infinite when nothing differs; not a number, or below all bounds, when `got` is no answer. */
    private static double sqnr(float[] wanted, float[] got) {
        double signal = 0;
        double noise = 0;
        for (int i = 0; i < wanted.length; i++) {
            double difference = (double) got[i] - wanted[i];
            signal += (double) wanted[i] * wanted[i];
            noise += difference * difference;
        }
        return noise == 0 ? Double.POSITIVE_INFINITY : 10 * Math.log10(signal / noise);
    }

    private static double largestDifference(float[] a, float[] b) {
        double largest = 0;
        for (int i = 0; i < a.length; i++) {
            largest = Math.max(largest, Math.abs((double) a[i] - b[i]));
        }
        return largest;
    }

    private static JsonElement finite(double value) {
        return Double.isNaN(value) || Double.isInfinite(value) ? JsonNull.INSTANCE : new JsonPrimitive(value);
    }

    private static String told(double value) {
        return String.format(Locale.ROOT, "%.4g", value);
    }
}
