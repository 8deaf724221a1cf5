package edgekit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URISyntaxException;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ModelTest {
    private static Bundle bundle() throws URISyntaxException {
        return Bundle.open(new Folder(Paths.get(ModelTest.class.getResource("/bundle").toURI())));
    }

    /** Of three classes always the second. */
    private static final class Other implements Network {
        boolean isClosed;

        @Override
        public Map<String, Tensor> run(Tensor input) {
            float[] values = {0.1F, 0.8F, 0.1F};
            return Collections.singletonMap("probabilities", new Tensor(new long[] {1, 3}, values));
        }

        @Override
        public String engine() {
            return "another 1.0";
        }

        @Override
        public void close() {
            isClosed = true;
        }
    }

    @Test
    void anotherEngineRunsInTheSameModel() throws URISyntaxException {
        Other other = new Other();
        try (Model model = Model.of(bundle(), "fp32.nb", other)) {
            Times times = new Times();
            Classes answer = (Classes) model.answer(Picture.bgr(new byte[300], 10, 10), times);
            assertEquals("grün", answer.top.get(0).label);
            assertEquals("another 1.0", model.engine());
            assertEquals(
                    Arrays.asList("pre-processing", "inference", "post-processing"),
                    new ArrayList<>(times.milliseconds().keySet()));
            times.milliseconds().values().forEach(time -> assertTrue(time >= 0));
        }
        assertTrue(other.isClosed);
    }

    @Test
    void timesOfOneStageAddUp() {
        Times times = new Times();
        for (int k = 0; k < 3; k++) {
            times.of("reading", () -> {
                long end = System.nanoTime() + 2_000_000;
                while (System.nanoTime() < end) {
                    Thread.onSpinWait();
                }
                return null;
            });
        }
        assertTrue(times.milliseconds().get("reading") >= 6);
        assertEquals(1, times.milliseconds().size());
    }

    @Test
    void aBundleSaysWhatItHas() throws URISyntaxException {
        assertTrue(bundle().has("fp32.onnx"));
        assertEquals(false, bundle().has("int8.nb"));
        assertEquals(Collections.singletonList("probabilities"), bundle().manifest().outputNames());
    }
}
