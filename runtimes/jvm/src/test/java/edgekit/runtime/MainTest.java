package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MainTest {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteArrayOutputStream err = new ByteArrayOutputStream();

    private int run(String... words) {
        out.reset();
        err.reset();
        try (PrintStream said = new PrintStream(out, true, StandardCharsets.UTF_8);
                PrintStream complained = new PrintStream(err, true, StandardCharsets.UTF_8)) {
            return Main.run(words, said, complained);
        }
    }

    private JsonObject said() {
        return JsonParser.parseString(out.toString(StandardCharsets.UTF_8)).getAsJsonObject();
    }

    private static String bundle() throws URISyntaxException {
        return Paths.get(MainTest.class.getResource("/bundle").toURI()).toString();
    }

    @Test
    void answersAsTheGoldenVectorsSay() throws URISyntaxException {
        assertEquals(0, run("run", bundle(), bundle() + "/golden/0/picture.png"), err.toString());
        assertEquals(17, said().get("width").getAsInt());
        assertEquals(12, said().get("height").getAsInt());
        assertEquals("fp32.onnx", said().get("model").getAsString());
        JsonObject best = said().getAsJsonArray("top").get(0).getAsJsonObject();
        assertEquals("grün", best.get("label").getAsString());
        assertEquals(0.4454967677593231, best.get("probability").getAsDouble(), 1e-6);
    }

    @Test
    void testsItself() throws URISyntaxException {
        assertEquals(0, run("self-test", bundle(), "--threads", "2"), err.toString());
        assertEquals("passed", said().get("verdict").getAsString());
    }

    @Test
    void aFailedSelfTestExitsWith3(@TempDir Path folder) throws IOException, URISyntaxException {
        Spoilable spoilt = new Spoilable();
        Files.createDirectories(folder.resolve("golden/0"));
        Files.createDirectories(folder.resolve("golden/1"));
        Files.write(folder.resolve("manifest.json"), spoilt.get("manifest.json"));
        assertEquals(3, run("self-test", folder.toString()));
        assertEquals("files", said().getAsJsonObject("failed").get("stage").getAsString());
    }

    @Test
    void benchMeasures() throws URISyntaxException {
        assertEquals(0, run("bench", bundle(), "--warmup", "1", "--repeats", "9"), err.toString());
        double least = said().get("min_ms").getAsDouble();
        double median = said().get("median_ms").getAsDouble();
        assertTrue(0 < least && least <= median && median <= said().get("p90_ms").getAsDouble());
        assertEquals("[1,3,8,8]", said().get("input").toString());
    }

    private void fails(int code, String why, String... words) {
        assertEquals(code, run(words), err.toString());
        assertTrue(err.toString(StandardCharsets.UTF_8).contains(why), err.toString());
        assertEquals(0, out.size());
    }

    @Test
    void errorsNameWhatIsWrong(@TempDir Path folder) throws URISyntaxException {
        fails(2, "Usage");
        fails(2, "Usage", "fly");
        fails(2, "self-test needs one bundle", "self-test");
        fails(2, "run needs a bundle and a picture", "run", bundle());
        fails(2, "--threads none", "bench", bundle(), "--threads", "none");
        fails(2, "--threads 0", "bench", bundle(), "--threads", "0");
        fails(2, "--model needs a value", "bench", bundle(), "--model");
        fails(2, "no option --fast", "run", bundle(), "P", "--fast");
        fails(4, "EK401", "self-test", folder.toString());
        fails(4, "EK401", "run", bundle(), folder + "/nowhere.png");
        fails(4, "EK406", "run", bundle(), bundle() + "/manifest.json");
        fails(4, "EK401", "self-test", bundle(), "--model", "int8");
    }
}
