package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class ManifestReaderTest {
    private static Manifest read(String text) {
        return ManifestReader.parse(text.getBytes(StandardCharsets.UTF_8));
    }

    /** The bundle's manifest with the value at a place, such as "preprocess.mean", replaced by another. */
    private static JsonObject changed(String place, String value) {
        JsonObject manifest = new Spoilable().manifest();
        String[] keys = place.split("\\.");
        JsonObject at = manifest;
        for (int i = 0; i + 1 < keys.length; i++) {
            JsonElement next = at.get(keys[i]);
            at = next.isJsonArray() ? next.getAsJsonArray().get(0).getAsJsonObject() : next.getAsJsonObject();
        }
        at.add(keys[keys.length - 1], JsonParser.parseString(value));
        return manifest;
    }

    private static void refused(String place, String value, String said) {
        EdgekitException error =
                assertThrows(EdgekitException.class, () -> read(changed(place, value).toString()), place + " " + value);
        assertEquals("EK409", error.code());
        assertTrue(error.getMessage().contains(said), error.getMessage());
    }

    @Test
    void isRead() {
        Manifest manifest = read(new Spoilable().manifest().toString());
        assertEquals(Resize.Kind.SHORT, manifest.preprocess.resize.kind);
        assertEquals(new Size(8, 8), manifest.preprocess.crop);
        assertTrue(manifest.preprocess.isRgb);
        assertEquals(1F / 255, manifest.preprocess.scale);
        assertEquals(0.3F, manifest.preprocess.deviation[1]);
        assertEquals("fp32", manifest.preferred);
        assertEquals("grün", manifest.labels.get(1));
    }

    @Test
    void refusalsNameTheKey() {
        refused("schema_version", "2", "schema_version is that of a newer edgekit");
        refused("preprocess.mean", "[1, 2]", "preprocess.mean");
        refused("preprocess.mean", "[1, 2, \"0.5\"]", "preprocess.mean");
        refused("preprocess.mean", "[1, 2, 1e39]", "preprocess.mean");
        refused("preprocess.std", "[1, 0, 1]", "preprocess.std has a zero");
        refused("preprocess.std", "[1, 1e-60, 1]", "preprocess.std has a zero"); // as float32
        refused("preprocess.resize.kind", "\"wide\"", "preprocess.resize.kind");
        refused("preprocess.resize.height", "0", "preprocess.resize.height");
        refused("preprocess.resize.height", "9.5", "preprocess.resize.height");
        refused("preprocess.resize.height", "1e300", "preprocess.resize.height");
        refused("preprocess.resize.height", "99999999999999999999999999", "preprocess.resize.height");
        refused("preprocess.resize.width", "8193", "preprocess.resize.width");
        refused("preprocess.resize.widest", "20", "preprocess.resize.widest");
        refused("preprocess.resize.padding", "20", "preprocess.resize.padding is unknown");
        refused("preprocess.crop", "[8]", "preprocess.crop");
        refused("preprocess.gamma", "2.2", "preprocess.gamma is unknown");
        refused("postprocess.kind", "\"segmentation\"", "segmentation");
        refused("postprocess.top_k", "-3", "postprocess.top_k");
        refused("task", "\"detection\"", "task");
        refused("labels", "[7]", "labels");
        refused("labels", "null", "labels");
        refused("inputs", "[]", "inputs");
        refused("files.name", "\"../../etc/passwd\"", "unsafe");
        refused("files.name", "\"/etc/passwd\"", "unsafe");
        refused("files.name", "\"a\\u0000b\"", "unsafe");
        for (String key : new String[] {
            "schema_version", "name", "task", "inputs", "outputs", "preprocess", "postprocess", "labels", "files"
        }) {
            JsonObject manifest = new Spoilable().manifest();
            manifest.remove(key);
            EdgekitException error = assertThrows(EdgekitException.class, () -> read(manifest.toString()));
            assertTrue(error.getMessage().contains(key + " is missing"), error.getMessage());
        }
    }

    @Test
    void aPageHasSidesInMultiples() {
        String page = "{\"kind\": \"page\", \"height\": 960, \"width\": 960, \"longest\": %d, \"multiple\": %d,"
                + "\"interpolation\": \"linear\"}";
        JsonObject manifest = changed("preprocess.resize", String.format(page, 960, 32));
        manifest.getAsJsonObject("preprocess").add("crop", JsonNull.INSTANCE);
        assertEquals(960, read(manifest.toString()).preprocess.resize.longest);
        for (String wrong : new String[] {String.format(page, 960, 33), String.format(page, 640, 32)}) {
            manifest.getAsJsonObject("preprocess").add("resize", JsonParser.parseString(wrong));
            assertThrows(EdgekitException.class, () -> read(manifest.toString()));
        }
    }

    @Test
    void aDetectorMustShowTheWholePicture() {
        JsonObject manifest =
                changed("postprocess", "{\"kind\": \"detection\", \"boxes\": \"b\", \"scores\": \"s\"}");
        manifest.addProperty("task", "detection");
        EdgekitException error = assertThrows(EdgekitException.class, () -> read(manifest.toString()));
        assertTrue(error.getMessage().contains("whole picture"), error.getMessage());
        JsonObject preprocess = manifest.getAsJsonObject("preprocess");
        preprocess.add("crop", JsonNull.INSTANCE);
        preprocess.getAsJsonObject("resize").addProperty("kind", "exact");
        assertEquals("detection", read(manifest.toString()).task);
    }

    @Test
    void whatIsNoJsonIsRefused() {
        String good = new Spoilable().manifest().toString();
        for (String text : new String[] {"", "{", "[1", "null", "7", "{} {}", good + "x", good.replace("fp32.onnx", "\n"),
            "{'name': 1}", "{\"name\": NaN}"}) {
            assertEquals("EK409", assertThrows(EdgekitException.class, () -> read(text), text).code());
        }
        byte[] noUtf8 = {'{', '"', (byte) 0xff, '"', ':', '1', '}'};
        assertThrows(EdgekitException.class, () -> ManifestReader.parse(noUtf8));
        assertThrows(EdgekitException.class, () -> read("[".repeat(200_000)));
        assertFalse(good.isEmpty());
    }
}
