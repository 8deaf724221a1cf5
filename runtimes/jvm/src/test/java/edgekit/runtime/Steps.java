package edgekit.runtime;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/**
 * Runs single steps of the runtime on what Python's tests give it: one step a line of a file, its words separated by
 * tabs. Arrays come as NumPy's float32 and go as bare float32.
 *
 * <pre>
 * resize PICTURE KIND HEIGHT WIDTH OUT
 * decode PICTURE OUT
 * preprocess MANIFEST PICTURE OUT
 * cut PICTURE QUADS.npy OUT   quads [n, 4, 2]; OUT0, OUT1, ... are the lines
 * order QUADS.npy OUT.json    the quads, sorted
 * answers MANIFEST HEIGHT WIDTH PICTURE_HEIGHT PICTURE_WIDTH OUT.json NAME=FILE.npy...   outputs [n, ...] of n pictures
 * </pre>
 */
public final class Steps {
    private Steps() {}

    public static void main(String[] arguments) throws IOException {
        for (String line : Files.readAllLines(Paths.get(arguments[0]))) {
            step(line.split("\t"));
        }
    }

    private static void step(String[] words) throws IOException {
        switch (words[0]) {
            case "resize":
                Interpolation kind = Interpolation.valueOf(words[2].toUpperCase(Locale.ROOT));
                int height = Integer.parseInt(words[3]);
                int width = Integer.parseInt(words[4]);
                write(words[5], samples(Resizing.resized(picture(words[1]), height, width, kind)));
                break;
            case "decode":
                write(words[2], samples(picture(words[1])));
                break;
            case "preprocess":
                write(words[3], manifest(words[1]).preprocess.apply(picture(words[2])).values);
                break;
            case "cut":
                Picture page = picture(words[1]);
                List<double[][]> quads = quads(words[2]);
                for (int k = 0; k < quads.size(); k++) {
                    Picture line = TextLines.cutOut(page, quads.get(k), Chain.DEFAULT.vertical);
                    write(words[3] + k, samples(line));
                }
                break;
            case "order":
                String json = new Gson().toJson(TextLines.readingOrder(quads(words[1])));
                Files.write(Paths.get(words[2]), json.getBytes(StandardCharsets.UTF_8));
                break;
            case "answers":
                answers(words);
                break;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private static void answers(String[] words) throws IOException {
        Manifest manifest = manifest(words[1]);
        Size input = new Size(Integer.parseInt(words[2]), Integer.parseInt(words[3]));
        Size picture = new Size(Integer.parseInt(words[4]), Integer.parseInt(words[5]));
        Map<String, Tensor> outputs = new TreeMap<>();
        for (String word : Arrays.asList(words).subList(7, words.length)) {
            int at = word.indexOf('=');
            outputs.put(word.substring(0, at), Npy.parse(bytes(word.substring(at + 1)), word));
        }
        JsonArray answers = new JsonArray();
        long pictures = outputs.values().iterator().next().shape[0];
        for (int k = 0; k < pictures; k++) {
            Map<String, Tensor> one = new TreeMap<>();
            for (Map.Entry<String, Tensor> output : outputs.entrySet()) {
                long[] shape = output.getValue().shape.clone();
                int size = output.getValue().values.length / (int) shape[0];
                shape[0] = 1;
                float[] values = Arrays.copyOfRange(output.getValue().values, k * size, (k + 1) * size);
                one.put(output.getKey(), new Tensor(shape, values));
            }
            answers.add(manifest.postprocess.answer(one, manifest.labels, input, picture).json());
        }
        Files.write(Paths.get(words[6]), answers.toString().getBytes(StandardCharsets.UTF_8));
    }

    private static List<double[][]> quads(String path) throws IOException {
        Tensor tensor = Npy.parse(bytes(path), path);
        List<double[][]> quads = new ArrayList<>();
        for (int at = 0; at < tensor.values.length; at += 8) {
            double[][] quad = new double[4][2];
            for (int i = 0; i < 8; i++) {
                quad[i / 2][i % 2] = tensor.values[at + i];
            }
            quads.add(quad);
        }
        return quads;
    }

    private static byte[] bytes(String path) throws IOException {
        return Files.readAllBytes(Paths.get(path));
    }

    private static Manifest manifest(String path) throws IOException {
        return ManifestReader.parse(bytes(path));
    }

    private static Picture picture(String path) throws IOException {
        return Decoding.decode(bytes(path), path);
    }

    private static float[] samples(Picture picture) {
        float[] samples = new float[picture.pixels.length];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = picture.pixels[i] & 0xff;
        }
        return samples;
    }

    private static void write(String path, float[] values) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        Path file = Paths.get(path);
        Files.write(file, bytes.array());
    }
}
