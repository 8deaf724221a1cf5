package edgekit.demo;

import android.content.Intent;

/** What the user chose to run. */
final class Setup {
    final String bundle;
    final String model; // "int8" or "fp32"
    final int threads;
    final boolean lite; // Paddle Lite, not ONNX Runtime

    Setup(String bundle, String model, int threads, boolean lite) {
        this.bundle = bundle;
        this.model = model;
        this.threads = threads;
        this.lite = lite;
    }

    static Setup of(Intent intent) {
        return new Setup(
                intent.getStringExtra("bundle"),
                intent.getStringExtra("model"),
                intent.getIntExtra("threads", 1),
                intent.getBooleanExtra("lite", false));
    }

    Intent into(Intent intent) {
        return intent.putExtra("bundle", bundle)
                .putExtra("model", model)
                .putExtra("threads", threads)
                .putExtra("lite", lite);
    }

    boolean isSame(Setup other) {
        return other != null && bundle.equals(other.bundle) && model.equals(other.model) && threads == other.threads
                && lite == other.lite;
    }
}
