package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.BufferedReader;
import java.io.FileReader;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Times the three steps on a bundle's first golden picture. */
public final class Bench {
    private Bench() {}

    /** Times in milliseconds. Raises EK409 for a bundle without golden pictures, and what `Model.answer` does. */
    public static JsonObject run(Bundle bundle, Model model, int threads, int warmup, int repeats, Decoder decoder) {
        List<String> golden = SelfTest.golden(bundle);
        if (golden.isEmpty()) {
            throw new EdgekitException("EK409", "The bundle has no golden picture to time.");
        }
        String name = golden.get(0) + "/picture.png";
        Picture picture = decoder.decode(bundle.read(name), name);
        double[] before = new double[repeats];
        double[] inference = new double[repeats];
        double[] after = new double[repeats];
        Tensor input = null;
        for (int turn = -warmup; turn < repeats; turn++) {
            long start = System.nanoTime();
            input = model.input(picture);
            long preprocessed = System.nanoTime();
            Map<String, Tensor> outputs = model.infer(input);
            long inferred = System.nanoTime();
            model.answer(outputs, input, picture.size());
            long end = System.nanoTime();
            if (turn >= 0) {
                before[turn] = (preprocessed - start) / 1e6;
                inference[turn] = (inferred - preprocessed) / 1e6;
                after[turn] = (end - inferred) / 1e6;
            }
        }
        JsonArray shape = new JsonArray();
        for (long side : input.shape) {
            shape.add(side);
        }
        JsonObject json = new JsonObject();
        json.addProperty("bundle", bundle.manifest().name);
        json.addProperty("model", model.role());
        json.addProperty("engine", model.engine());
        json.addProperty("machine", System.getProperty("os.arch"));
        json.add("input", shape);
        json.addProperty("threads", threads);
        json.addProperty("warmup", warmup);
        json.addProperty("repeats", repeats);
        json.addProperty("min_ms", percentile(inference, 0));
        json.addProperty("median_ms", percentile(inference, 0.5));
        json.addProperty("p90_ms", percentile(inference, 0.9));
        json.addProperty("preprocess_median_ms", percentile(before, 0.5));
        json.addProperty("postprocess_median_ms", percentile(after, 0.5));
        json.add("peak_mb", peakMemory());
        return json;
    }

    /** The nearest rank. */
    private static double percentile(double[] values, double share) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[Math.max((int) Math.ceil(share * sorted.length), 1) - 1];
    }

    /** Of the process, the JVM included, in 10^6 bytes; null where the system is not Linux. */
    private static JsonElement peakMemory() {
        try (BufferedReader status = new BufferedReader(new FileReader("/proc/self/status"))) {
            for (String line = status.readLine(); line != null; line = status.readLine()) {
                if (line.startsWith("VmHWM:")) {
                    return new JsonPrimitive(Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024 / 1e6);
                }
            }
        } catch (IOException error) {
            return JsonNull.INSTANCE;
        }
        return JsonNull.INSTANCE;
    }
}
