package edgekit.runtime;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;

/** A bundle in a folder on disk. */
public final class Folder implements Source {
    private final Path path;

    public Folder(Path path) {
        this.path = path;
    }

    @Override
    public InputStream open(String name) throws IOException {
        Path file;
        try {
            file = path.resolve(name);
        } catch (InvalidPathException error) { // letters that this system's file names cannot have
            throw new FileNotFoundException(error.getMessage());
        }
        if (!Files.isRegularFile(file)) {
            throw new FileNotFoundException(file + " is not there or is no file");
        }
        return Files.newInputStream(file);
    }
}
