package edgekit.runtime;

import java.util.List;
import java.util.Map;

/** From raw outputs to the final answer, as edgekit/tasks does it. */
interface Postprocess {
    long FREE = -1; // a side of any length

    /** The task's name in the manifest. */
    String task();

    /**
     * The answer for one picture of a size, of which the network saw an input of another. Raises EK408 when the labels do
     * not fit, EK409 when an output is missing or has another shape than promised.
     */
    Answer answer(Map<String, Tensor> outputs, List<String> labels, Size input, Size picture);

    /** Output `name` of one picture. */
    static Tensor output(Map<String, Tensor> outputs, String name, long... shape) {
        Tensor found = outputs.get(name);
        if (found == null) {
            throw new EdgekitException(
                    "EK409", "The model has no output \"" + name + "\"; it has " + String.join(", ", outputs.keySet()) + ".");
        }
        boolean fits = found.shape.length == shape.length;
        for (int i = 0; fits && i < shape.length; i++) {
            fits = shape[i] == FREE || shape[i] == found.shape[i];
        }
        if (!fits) {
            throw new EdgekitException(
                    "EK409",
                    "Output \"" + name + "\" has the shape " + Tensor.told(found.shape) + ", expected "
                            + Tensor.told(shape) + " (-1: any).");
        }
        return found;
    }

    static String label(List<String> labels, int index) {
        if (labels.isEmpty()) {
            return Integer.toString(index);
        }
        if (index >= labels.size()) {
            throw new EdgekitException(
                    "EK408", "The model answered class " + index + ", but has only " + labels.size() + " labels.");
        }
        return labels.get(index);
    }

    /** Higher first; what is no number comes last, as in NumPy. */
    static int byFalling(float a, float b) {
        if (Float.isNaN(a) || Float.isNaN(b)) {
            return Boolean.compare(Float.isNaN(a), Float.isNaN(b));
        }
        return a > b ? -1 : a < b ? 1 : 0;
    }
}
