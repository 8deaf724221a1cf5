package edgekit.runtime;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** `manifest.json` of a bundle. */
public final class Manifest {
    /** A file of the bundle. */
    static final class Listed {
        final String name;
        final String role;
        final String sha256;

        Listed(String name, String role, String sha256) {
            this.name = name;
            this.role = role;
            this.sha256 = sha256;
        }
    }

    /** An input or output of the network; a side of -1 is free. */
    static final class TensorSpec {
        final String name;
        final long[] shape;

        TensorSpec(String name, long[] shape) {
            this.name = name;
            this.shape = shape;
        }
    }

    public final String name;
    public final String task;
    final List<Listed> files;

    // Of a combined bundle, which has nothing of what follows them; otherwise empty and null.
    final List<String> parts; // the folders of whole bundles
    final Chain chain;

    final List<TensorSpec> inputs;
    final List<TensorSpec> outputs;
    final Preprocess preprocess;
    final Postprocess postprocess;
    public final List<String> labels;
    final String preferred; // `default` without ".onnx": "int8", "fp32" or empty

    private Manifest(
            String name, String task, List<Listed> files, List<String> parts, Chain chain, List<TensorSpec> inputs,
            List<TensorSpec> outputs, Preprocess preprocess, Postprocess postprocess, List<String> labels,
            String preferred) {
        this.name = name;
        this.task = task;
        this.files = files;
        this.parts = parts;
        this.chain = chain;
        this.inputs = inputs;
        this.outputs = outputs;
        this.preprocess = preprocess;
        this.postprocess = postprocess;
        this.labels = Collections.unmodifiableList(labels);
        this.preferred = preferred;
    }

    static Manifest combined(String name, String task, List<Listed> files, List<String> parts, Chain chain) {
        return new Manifest(
                name, task, files, parts, chain, Collections.emptyList(), Collections.emptyList(), null, null,
                Collections.emptyList(), "");
    }

    static Manifest single(
            String name, List<Listed> files, List<TensorSpec> inputs, List<TensorSpec> outputs,
            Preprocess preprocess, Postprocess postprocess, List<String> labels, String preferred) {
        return new Manifest(
                name, postprocess.task(), files, Collections.emptyList(), null, inputs, outputs, preprocess,
                postprocess, labels, preferred);
    }

    /** Of the network's outputs, in its order. */
    public List<String> outputNames() {
        List<String> names = new ArrayList<>();
        outputs.forEach(output -> names.add(output.name));
        return names;
    }

    public boolean isCombined() {
        return !parts.isEmpty();
    }
}
