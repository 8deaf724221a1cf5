package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.ByteArrayInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/** The bundle of make_bundle.py in memory, to be spoiled. */
final class Spoilable implements Source {
    private final Map<String, byte[]> files = new TreeMap<>();

    Spoilable() {
        files.put("manifest.json", resource("manifest.json"));
        for (JsonElement file : manifest().getAsJsonArray("files")) {
            String name = file.getAsJsonObject().get("name").getAsString();
            files.put(name, resource(name));
        }
    }

    private static byte[] resource(String name) {
        try (InputStream stream = Spoilable.class.getResourceAsStream("/bundle/" + name)) {
            return stream.readAllBytes();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public InputStream open(String name) throws IOException {
        if (!files.containsKey(name)) {
            throw new FileNotFoundException(name);
        }
        return new ByteArrayInputStream(files.get(name));
    }

    byte[] get(String name) {
        return files.get(name);
    }

    JsonObject manifest() {
        return json("manifest.json");
    }

    private JsonObject json(String name) {
        return JsonParser.parseString(new String(files.get(name), StandardCharsets.UTF_8)).getAsJsonObject();
    }

    Spoilable without(String name) {
        files.remove(name);
        return this;
    }

    /** Its hash stays as it was. */
    Spoilable with(String name, UnaryOperator<byte[]> change) {
        files.put(name, change.apply(files.get(name).clone()));
        return this;
    }

    Spoilable withJson(String name, Consumer<JsonObject> change) {
        JsonObject json = json(name);
        change.accept(json);
        files.put(name, json.toString().getBytes(StandardCharsets.UTF_8));
        return this;
    }

    /** As if the files had been written like this: only their contents can give them away. */
    Spoilable rehashed() {
        return withJson("manifest.json", manifest -> {
            JsonArray list = manifest.getAsJsonArray("files");
            for (JsonElement file : list) {
                JsonObject entry = file.getAsJsonObject();
                entry.addProperty("sha256", sha256(files.get(entry.get("name").getAsString())));
            }
        });
    }

    private static String sha256(byte[] data) {
        try {
            return String.format("%064x", new BigInteger(1, MessageDigest.getInstance("SHA-256").digest(data)));
        } catch (NoSuchAlgorithmException error) {
            throw new AssertionError(error);
        }
    }
}
