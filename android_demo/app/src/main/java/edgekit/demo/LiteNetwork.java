package edgekit.demo;

import android.content.Context;
import edgekit.runtime.Bundle;
import edgekit.runtime.EdgekitException;
import edgekit.runtime.Model;
import edgekit.runtime.Network;
import edgekit.runtime.Tensor;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Paddle Lite, when its jar and its library are in the app. They are in no registry, so nothing here names their classes
 * but by reflection.
 */
final class LiteNetwork implements Network {
    private static final String PREDICTOR = "com.baidu.paddle.lite.PaddlePredictor";
    private static final String CONFIG = "com.baidu.paddle.lite.MobileConfig";
    private static final String BASE = "com.baidu.paddle.lite.ConfigBase";
    private static final String LIBRARY = "libpaddle_lite_jni.so";
    // A .nb file begins with two bytes of its format's version, then the version of the tool that wrote it.
    private static final int VERSION_AT = 2;
    private static final int VERSION_BYTES = 16;

    private final Object predictor;
    private final List<String> outputs;
    private final String engine;

    private LiteNetwork(Object predictor, List<String> outputs, String engine) {
        this.predictor = predictor;
        this.outputs = outputs;
        this.engine = engine;
    }

    static boolean isThere() {
        try {
            Class.forName(PREDICTOR, false, LiteNetwork.class.getClassLoader());
            return true;
        } catch (ClassNotFoundException error) {
            return false;
        }
    }

    /**
     * Raises EdgekitException EK401 and EK402 (no such file, or a damaged one), EK502 when the library is of another
     * version than the file, which Paddle Lite does not survive, and EK501 when it cannot load it.
     */
    static Model model(Context context, Bundle bundle, Setup setup) {
        String role = setup.model + ".nb";
        byte[] file = bundle.checked(role);
        String version = version(file);
        if (!mentions(context, version)) {
            throw new EdgekitException(
                    "EK502", "The " + role + " was written for Paddle Lite " + version + ", and the app's " + LIBRARY
                            + " is of another version, or is not there.");
        }
        Object predictor = predictor(context, file, setup.threads);
        if (predictor == null) {
            throw new EdgekitException("EK501", "Paddle Lite cannot load the " + role + ".");
        }
        LiteNetwork network =
                new LiteNetwork(predictor, bundle.manifest().outputNames(), "Paddle Lite " + version);
        return Model.of(bundle, role, network);
    }

    static String version(byte[] file) {
        int start = Math.min(VERSION_AT, file.length);
        int end = start;
        while (end < Math.min(file.length, VERSION_AT + VERSION_BYTES) && file[end] != 0) {
            end++;
        }
        String version = new String(file, start, end - start, StandardCharsets.ISO_8859_1);
        if (!version.matches("v[0-9][\\w.-]*")) {
            throw new EdgekitException("EK409", "The .nb file does not say which Paddle Lite wrote it.");
        }
        return version;
    }

    /** Whether the library holds its version as a text: only a loaded model could be asked for it. */
    private static boolean mentions(Context context, String version) {
        byte[] text = ("\0" + version + "\0").getBytes(StandardCharsets.ISO_8859_1);
        File unpacked = new File(context.getApplicationInfo().nativeLibraryDir, LIBRARY);
        try {
            if (unpacked.isFile()) {
                try (InputStream stream = new FileInputStream(unpacked)) {
                    return contains(stream, text);
                }
            }
            try (ZipFile apk = new ZipFile(context.getApplicationInfo().sourceDir)) {
                for (String abi : android.os.Build.SUPPORTED_ABIS) {
                    ZipEntry entry = apk.getEntry("lib/" + abi + "/" + LIBRARY);
                    if (entry != null) {
                        try (InputStream stream = apk.getInputStream(entry)) {
                            return contains(stream, text);
                        }
                    }
                }
            }
        } catch (IOException error) {
            return false;
        }
        return false;
    }

    /** A text without repetitions of its first byte within, which a version between two zeros is. */
    static boolean contains(InputStream stream, byte[] text) throws IOException {
        byte[] block = new byte[1 << 16];
        int matched = 0;
        for (int count = stream.read(block); count >= 0; count = stream.read(block)) {
            for (int i = 0; i < count; i++) {
                if (block[i] == text[matched]) {
                    matched++;
                    if (matched == text.length) {
                        return true;
                    }
                } else {
                    matched = block[i] == text[0] ? 1 : 0;
                }
            }
        }
        return false;
    }

    private static Object predictor(Context context, byte[] file, int threads) {
        File copy = new File(context.getCacheDir(), "model.nb"); // Paddle Lite reads files, not assets
        try (FileOutputStream stream = new FileOutputStream(copy)) {
            stream.write(file);
        } catch (IOException error) {
            throw new EdgekitException("EK410", "The .nb file cannot be unpacked: " + error.getMessage(), error);
        }
        try {
            Class<?> base = Class.forName(BASE);
            Constructor<?> constructor = Class.forName(CONFIG).getConstructor();
            Object config = constructor.newInstance();
            base.getMethod("setModelFromFile", String.class).invoke(config, copy.getPath());
            base.getMethod("setThreads", int.class).invoke(config, threads);
            return Class.forName(PREDICTOR).getMethod("createPaddlePredictor", base).invoke(null, config);
        } catch (ReflectiveOperationException | LinkageError error) {
            throw failed(error);
        }
    }

    @Override
    public Map<String, Tensor> run(Tensor input) {
        try {
            Object feed = call(predictor, "getInput", int.class, 0);
            call(feed, "resize", long[].class, input.shape());
            call(feed, "setData", float[].class, input.values());
            if (!(boolean) call(predictor, "run")) {
                throw new EdgekitException("EK501", "Paddle Lite failed to run the network.");
            }
            Map<String, Tensor> found = new TreeMap<>();
            for (int k = 0; k < outputs.size(); k++) {
                Object output = call(predictor, "getOutput", int.class, k);
                found.put(outputs.get(k), new Tensor((long[]) call(output, "shape"), (float[]) call(output, "getFloatData")));
            }
            return found;
        } catch (ReflectiveOperationException | LinkageError error) {
            throw failed(error);
        }
    }

    private static Object call(Object on, String name, Class<?> type, Object argument)
            throws ReflectiveOperationException {
        return on.getClass().getMethod(name, type).invoke(on, argument);
    }

    private static Object call(Object on, String name) throws ReflectiveOperationException {
        return on.getClass().getMethod(name).invoke(on);
    }

    private static EdgekitException failed(Throwable error) {
        Throwable cause = error instanceof InvocationTargetException ? error.getCause() : error;
        return new EdgekitException("EK501", "Paddle Lite failed: " + cause, cause);
    }

    @Override
    public String engine() {
        return engine;
    }

    @Override
    public void close() {
        // Its predictor frees itself when it is collected.
    }
}
