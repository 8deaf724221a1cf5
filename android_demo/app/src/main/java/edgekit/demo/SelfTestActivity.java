package edgekit.demo;

import android.app.Activity;
import android.content.Context;
import android.os.Bundle;
import android.widget.TextView;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import edgekit.runtime.SelfTest;

/** Holds a bundle against its golden vectors on this device: green, or what differs first. */
public final class SelfTestActivity extends Activity {
    /** What stays when the device is turned. */
    private static final class Desk {
        final Work work;
        JsonObject result;

        Desk(Work work) {
            this.work = work;
        }
    }

    private Desk desk;

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        setContentView(R.layout.self_test);
        desk = (Desk) getLastNonConfigurationInstance();
        if (desk == null) {
            desk = new Desk(new Work(this));
            start();
        }
        findViewById(R.id.share).setOnClickListener(view -> Told.share(this, Told.json(desk.result)));
        desk.work.tell(this::render);
        render();
    }

    private void start() {
        Setup setup = Setup.of(getIntent());
        Context context = getApplicationContext();
        Desk at = desk;
        at.work.start(
                () -> SelfTest.run(
                        Bundles.open(context.getAssets(), setup.bundle), setup.model, setup.threads, Photos::decode),
                result -> at.result = result);
    }

    private void render() {
        TextView verdict = findViewById(R.id.verdict);
        TextView details = findViewById(R.id.answer);
        findViewById(R.id.share).setEnabled(desk.result != null);
        if (!desk.work.message().isEmpty()) {
            tell(verdict, desk.work.message(), R.color.bad);
        } else if (desk.result == null) {
            tell(verdict, getString(R.string.working), R.color.primary);
        } else {
            JsonObject failed = failed(desk.result);
            if (failed == null) {
                tell(verdict, getString(R.string.passed), R.color.good);
            } else {
                String at = failed.get("where").getAsString() + ", " + failed.get("why").getAsString();
                String stage = failed.get("stage").getAsString();
                tell(verdict, getString(R.string.differs, stage, at), R.color.bad);
            }
            details.setText(Told.json(desk.result));
        }
    }

    private void tell(TextView view, String text, int colour) {
        view.setText(text);
        view.setTextColor(getColor(colour));
    }

    /** What differs first, of a combined bundle in any part; null when nothing does. */
    private static JsonObject failed(JsonObject result) {
        if (result.has("parts")) {
            for (JsonElement part : result.getAsJsonArray("parts")) {
                JsonObject failed = failed(part.getAsJsonObject());
                if (failed != null) {
                    return failed;
                }
            }
            return null;
        }
        return SelfTest.passed(result) ? null : result.getAsJsonObject("failed");
    }

    @Override
    public Object onRetainNonConfigurationInstance() {
        return desk;
    }

    @Override
    protected void onDestroy() {
        super.onDestroy();
        desk.work.tell(() -> {});
        if (!isChangingConfigurations()) {
            desk.work.end(() -> {});
        }
    }
}
