package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Mutants of a bundle's manifest, pictures, arrays and raw outputs. Each must be taken or refused with an
 * EdgekitException: any other exception ends the test.
 */
class FuzzTest {
    private static final int TURNS = 10_000;

    // Values that have broken parsers before.
    private static final String[] ODD = {
        "null", "true", "0", "-1", "1", "2147483647", "-2147483648", "4294967296", "9223372036854775807",
        "18446744073709551615", "1e308", "-1e308", "1e-320", "1e999999999", "0.5", "-0.0", "\"\"", "\"..\"",
        "\"/etc/passwd\"", "\"a/../../b\"", "\"\\u0000\"", "\"\\ud800\"", "\"exact\"", "\"page\"", "\"line\"",
        "\"short\"", "\"text_detection\"", "\"detection\"", "\"classification\"", "\"text_recognition\"", "[]", "{}",
        "[0, 0, 0]", "[1, -1]", "[null, 1e39, \"x\"]", "{\"kind\": \"detection\"}", "8192", "8193", "32", "100000000"
    };

    private final Random random = new Random(0);
    private final Map<String, Integer> tally = new TreeMap<>();

    private static String postprocess(String task) {
        switch (task) {
            case "detection":
                return "{\"kind\": \"detection\", \"boxes\": \"b\", \"scores\": \"s\", \"strides\": [8, 16],"
                        + "\"score_threshold\": 0.025, \"nms_threshold\": 0.6, \"nms_top_k\": 40, \"keep_top_k\": 30}";
            case "text_detection":
                return "{\"kind\": \"text_detection\", \"map\": \"m\", \"threshold\": 0.3, \"box_threshold\": 0.6,"
                        + "\"unclip_ratio\": 1.5, \"max_candidates\": 1000, \"min_size\": 3}";
            case "text_recognition":
                return "{\"kind\": \"text_recognition\", \"probabilities\": \"p\", \"space\": true}";
            default:
                return "{\"kind\": \"classification\", \"probabilities\": \"p\", \"top_k\": 3}";
        }
    }

    private Map<String, Tensor> outputs(String task) {
        switch (task) {
            case "detection":
                return new TreeMap<>(Map.of("b", tensor(8, 1, 100, 4), "s", tensor(1, 1, 3, 100)));
            case "text_detection":
                return new TreeMap<>(Map.of("m", tensor(1, 1, 1, 64, 80)));
            case "text_recognition":
                return new TreeMap<>(Map.of("p", tensor(1, 1, 30, 5)));
            default:
                return new TreeMap<>(Map.of("p", tensor(1, 1, 3)));
        }
    }

    private Tensor tensor(float most, long... shape) {
        float[] values = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
        for (int i = 0; i < values.length; i++) {
            values[i] = random.nextFloat() * most;
        }
        return new Tensor(shape, values);
    }

    private static JsonObject manifest(String task) {
        JsonObject manifest = new Spoilable().manifest();
        manifest.addProperty("task", task);
        manifest.add("postprocess", JsonParser.parseString(postprocess(task)));
        manifest.getAsJsonObject("preprocess").remove("crop");
        JsonObject resize = manifest.getAsJsonObject("preprocess").getAsJsonObject("resize");
        resize.addProperty("kind", "exact");
        resize.addProperty("height", 64);
        resize.addProperty("width", 80);
        return manifest;
    }

    private JsonElement odd() {
        return JsonParser.parseString(ODD[random.nextInt(ODD.length)]);
    }

    /** One change somewhere in a JSON value. */
    private void mutate(JsonElement at, JsonElement whole) {
        boolean isObject = at.isJsonObject();
        int size = isObject ? at.getAsJsonObject().size() : at.getAsJsonArray().size();
        int index = size == 0 ? -1 : random.nextInt(size);
        String key = isObject && size > 0 ? new ArrayList<>(at.getAsJsonObject().keySet()).get(index) : "";
        JsonElement child = size == 0 ? null : isObject ? at.getAsJsonObject().get(key) : at.getAsJsonArray().get(index);
        boolean goesOn = child != null && (child.isJsonObject() || child.isJsonArray()) && random.nextInt(5) > 0;
        if (goesOn) {
            mutate(child, whole);
            return;
        }
        JsonElement other = random.nextInt(4) > 0 ? odd() : whole.deepCopy();
        int what = random.nextInt(3);
        if (isObject) {
            if (what == 0 && size > 0) {
                at.getAsJsonObject().remove(key);
            } else {
                at.getAsJsonObject().add(what == 1 || size == 0 ? "surprise" : key, other);
            }
        } else if (what == 0 && size > 0) {
            at.getAsJsonArray().remove(index);
        } else if (what == 1 || size == 0) {
            at.getAsJsonArray().add(other);
        } else {
            at.getAsJsonArray().set(index, other);
        }
    }

    private byte[] mutant(JsonObject manifest) {
        JsonObject json = manifest.deepCopy();
        if (random.nextInt(4) == 0) {
            return damaged(json.toString().getBytes(StandardCharsets.UTF_8));
        }
        for (int k = random.nextInt(3); k >= 0; k--) {
            mutate(json, manifest);
        }
        return json.toString().getBytes(StandardCharsets.UTF_8);
    }

    private byte[] damaged(byte[] data) {
        byte[] copy = data.clone();
        for (int k = random.nextInt(8); k >= 0 && copy.length > 0; k--) {
            int at = random.nextInt(copy.length);
            switch (random.nextInt(4)) {
                case 0:
                    copy[at] = (byte) random.nextInt(256);
                    break;
                case 1:
                    copy = random.nextInt(4) == 0 ? Arrays.copyOf(copy, at) : copy;
                    break;
                default:
                    copy[at] ^= (byte) (1 << random.nextInt(8));
            }
        }
        return copy;
    }

    /** Raw outputs of wild values and shapes. */
    private Tensor wild(Tensor original) {
        float[] odd = {0, -1, 1e30F, -1e30F, Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 0.5F};
        long[] shape = original.shape.clone();
        if (random.nextInt(4) == 0) {
            int side = random.nextInt(shape.length);
            shape[side] = random.nextInt((int) shape[side] + 2);
        }
        float[] values = Arrays.copyOf(original.values, (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b));
        for (int k = random.nextInt(200); k > 0 && values.length > 0; k--) {
            values[random.nextInt(values.length)] = odd[random.nextInt(odd.length)];
        }
        return new Tensor(shape, values);
    }

    private void attempt(String what, Runnable step) {
        String end = " taken";
        try {
            step.run();
        } catch (EdgekitException error) {
            end = " " + error.code();
        }
        tally.merge(what + end, 1, Integer::sum);
    }

    @ParameterizedTest
    @ValueSource(strings = {"classification", "detection", "text_detection", "text_recognition"})
    void mutantsAreTakenOrRefused(String task) {
        JsonObject manifest = manifest(task);
        Map<String, Tensor> outputs = outputs(task);
        Manifest good = ManifestReader.parse(manifest.toString().getBytes(StandardCharsets.UTF_8));
        Spoilable files = new Spoilable();
        byte[] png = files.get("golden/0/picture.png");
        byte[] npy = files.get("golden/0/input.npy");
        Picture picture = Decoding.decode(png, "picture");
        Size input = new Size(64, 80);
        for (int turn = 0; turn < TURNS; turn++) {
            byte[] text = mutant(manifest);
            attempt("manifest", () -> {
                Manifest mutant = ManifestReader.parse(text);
                if (mutant.isCombined()) {
                    return;
                }
                attempt("pre-processing", () -> {
                    Size size = mutant.preprocess.inputSize(picture.size());
                    if ((long) size.height * size.width < 10_000) { // larger ones only take longer
                        mutant.preprocess.apply(picture);
                    }
                });
                attempt("post-processing", () -> mutant.postprocess.answer(outputs, mutant.labels, input, input));
            });
            if (turn % 10 == 0) {
                attempt("picture", () -> Decoding.decode(damaged(png), "picture"));
                attempt("array", () -> Npy.parse(damaged(npy), "array"));
                Map<String, Tensor> strange = new TreeMap<>();
                outputs.forEach((name, tensor) -> strange.put(name, wild(tensor)));
                attempt("outputs", () -> good.postprocess.answer(strange, good.labels, input, input).json());
            }
        }
        // Both ways out were taken: it is not that everything is refused at the door.
        List<String> often = List.of(
                "manifest EK409", "manifest taken", "pre-processing taken", "post-processing taken", "picture EK406",
                "array EK409", "array taken", "outputs taken", "outputs EK409");
        for (String what : often) {
            assertTrue(tally.getOrDefault(what, 0) > 20, what + ": " + tally);
        }
    }
}
