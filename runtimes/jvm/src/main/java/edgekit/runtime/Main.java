package edgekit.runtime;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The command. Exit codes are edgekit's: 0 done, 1 a bug, 2 wrong command line, 3 self-test failed, 4 bad bundle or
 * picture, 5 the engine failed.
 */
public final class Main {
    private static final String USAGE = String.join(
            "\n",
            "Usage:",
            "  java -jar edgekit-runtime.jar run BUNDLE PICTURE... [--model KIND] [--threads N]",
            "      answers as JSON, one line a picture; of a combined bundle the lines of text",
            "  java -jar edgekit-runtime.jar self-test BUNDLE [--model KIND] [--threads N]",
            "      holds the bundle against its golden vectors",
            "  java -jar edgekit-runtime.jar bench BUNDLE [--model KIND] [--threads N] [--warmup N] [--repeats N]",
            "KIND is int8 or fp32; without it the manifest's default runs. Pictures are PNG or JPEG.");
    private static final int FAILED = 3;
    private static final int BUG = 1;
    private static final int MOST = 1_000_000;

    private final List<String> words = new ArrayList<>();
    private final Map<String, Integer> numbers = new LinkedHashMap<>();
    private final PrintStream out;
    private String model = "";

    private Main(String[] arguments, PrintStream out) {
        this.out = out;
        numbers.put("--threads", 1);
        numbers.put("--warmup", 20);
        numbers.put("--repeats", 100);
        for (int i = 0; i < arguments.length; i++) {
            String word = arguments[i];
            if (!word.startsWith("--")) {
                words.add(word);
                continue;
            }
            if (!word.equals("--model") && !numbers.containsKey(word)) {
                throw misused("There is no option " + word + ".");
            }
            if (++i == arguments.length) {
                throw misused(word + " needs a value.");
            }
            if (word.equals("--model")) {
                model = arguments[i];
            } else {
                numbers.put(word, number(word, arguments[i]));
            }
        }
    }

    public static void main(String[] arguments) {
        // JSON is UTF-8, whatever the terminal's character set.
        PrintStream out = utf8(FileDescriptor.out);
        PrintStream err = utf8(FileDescriptor.err);
        int code = run(arguments, out, err);
        out.flush();
        err.flush();
        System.exit(code);
    }

    /** Returns the exit code. */
    static int run(String[] arguments, PrintStream out, PrintStream err) {
        try {
            return new Main(arguments, out).run();
        } catch (EdgekitException error) {
            err.println("error " + error.code() + ": " + error.getMessage());
            return error.exitCode();
        } catch (RuntimeException | Error error) {
            err.println("error: a bug in edgekit-runtime: " + error);
            return BUG;
        }
    }

    private static PrintStream utf8(FileDescriptor to) {
        return new PrintStream(new FileOutputStream(to), false, StandardCharsets.UTF_8);
    }

    private static EdgekitException misused(String why) {
        return new EdgekitException("EK107", why + "\n" + USAGE);
    }

    private static int number(String option, String text) {
        int least = option.equals("--warmup") ? 0 : 1;
        try {
            int number = Integer.parseInt(text);
            if (number >= least && number <= MOST) {
                return number;
            }
        } catch (NumberFormatException error) {
            // told below
        }
        throw misused(option + " " + text + ": a whole number from " + least + " on, please.");
    }

    private int run() {
        switch (words.isEmpty() ? "" : words.get(0)) {
            case "run":
                return answers();
            case "self-test":
                return selfTest();
            case "bench":
                return bench();
            default:
                throw misused("What shall be done?");
        }
    }

    private int answers() {
        if (words.size() < 3) {
            throw misused("run needs a bundle and a picture.");
        }
        Bundle bundle = bundle();
        if (bundle.manifest().isCombined()) {
            return texts(bundle);
        }
        try (Model opened = Model.load(bundle, model, numbers.get("--threads"))) {
            for (String name : words.subList(2, words.size())) {
                Picture picture = Decoding.decode(read(name), name);
                JsonObject line = head(name, picture);
                line.addProperty("model", opened.role());
                opened.answer(picture).json().entrySet().forEach(item -> line.add(item.getKey(), item.getValue()));
                print(new GsonBuilder(), line);
            }
        }
        return 0;
    }

    private int texts(Bundle bundle) {
        try (TextReader reader = new TextReader(bundle, model, numbers.get("--threads"))) {
            for (String name : words.subList(2, words.size())) {
                Picture picture = Decoding.decode(read(name), name);
                JsonArray lines = new JsonArray();
                reader.read(picture).forEach(line -> lines.add(line.json()));
                JsonObject json = head(name, picture);
                json.add("models", reader.roles());
                json.add("lines", lines);
                print(new GsonBuilder(), json);
            }
        }
        return 0;
    }

    private static JsonObject head(String name, Picture picture) {
        JsonObject json = new JsonObject();
        json.addProperty("picture", name);
        json.addProperty("width", picture.width);
        json.addProperty("height", picture.height);
        return json;
    }

    private int selfTest() {
        if (words.size() != 2) {
            throw misused("self-test needs one bundle.");
        }
        JsonObject result = SelfTest.run(bundle(), model, numbers.get("--threads"), Decoding::decode);
        print(new GsonBuilder().setPrettyPrinting(), result);
        return SelfTest.passed(result) ? 0 : FAILED;
    }

    private int bench() {
        if (words.size() != 2) {
            throw misused("bench needs one bundle.");
        }
        Bundle bundle = bundle();
        int threads = numbers.get("--threads");
        try (Model opened = Model.load(bundle, model, threads)) {
            JsonObject result = Bench.run(
                    bundle, opened, threads, numbers.get("--warmup"), numbers.get("--repeats"), Decoding::decode);
            print(new GsonBuilder().setPrettyPrinting(), result);
        }
        return 0;
    }

    private void print(GsonBuilder form, JsonElement json) {
        Gson gson = form.disableHtmlEscaping().serializeNulls().create();
        out.println(gson.toJson(json));
    }

    private Bundle bundle() {
        return Bundle.open(new Folder(path(words.get(1))));
    }

    private static byte[] read(String name) {
        try {
            return Files.readAllBytes(path(name));
        } catch (IOException error) {
            throw new EdgekitException("EK401", name + " cannot be read: " + error.getMessage() + ".", error);
        }
    }

    private static Path path(String name) {
        try {
            return Paths.get(name);
        } catch (InvalidPathException error) {
            throw new EdgekitException("EK401", name + " is no path: " + error.getMessage() + ".", error);
        }
    }
}
