package edgekit.runtime;

import java.io.IOException;
import java.io.InputStream;

/**
 * Where a bundle's files come from: a folder (see {@link Folder}), an app's assets, an archive. Names are relative to the
 * bundle, with slashes: "golden/0/input.npy".
 */
@FunctionalInterface
public interface Source {
    /** Raises IOException when there is no such file, or when it cannot be read. */
    InputStream open(String name) throws IOException;
}
