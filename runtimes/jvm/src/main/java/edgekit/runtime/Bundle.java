package edgekit.runtime;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;

/** A bundle that edgekit wrote: a manifest and files. */
public final class Bundle {
    private static final int BLOCK = 1 << 16; // bytes

    private final Source source;
    private final Manifest manifest;

    private Bundle(Source source, Manifest manifest) {
        this.source = source;
        this.manifest = manifest;
    }

    /** Reads the manifest. Raises EK401 when there is none, EK409 when it cannot be used. */
    public static Bundle open(Source source) {
        return new Bundle(source, ManifestReader.parse(read(source, ManifestReader.FILE)));
    }

    public Manifest manifest() {
        return manifest;
    }

    /** Of a combined bundle its parts, otherwise the bundle itself. Raises EK401 and EK409. */
    public List<Bundle> parts() {
        if (!manifest.isCombined()) {
            return Collections.singletonList(this);
        }
        List<Bundle> parts = new ArrayList<>();
        for (String part : manifest.parts) {
            Bundle bundle = open(name -> source.open(part + "/" + name));
            if (bundle.manifest.isCombined()) {
                throw new EdgekitException(
                        "EK409",
                        ManifestReader.FILE + " cannot be used: the part " + part + " is itself a combined one.");
            }
            parts.add(bundle);
        }
        return parts;
    }

    /**
     * The role of the model that runs: `wanted` ("fp32", "int8", "fp32.onnx" or "int8.onnx"), or the manifest's default
     * when it is empty. Raises EK401 when the bundle has no such file, EK107 for a combined bundle.
     */
    public String model(String wanted) {
        if (manifest.isCombined()) {
            throw new EdgekitException(
                    "EK107", manifest.name + " is a combined bundle: open one of its parts, which are its folders.");
        }
        String[] order = wanted.isEmpty() ? new String[] {manifest.preferred, "int8", "fp32"} : new String[] {wanted};
        for (String kind : order) {
            String role = kind.endsWith(".onnx") ? kind : kind + ".onnx";
            if (find(role) != null) {
                return role;
            }
        }
        throw new EdgekitException(
                "EK401", "The bundle " + manifest.name + " has no " + (wanted.isEmpty() ? "ONNX" : wanted) + " file.");
    }

    /** Whether there is a file with a role, "int8.onnx" or "int8.nb". */
    public boolean has(String role) {
        return find(role) != null;
    }

    /** Every listed file against its sha256. Raises EK401 and EK402. */
    public void checkHashes() {
        for (Manifest.Listed file : manifest.files) {
            checkHash(file);
        }
    }

    /** The bytes of a file with a role, its sha256 checked. Raises EK401 and EK402. */
    public byte[] checked(String role) {
        Manifest.Listed file = find(role);
        if (file == null) {
            throw new EdgekitException("EK401", "The bundle " + manifest.name + " has no file for " + role + ".");
        }
        byte[] data = read(file.name);
        MessageDigest digest = sha256();
        digest.update(data);
        compare(file, digest);
        return data;
    }

    /** Raises EK401 when the file cannot be read. */
    byte[] read(String name) {
        return read(source, name);
    }

    private Manifest.Listed find(String role) {
        for (Manifest.Listed file : manifest.files) {
            if (file.role.equals(role)) {
                return file;
            }
        }
        return null;
    }

    private void checkHash(Manifest.Listed file) {
        MessageDigest digest = sha256();
        each(source, file.name, digest::update);
        compare(file, digest);
    }

    private static void compare(Manifest.Listed file, MessageDigest digest) {
        StringBuilder found = new StringBuilder();
        for (byte value : digest.digest()) {
            found.append(String.format(Locale.ROOT, "%02x", value));
        }
        if (!found.toString().equals(file.sha256)) {
            throw new EdgekitException(
                    "EK402",
                    file.name + " is damaged: its sha256 is " + found + ", the manifest says " + file.sha256 + ".");
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException error) {
            throw new AssertionError(error); // every Java platform must have it
        }
    }

    private static byte[] read(Source source, String name) {
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        each(source, name, data::write);
        return data.toByteArray();
    }

    private interface Taker {
        void take(byte[] block, int start, int count);
    }

    private static void each(Source source, String name, Taker taker) {
        try (InputStream stream = source.open(name)) {
            byte[] block = new byte[BLOCK];
            for (int count = stream.read(block); count >= 0; count = stream.read(block)) {
                taker.take(block, 0, count);
            }
        } catch (IOException error) {
            throw new EdgekitException("EK401", name + " of the bundle cannot be read: " + error.getMessage() + ".", error);
        }
    }
}
