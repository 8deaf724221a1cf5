package edgekit.runtime;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.io.StringReader;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;

/** A JSON object of which every member is checked as it is taken. All raise EK409, naming the key. */
final class JsonFields {
    private static final int DEEPEST = 64;
    private static final Pattern WHOLE = Pattern.compile("-?[0-9]{1,18}");

    private final String file;
    private final String where;
    private final JsonObject json;

    private JsonFields(String file, String where, JsonElement json) {
        this.file = file;
        this.where = where;
        if (!json.isJsonObject()) {
            throw refused(where, "is no object");
        }
        this.json = json.getAsJsonObject();
    }

    /** The object in a file of UTF-8. */
    static JsonFields parse(byte[] text, String file) {
        try {
            String decoded = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString();
            JsonReader reader = new JsonReader(new StringReader(decoded));
            reader.setStrictness(Strictness.STRICT);
            reader.setNestingLimit(DEEPEST);
            JsonElement json = JsonParser.parseReader(reader);
            if (reader.peek() != JsonToken.END_DOCUMENT) {
                throw new EdgekitException("EK409", file + " cannot be used: something follows its end.");
            }
            return new JsonFields(file, "", json);
        } catch (CharacterCodingException error) {
            throw new EdgekitException("EK409", file + " cannot be used: it is no text in UTF-8.", error);
        } catch (JsonParseException | IOException error) {
            throw new EdgekitException("EK409", file + " cannot be used: " + error.getMessage(), error);
        }
    }

    JsonObject json() {
        return json;
    }

    EdgekitException refused(String key, String why) {
        String name = key.isEmpty() ? "it" : key;
        return new EdgekitException("EK409", file + " cannot be used: " + name + " " + why + ".");
    }

    String at(String key) {
        return where.isEmpty() ? key : where + "." + key;
    }

    /** Whether the key is there, and not null. */
    boolean has(String key) {
        return json.has(key) && !json.get(key).isJsonNull();
    }

    JsonElement get(String key) {
        if (!json.has(key)) {
            throw refused(at(key), "is missing");
        }
        return json.get(key);
    }

    JsonFields object(String key) {
        return new JsonFields(file, at(key), get(key));
    }

    List<JsonElement> list(String key) {
        if (!get(key).isJsonArray()) {
            throw refused(at(key), "is no list");
        }
        JsonArray list = get(key).getAsJsonArray();
        return list.asList();
    }

    List<JsonFields> objects(String key) {
        List<JsonFields> objects = new ArrayList<>();
        for (JsonElement item : list(key)) {
            objects.add(new JsonFields(file, at(key), item));
        }
        return objects;
    }

    List<String> texts(String key) {
        List<String> texts = new ArrayList<>();
        for (JsonElement item : list(key)) {
            if (!item.isJsonPrimitive() || !item.getAsJsonPrimitive().isString()) {
                throw refused(at(key), "has something that is no text");
            }
            texts.add(item.getAsString());
        }
        return texts;
    }

    String text(String key) {
        JsonElement value = get(key);
        if (!value.isJsonPrimitive() || !value.getAsJsonPrimitive().isString()) {
            throw refused(at(key), "is no text");
        }
        return value.getAsString();
    }

    String oneOf(String key, String... known) {
        String text = text(key);
        if (!Arrays.asList(known).contains(text)) {
            throw refused(at(key), "is \"" + text + "\", known here: " + String.join(", ", known));
        }
        return text;
    }

    boolean truth(String key, boolean otherwise) {
        if (!json.has(key)) {
            return otherwise;
        }
        JsonElement value = get(key);
        if (!value.isJsonPrimitive() || !value.getAsJsonPrimitive().isBoolean()) {
            throw refused(at(key), "is neither true nor false");
        }
        return value.getAsBoolean();
    }

    double number(String key, double otherwise) {
        return json.has(key) ? number(get(key), key) : otherwise;
    }

    float[] numbers(String key, int count) {
        List<JsonElement> list = list(key);
        if (list.size() != count) {
            throw refused(at(key), "has not " + count + " numbers");
        }
        float[] numbers = new float[count];
        for (int i = 0; i < count; i++) {
            numbers[i] = (float) number(list.get(i), key);
        }
        return numbers;
    }

    int whole(String key, int least, int most) {
        return whole(get(key), key, least, most);
    }

    int whole(String key, int least, int most, int otherwise) {
        return json.has(key) ? whole(key, least, most) : otherwise;
    }

    int[] wholes(String key, int least, int most) {
        List<JsonElement> list = list(key);
        int[] wholes = new int[list.size()];
        for (int i = 0; i < wholes.length; i++) {
            wholes[i] = whole(list.get(i), key, least, most);
        }
        return wholes;
    }

    /** An option that is not known here would change the answers, were it passed over. */
    void only(String... known) {
        for (String key : json.keySet()) {
            if (!Arrays.asList(known).contains(key)) {
                throw refused(at(key), "is unknown: the bundle may be from a newer edgekit");
            }
        }
    }

    private int whole(JsonElement value, String key, int least, int most) {
        String text = digits(value);
        if (!WHOLE.matcher(text).matches() || Long.parseLong(text) < least || Long.parseLong(text) > most) {
            throw refused(at(key), "is no whole number from " + least + " to " + most);
        }
        return (int) Long.parseLong(text);
    }

    private double number(JsonElement value, String key) {
        String text = digits(value);
        // Every number ends up as float32, where the largest double would be infinite.
        if (text.isEmpty() || Float.isInfinite(Float.parseFloat(text))) {
            throw refused(at(key), "is no number of float32");
        }
        return Double.parseDouble(text);
    }

    /** A number as it is written; empty for anything else. */
    private static String digits(JsonElement value) {
        boolean isNumber = value.isJsonPrimitive() && value.getAsJsonPrimitive().isNumber();
        return isNumber ? value.getAsString() : "";
    }
}
