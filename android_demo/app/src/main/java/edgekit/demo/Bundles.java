package edgekit.demo;

import android.content.res.AssetManager;
import edgekit.runtime.Bundle;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** The bundles among the app's assets, where `edgekit android push` puts them. */
final class Bundles {
    private static final String FOLDER = "bundles";

    private Bundles() {}

    /** Every folder, whether it holds a bundle or not: what is wrong with it is said when it is opened. */
    static List<String> names(AssetManager assets) {
        Set<String> names = new LinkedHashSet<>();
        try {
            for (String found : assets.list(FOLDER)) {
                String name = found.split("/")[0]; // Robolectric gives the whole path of each file
                if (!name.equals(found) || assets.list(FOLDER + "/" + name).length > 0) { // below a file is nothing
                    names.add(name);
                }
            }
        } catch (IOException error) {
            return new ArrayList<>(); // which says that there are none
        }
        return new ArrayList<>(names);
    }

    /** Raises EdgekitException EK401 when there is no manifest, EK409 when it cannot be used. */
    static Bundle open(AssetManager assets, String name) {
        return Bundle.open(file -> stream(assets, FOLDER + "/" + name + "/" + file));
    }

    private static InputStream stream(AssetManager assets, String path) throws IOException {
        return assets.open(path, AssetManager.ACCESS_STREAMING);
    }
}
