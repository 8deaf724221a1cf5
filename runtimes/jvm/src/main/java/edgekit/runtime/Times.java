package edgekit.runtime;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** How long each stage of an answer took; what runs more than once, as the reading of each line, is added up. */
public final class Times {
    private final Map<String, Double> milliseconds = new LinkedHashMap<>();

    /** In the order in which the stages first ran. */
    public Map<String, Double> milliseconds() {
        return Collections.unmodifiableMap(milliseconds);
    }

    <T> T of(String stage, Supplier<T> step) {
        long start = System.nanoTime();
        T result = step.get();
        milliseconds.merge(stage, (System.nanoTime() - start) / 1e6, Double::sum);
        return result;
    }
}
