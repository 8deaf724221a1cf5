package edgekit.demo;

import android.content.res.AssetManager;
import edgekit.runtime.Bundle;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;

/** The bundles among the app's assets, where `edgekit android push` puts them. */
final class Bundles {
    private static final String FOLDER = "bundles";

    private Bundles() {}

    /** Every folder, whether it holds a bundle or not: what is wrong with it is said when it is opened. */
    static List<String> names(AssetManager assets) {
        List<String> names = new ArrayList<>();
        try {
            for (String name : assets.list(FOLDER)) {
                if (assets.list(FOLDER + "/" + name).length > 0) { // a file has nothing below it
                    names.add(name);
                }
            }
        } catch (IOException error) {
            return names; // which says that there are none
        }
        return names;
    }

    /** Raises EdgekitException EK401 when there is no manifest, EK409 when it cannot be used. */
    static Bundle open(AssetManager assets, String name) {
        return Bundle.open(file -> stream(assets, FOLDER + "/" + name + "/" + file));
    }

    private static InputStream stream(AssetManager assets, String path) throws IOException {
        return assets.open(path, AssetManager.ACCESS_STREAMING);
    }
}
