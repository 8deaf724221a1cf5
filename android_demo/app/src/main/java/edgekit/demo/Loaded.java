package edgekit.demo;

import android.content.Context;
import edgekit.runtime.Answer;
import edgekit.runtime.Bundle;
import edgekit.runtime.EdgekitException;
import edgekit.runtime.Model;
import edgekit.runtime.Picture;
import edgekit.runtime.TextReader;
import edgekit.runtime.Times;

/** Networks in memory: one model, or the parts that read text. For one thread at a time. */
final class Loaded implements AutoCloseable {
    final Setup setup;
    private final Model model;
    private final TextReader reader;

    private Loaded(Setup setup, Model model, TextReader reader) {
        this.setup = setup;
        this.model = model;
        this.reader = reader;
    }

    /** Raises EdgekitException for whatever is wrong with the bundle or the engine. */
    static Loaded open(Context context, Setup setup) {
        Bundle bundle = Bundles.open(context.getAssets(), setup.bundle);
        if (!bundle.manifest().isCombined()) {
            return new Loaded(setup, model(context, bundle, setup), null);
        }
        if (setup.lite) {
            throw new EdgekitException("EK107", "Text is read with ONNX Runtime: this demo has no chain for Paddle Lite.");
        }
        return new Loaded(setup, null, new TextReader(bundle, setup.model, setup.threads));
    }

    static Model model(Context context, Bundle bundle, Setup setup) {
        return setup.lite
                ? LiteNetwork.model(context, bundle, setup)
                : Model.load(bundle, setup.model, setup.threads);
    }

    Shown answer(Picture picture) {
        Times times = new Times();
        if (reader != null) {
            return Shown.of(reader.read(picture, times), times);
        }
        Answer answer = model.answer(picture, times);
        return Shown.of(answer, times);
    }

    @Override
    public void close() {
        if (model != null) {
            model.close();
        }
        if (reader != null) {
            reader.close();
        }
    }
}
