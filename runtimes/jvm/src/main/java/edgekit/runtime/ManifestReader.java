package edgekit.runtime;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** Reads `manifest.json` as strictly as edgekit/folder.py does: EK409, naming the key, for anything else. */
final class ManifestReader {
    static final String FILE = "manifest.json";

    private static final int SCHEMA = 1;
    private static final int LARGEST_SIDE = 8192;
    private static final int ANY = Integer.MAX_VALUE;

    private ManifestReader() {}

    static Manifest parse(byte[] text) {
        JsonFields json = JsonFields.parse(text, FILE);
        if (json.whole("schema_version", 0, ANY) > SCHEMA) {
            throw json.refused(
                    "schema_version", "is that of a newer edgekit; this runtime reads up to " + SCHEMA);
        }
        String name = json.text("name");
        String task = json.text("task");
        List<Manifest.Listed> files = new ArrayList<>();
        for (JsonFields file : json.objects("files")) {
            files.add(new Manifest.Listed(inside(file, "name"), file.text("role"), file.text("sha256")));
        }
        if (json.has("parts")) {
            return combined(json, name, task, files);
        }

        List<Manifest.TensorSpec> inputs = tensors(json, "inputs");
        List<Manifest.TensorSpec> outputs = tensors(json, "outputs");
        if (inputs.size() != 1 || inputs.get(0).shape.length != 4) {
            throw json.refused("inputs", "is not one picture of four dimensions");
        }
        Preprocess preprocess = preprocess(json.object("preprocess"));
        Postprocess postprocess = postprocess(json.object("postprocess"));
        if (!postprocess.task().equals(task)) {
            throw json.refused("task", "is not that of postprocess.kind");
        }
        // Only where the input shows the whole picture do places in it say where things are in the picture.
        boolean isDetector = task.equals("detection") || task.equals("text_detection");
        boolean isPage = preprocess.resize.kind == Resize.Kind.PAGE;
        if (isDetector && (!preprocess.showsTheWholePicture() || isPage && task.equals("detection"))) {
            throw json.refused("preprocess", "of a detector does not show the whole picture");
        }
        List<String> labels = json.texts("labels");
        // Bundles of an edgekit that did not compare speeds name no default.
        String preferred = json.has("default") ? json.text("default").replace(".onnx", "") : "";
        return Manifest.single(name, files, inputs, outputs, preprocess, postprocess, labels, preferred);
    }

    private static Manifest combined(JsonFields json, String name, String task, List<Manifest.Listed> files) {
        List<String> parts = new ArrayList<>();
        for (JsonFields part : json.objects("parts")) {
            parts.add(inside(part, "path"));
        }
        if (parts.isEmpty()) {
            throw json.refused("parts", "is empty");
        }
        JsonFields chain = json.object("chain");
        chain.only("vertical", "turned", "least", "smallest");
        return Manifest.combined(
                name, task, files, parts,
                new Chain(
                        chain.number("vertical", Chain.DEFAULT.vertical),
                        chain.number("turned", Chain.DEFAULT.turned),
                        chain.number("least", Chain.DEFAULT.least),
                        chain.whole("smallest", 0, ANY, Chain.DEFAULT.smallest)));
    }

    /** A path below the bundle. */
    private static String inside(JsonFields json, String key) {
        String path = json.text(key);
        boolean isSafe = !path.isEmpty() && !path.startsWith("/") && path.indexOf('\0') < 0 && path.indexOf('\\') < 0
                && !Arrays.asList(path.split("/")).contains("..");
        if (!isSafe) {
            throw json.refused(json.at(key), "names the unsafe path \"" + path + "\"");
        }
        return path;
    }

    private static List<Manifest.TensorSpec> tensors(JsonFields json, String key) {
        List<Manifest.TensorSpec> tensors = new ArrayList<>();
        for (JsonFields tensor : json.objects(key)) {
            if (tensor.has("dtype") && !tensor.text("dtype").equals("float32")) {
                throw tensor.refused(tensor.at("dtype"), "is not float32");
            }
            int[] shape = tensor.wholes("shape", -1, ANY);
            tensors.add(new Manifest.TensorSpec(tensor.text("name"), Arrays.stream(shape).asLongStream().toArray()));
        }
        return tensors;
    }

    private static Preprocess preprocess(JsonFields json) {
        json.only("resize", "crop", "channels", "scale", "mean", "std");
        Resize resize = resize(json.object("resize"));
        Size crop = null;
        if (json.has("crop")) {
            if (resize.kind == Resize.Kind.LINE || resize.kind == Resize.Kind.PAGE) {
                throw json.refused(
                        json.at("crop"), "does not go with this kind of resize, which shows the whole picture");
            }
            int[] sides = json.wholes("crop", 1, LARGEST_SIDE);
            if (sides.length != 2) {
                throw json.refused(json.at("crop"), "is no height and width");
            }
            crop = new Size(sides[0], sides[1]);
        }
        boolean isRgb = !json.has("channels") || json.oneOf("channels", "rgb", "bgr").equals("rgb");
        float[] deviation = json.numbers("std", 3);
        for (float value : deviation) {
            if (value == 0) {
                throw json.refused(json.at("std"), "has a zero");
            }
        }
        return new Preprocess(
                resize, crop, isRgb, (float) json.number("scale", 1.0 / 255), json.numbers("mean", 3), deviation);
    }

    private static Resize resize(JsonFields json) {
        String kind = json.oneOf("kind", "exact", "short", "line", "page");
        int height = json.whole("height", 1, LARGEST_SIDE);
        int width = json.whole("width", 1, LARGEST_SIDE);
        String how = json.oneOf("interpolation", "nearest", "linear", "cubic", "area");
        Interpolation interpolation = Interpolation.valueOf(how.toUpperCase(Locale.ROOT));
        if (kind.equals("page")) {
            return page(json, height, width, interpolation);
        }
        json.only("kind", "height", "width", "widest", "interpolation");
        boolean isLine = kind.equals("line");
        if (json.has("widest") && !isLine) {
            throw json.refused(json.at("widest"), "goes with kind line only");
        }
        if (isLine) {
            int widest = json.has("widest") ? json.whole("widest", width, LARGEST_SIDE) : width;
            return Resize.line(height, width, widest, interpolation);
        }
        return kind.equals("short")
                ? Resize.shortSide(height, width, interpolation)
                : Resize.exact(height, width, interpolation);
    }

    private static Resize page(JsonFields json, int height, int width, Interpolation interpolation) {
        json.only("kind", "height", "width", "longest", "shortest", "multiple", "interpolation");
        int longest = json.whole("longest", 1, LARGEST_SIDE);
        int multiple = json.whole("multiple", 1, LARGEST_SIDE, 32);
        int shortest = json.has("shortest") ? json.whole("shortest", 1, longest) : 0;
        if (height % multiple != 0 || width % multiple != 0 || longest % multiple != 0) {
            throw json.refused(json.at("multiple"), "does not divide height, width and longest");
        }
        if (Math.max(height, width) > longest) {
            throw json.refused(json.at("longest"), "is below height or width");
        }
        return Resize.page(height, width, longest, shortest, multiple, interpolation);
    }

    private static Postprocess postprocess(JsonFields json) {
        switch (json.oneOf("kind", "classification", "detection", "text_detection", "text_recognition")) {
            case "classification":
                json.only("kind", "probabilities", "top_k");
                return new Classes.Post(json.text("probabilities"), json.whole("top_k", 1, ANY, 5));
            case "detection":
                json.only(
                        "kind", "boxes", "strides", "scores", "score_threshold", "nms_threshold", "nms_top_k",
                        "keep_top_k");
                return new Detections.Post(
                        json.text("boxes"),
                        json.text("scores"),
                        json.has("strides") ? json.wholes("strides", 1, LARGEST_SIDE) : new int[0],
                        (float) json.number("score_threshold", 0.025),
                        (float) json.number("nms_threshold", 0.6),
                        json.whole("nms_top_k", -1, ANY, 1000),
                        json.whole("keep_top_k", -1, ANY, 100));
            case "text_detection":
                return textDetection(json);
            default:
                json.only("kind", "probabilities", "space");
                return new Reading.Post(json.text("probabilities"), json.truth("space", true));
        }
    }

    private static Postprocess textDetection(JsonFields json) {
        json.only("kind", "map", "threshold", "box_threshold", "unclip_ratio", "max_candidates", "min_size");
        double ratio = json.number("unclip_ratio", 1.5);
        // Where regions shrink or grow beyond the picture, something is damaged.
        if (ratio < 0 || ratio > 100) {
            throw json.refused(json.at("unclip_ratio"), "is not from 0 to 100");
        }
        return new Regions.Post(
                json.text("map"),
                (float) json.number("threshold", 0.3),
                json.number("box_threshold", 0.6),
                ratio,
                json.whole("max_candidates", 0, ANY, 1000),
                json.whole("min_size", 0, LARGEST_SIDE, 3));
    }
}
