package edgekit.runtime;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.nio.FloatBuffer;
import java.util.Collections;
import java.util.Map;
import java.util.TreeMap;

/** A network that ONNX Runtime runs on the CPU. Not for several threads at once. */
final class OnnxNetwork implements Network {
    private final String name;
    private final OrtSession session;
    private final String input;

    /** Raises EK501 when ONNX Runtime cannot load the file, EK502 when there is none, EK409 for other than one input. */
    OnnxNetwork(byte[] model, String name, int threads) {
        this.name = name;
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            options.setInterOpNumThreads(1);
            // Without VNNI x86 saturates sums of uint8 x int8 at 16 bits, unless told to be as exact as ARM.
            options.addConfigEntry("session.x64quantprecision", "1");
            options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
            session = environment().createSession(model, options);
        } catch (OrtException error) {
            throw failed("ONNX Runtime cannot load " + name, error);
        }
        if (session.getNumInputs() != 1) {
            throw new EdgekitException("EK409", name + " has " + session.getNumInputs() + " inputs, expected 1.");
        }
        input = session.getInputNames().iterator().next();
    }

    @Override
    public Map<String, Tensor> run(Tensor picture) {
        Map<String, Tensor> outputs = new TreeMap<>();
        try (OnnxTensor feed =
                        OnnxTensor.createTensor(environment(), FloatBuffer.wrap(picture.values), picture.shape);
                OrtSession.Result result = session.run(Collections.singletonMap(input, feed))) {
            for (Map.Entry<String, OnnxValue> output : result) {
                outputs.put(output.getKey(), tensor(output.getKey(), output.getValue()));
            }
        } catch (OrtException error) {
            throw failed("ONNX Runtime failed to run " + name, error);
        }
        return outputs;
    }

    private Tensor tensor(String output, OnnxValue value) {
        FloatBuffer floats = value instanceof OnnxTensor ? ((OnnxTensor) value).getFloatBuffer() : null;
        if (floats == null) {
            throw new EdgekitException("EK409", "Output \"" + output + "\" of " + name + " is not float32.");
        }
        float[] values = new float[floats.remaining()];
        floats.get(values);
        return new Tensor(((TensorInfo) value.getInfo()).getShape(), values);
    }

    @Override
    public String engine() {
        return version();
    }

    static String version() {
        return "ONNX Runtime " + environment().getVersion();
    }

    private static OrtEnvironment environment() {
        try {
            return OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL, "edgekit");
        } catch (LinkageError error) { // no natives for this machine
            throw new EdgekitException("EK502", "ONNX Runtime cannot be started: " + error.getMessage(), error);
        }
    }

    private static EdgekitException failed(String what, OrtException error) {
        String why = String.valueOf(error.getMessage());
        return new EdgekitException("EK501", what + ": " + why.substring(0, Math.min(300, why.length())), error);
    }

    @Override
    public void close() {
        try {
            session.close();
        } catch (OrtException error) {
            throw failed("ONNX Runtime cannot close " + name, error);
        }
    }
}
