package edgekit.runtime;

import java.util.Map;

/** A loaded network with its pre- and post-processing. Not for several threads at once. */
public final class Model implements AutoCloseable {
    private final Manifest manifest;
    private final String role;
    private final Network network;

    private Model(Manifest manifest, String role, Network network) {
        this.manifest = manifest;
        this.role = role;
        this.network = network;
    }

    /**
     * Loads the model that `Bundle.model(wanted)` names, its sha256 checked. Raises EK107, EK401, EK402, EK409, EK501 and
     * EK502.
     */
    public static Model load(Bundle bundle, String wanted, int threads) {
        String role = bundle.model(wanted);
        String name = bundle.manifest().name + " " + role;
        return new Model(bundle.manifest(), role, new OnnxNetwork(bundle.checked(role), name, threads));
    }

    /**
     * With a network of the application's own, made from the file with this role ("int8.nb"), which the model closes.
     * Raises EK107 for a combined bundle.
     */
    public static Model of(Bundle bundle, String role, Network network) {
        if (bundle.manifest().isCombined()) {
            throw new EdgekitException("EK107", bundle.manifest().name + " is a combined bundle: open one of its parts.");
        }
        return new Model(bundle.manifest(), role, network);
    }

    public Manifest manifest() {
        return manifest;
    }

    /** "int8.onnx" or "fp32.onnx". */
    public String role() {
        return role;
    }

    /** The engine's name and version. */
    public String engine() {
        return network.engine();
    }

    /** The network's input for a picture. Raises EK406, and EK409 when the network takes another size. */
    public Tensor input(Picture picture) {
        Size size = manifest.preprocess.inputSize(picture.size());
        long[] have = {1, 3, size.height, size.width};
        long[] want = manifest.inputs.get(0).shape;
        for (int i = 0; i < have.length; i++) {
            if (want[i] >= 0 && want[i] != have[i]) {
                throw new EdgekitException(
                        "EK409",
                        "Pre-processing makes an input of " + Tensor.told(have) + ", the network takes "
                                + Tensor.told(want) + " (-1: any).");
            }
        }
        try {
            return manifest.preprocess.apply(picture);
        } catch (OutOfMemoryError error) {
            throw new EdgekitException(
                    "EK406", "Memory does not suffice for an input of " + size + " pixels: give a smaller picture.", error);
        }
    }

    /** Raw outputs by name. Raises EK409 and EK501. */
    public Map<String, Tensor> infer(Tensor input) {
        return network.run(input);
    }

    /** The answer from raw outputs. Raises EK408 and EK409. */
    public Answer answer(Map<String, Tensor> outputs, Tensor input, Size picture) {
        Size size = new Size((int) input.shape[2], (int) input.shape[3]);
        return manifest.postprocess.answer(outputs, manifest.labels, size, picture);
    }

    /** The answer for a picture: the three steps above. */
    public Answer answer(Picture picture) {
        Tensor input = input(picture);
        return answer(infer(input), input, picture.size());
    }

    /** The same, with the time of each step. */
    public Answer answer(Picture picture, Times times) {
        Tensor input = times.of("pre-processing", () -> input(picture));
        Map<String, Tensor> outputs = times.of("inference", () -> infer(input));
        return times.of("post-processing", () -> answer(outputs, input, picture.size()));
    }

    @Override
    public void close() {
        network.close();
    }
}
