package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** Each damage is named. */
class SelfTestTest {
    private static final int NPY_HEADER = 128; // bytes

    private static JsonObject result(Source source) {
        return SelfTest.run(Bundle.open(source), "", 1, Decoding::decode);
    }

    private static void failsAt(String stage, String said, Spoilable bundle) {
        JsonElement failed = result(bundle).get("failed");
        assertTrue(failed.isJsonObject(), "it passed");
        assertEquals(stage, failed.getAsJsonObject().get("stage").getAsString(), failed.toString());
        assertTrue(failed.toString().contains(said), failed.toString());
    }

    /** A value of an array of float32. */
    private static UnaryOperator<byte[]> value(int index, float factor, float more) {
        return data -> {
            ByteBuffer bytes = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
            int at = NPY_HEADER + index * Float.BYTES;
            bytes.putFloat(at, bytes.getFloat(at) * factor + more);
            return data;
        };
    }

    private static void replace(JsonArray list, int index, Number value) {
        list.set(index, new JsonPrimitive(value));
    }

    @Test
    void anIntactBundlePasses() {
        JsonObject found = result(new Spoilable());
        assertTrue(SelfTest.passed(found), found.toString());
        assertEquals(2, found.getAsJsonArray("golden").size());
        for (JsonElement golden : found.getAsJsonArray("golden")) {
            assertEquals(0, golden.getAsJsonObject().get("preprocessing_largest_step").getAsDouble());
        }
    }

    @Test
    void aDamagedModelIsNamed() {
        failsAt("files", "colours.fp32.onnx is damaged", new Spoilable().with("colours.fp32.onnx", data -> {
            data[data.length / 2] ^= 1;
            return data;
        }));
    }

    @Test
    void aModelThatIsNoneIsNamed() {
        byte[] nonsense = "no network".getBytes(StandardCharsets.UTF_8);
        failsAt("model", "fp32.onnx", new Spoilable().with("colours.fp32.onnx", data -> nonsense).rehashed());
    }

    @Test
    void aMissingFileIsNamed() {
        failsAt("files", "golden/1/input.npy", new Spoilable().without("golden/1/input.npy"));
    }

    @Test
    void aGoldenVectorWithAnotherHashIsNamed() {
        String name = "golden/1/fp32.onnx.probabilities.npy";
        failsAt("files", name + " is damaged", new Spoilable().with(name, value(0, 1, 0.01F)));
    }

    @Test
    void anotherMeanIsPreProcessing() {
        failsAt(
                "pre-processing", "golden/0/input.npy",
                new Spoilable().withJson("manifest.json", manifest -> {
                    replace(manifest.getAsJsonObject("preprocess").getAsJsonArray("mean"), 1, 0.405);
                }));
    }

    @Test
    void anotherDeviationIsPreProcessing() {
        failsAt(
                "pre-processing", "golden/0/input.npy",
                new Spoilable().withJson("manifest.json", manifest -> {
                    replace(manifest.getAsJsonObject("preprocess").getAsJsonArray("std"), 2, 0.41);
                }));
    }

    @Test
    void anotherOrderOfChannelsIsPreProcessing() {
        failsAt(
                "pre-processing", "golden/0/input.npy",
                new Spoilable().withJson("manifest.json", manifest -> {
                    manifest.getAsJsonObject("preprocess").addProperty("channels", "bgr");
                }));
    }

    @Test
    void aChangedInputIsPreProcessing() {
        String name = "golden/1/input.npy";
        failsAt("pre-processing", name, new Spoilable().with(name, value(100, 1, 0.1F)).rehashed());
        failsAt("pre-processing", name, new Spoilable().with(name, value(100, 1, Float.NaN)).rehashed());
    }

    @Test
    void changedRawOutputsAreInference() {
        String name = "golden/1/fp32.onnx.probabilities.npy";
        failsAt("inference", name, new Spoilable().with(name, value(1, 1.02F, 0)).rehashed());
        failsAt("inference", name, new Spoilable().with(name, value(1, 1, Float.NaN)).rehashed());
    }

    @Test
    void aChangedAnswerIsPostProcessing() {
        String name = "golden/1/answers.json";
        failsAt("post-processing", name, new Spoilable().withJson(name, answers -> {
            JsonObject best = answers.getAsJsonObject("fp32.onnx").getAsJsonArray("top").get(0).getAsJsonObject();
            best.addProperty("probability", best.get("probability").getAsDouble() + 0.01);
        }).rehashed());
    }

    @Test
    void labelsOfTheManifestThatWereExchangedAreNamed() {
        failsAt("labels", "grün", new Spoilable().withJson("manifest.json", manifest -> {
            JsonArray labels = manifest.getAsJsonArray("labels");
            labels.set(0, labels.set(1, labels.get(0)));
        }));
    }

    @Test
    void aLabelThatIsMissingIsNamed() {
        failsAt("labels", "only 2 labels", new Spoilable().withJson("manifest.json", manifest -> {
            manifest.getAsJsonArray("labels").remove(2);
        }));
    }

    @Test
    void aLabelTooManyIsNamed() {
        failsAt("labels", "labels.txt", new Spoilable().withJson("manifest.json", manifest -> {
            manifest.getAsJsonArray("labels").add("yellow");
        }));
    }

    @Test
    void anotherFileOfLabelsIsNamed() {
        byte[] other = "red\nblue\ngreen\n".getBytes(StandardCharsets.UTF_8);
        failsAt("files", "labels.txt is damaged", new Spoilable().with("labels.txt", data -> other));
        failsAt("labels", "labels.txt", new Spoilable().with("labels.txt", data -> other).rehashed());
    }

    @Test
    void withoutAManifestThereIsNothingToTest() {
        Spoilable none = new Spoilable().without("manifest.json");
        assertEquals("EK401", assertThrows(EdgekitException.class, () -> Bundle.open(none)).code());
    }

    @Test
    void partsOfACombinedBundleAreTested() {
        Spoilable part = new Spoilable();
        byte[] manifest = ("{\"schema_version\": 1, \"name\": \"both\", \"task\": \"reading\", \"files\": [], \"chain\": {},"
                        + "\"parts\": [{\"role\": \"cls\", \"path\": \"cls\"}]}")
                .getBytes(StandardCharsets.UTF_8);
        Source both = name -> name.startsWith("cls/")
                ? part.open(name.substring(4))
                : new java.io.ByteArrayInputStream(manifest);
        JsonObject found = result(both);
        assertTrue(SelfTest.passed(found), found.toString());
        assertEquals(1, found.getAsJsonArray("parts").size());
        part.without("labels.txt");
        assertEquals("failed", result(both).get("verdict").getAsString());
    }
}
