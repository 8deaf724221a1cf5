package edgekit.runtime;

import java.util.Map;

/** What turns a network's input into its raw outputs: ONNX Runtime, or an engine that an application brings along. */
public interface Network extends AutoCloseable {
    /** Raw outputs by name. Raises EK501 when the engine fails, EK409 for an output that is not float32. */
    Map<String, Tensor> run(Tensor input);

    /** The engine's name and version. */
    String engine();

    @Override
    void close();
}
