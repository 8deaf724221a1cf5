package edgekit.demo;

import android.app.Activity;
import android.content.ActivityNotFoundException;
import android.content.Context;
import android.content.Intent;
import android.graphics.Bitmap;
import android.net.Uri;
import android.view.View;
import android.widget.AdapterView;
import android.widget.ArrayAdapter;
import android.widget.Spinner;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import edgekit.runtime.Bench;
import edgekit.runtime.Bundle;
import edgekit.runtime.Model;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** Chooses a bundle and a picture, and shows the answer. */
public final class MainActivity extends Activity {
    private static final int PICK = 1;
    private static final List<String> MODELS = Arrays.asList("int8", "float");
    private static final List<Integer> THREADS = Arrays.asList(1, 2, 4);
    private static final int WARMUP = 5;
    private static final int REPEATS = 30;

    /** What stays when the device is turned. */
    private static final class Desk {
        final Work work;
        Setup setup;
        Bitmap bitmap;
        Shown shown;
        String results = ""; // to be shared as soon as an activity can
        Loaded loaded; // of the working thread

        Desk(Work work) {
            this.work = work;
        }

        /** On the working thread. */
        Loaded loaded(Context context, Setup wanted) {
            if (loaded == null || !loaded.setup.isSame(wanted)) {
                close();
                loaded = Loaded.open(context, wanted);
            }
            return loaded;
        }

        void close() {
            if (loaded != null) {
                loaded.close();
                loaded = null;
            }
        }
    }

    private Desk desk;

    @Override
    protected void onCreate(android.os.Bundle state) {
        super.onCreate(state);
        setContentView(R.layout.main);
        desk = (Desk) getLastNonConfigurationInstance();
        if (desk == null) {
            desk = new Desk(new Work(this));
        }
        List<String> bundles = Bundles.names(getAssets());
        fill(R.id.bundle, bundles);
        fill(R.id.model, MODELS);
        fill(R.id.threads, Arrays.asList("1 thread", "2 threads", "4 threads"));
        fill(R.id.engine, Arrays.asList("ONNX Runtime", "Paddle Lite"));
        findViewById(R.id.engine).setVisibility(LiteNetwork.isThere() ? View.VISIBLE : View.GONE);
        findViewById(R.id.pick).setOnClickListener(view -> pick());
        findViewById(R.id.camera).setOnClickListener(view -> open(CameraActivity.class));
        findViewById(R.id.self_test).setOnClickListener(view -> open(SelfTestActivity.class));
        findViewById(R.id.measure).setOnClickListener(view -> measure());
        desk.work.tell(this::render);
        if (bundles.isEmpty()) {
            desk.work.say(getString(R.string.no_bundles));
        }
        render();
    }

    private void fill(int id, List<String> choices) {
        ArrayAdapter<String> adapter = new ArrayAdapter<>(this, android.R.layout.simple_spinner_item, choices);
        adapter.setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item);
        Spinner spinner = findViewById(id);
        spinner.setAdapter(adapter);
        spinner.setOnItemSelectedListener(new AdapterView.OnItemSelectedListener() {
            @Override
            public void onItemSelected(AdapterView<?> parent, View view, int position, long row) {
                chosen();
            }

            @Override
            public void onNothingSelected(AdapterView<?> parent) {}
        });
    }

    private int position(int id) {
        return ((Spinner) findViewById(id)).getSelectedItemPosition();
    }

    /** What the switches say; null without any bundle. */
    private Setup setup() {
        Object bundle = ((Spinner) findViewById(R.id.bundle)).getSelectedItem();
        if (bundle == null) {
            return null;
        }
        String model = position(R.id.model) == 0 ? "int8" : "fp32";
        return new Setup((String) bundle, model, THREADS.get(position(R.id.threads)), position(R.id.engine) == 1);
    }

    /** Another choice answers the same picture again. */
    private void chosen() {
        Setup setup = setup();
        if (setup != null && !setup.isSame(desk.setup)) {
            desk.setup = setup;
            if (desk.bitmap != null) {
                answer(desk.bitmap);
            }
        }
    }

    private void pick() {
        Intent intent = new Intent(Intent.ACTION_GET_CONTENT).setType("image/*").addCategory(Intent.CATEGORY_OPENABLE);
        try {
            startActivityForResult(intent, PICK);
        } catch (ActivityNotFoundException error) {
            desk.work.say(getString(R.string.no_picture_app));
        }
    }

    @Override
    protected void onActivityResult(int request, int result, Intent data) {
        super.onActivityResult(request, result, data);
        if (request == PICK && result == RESULT_OK && data != null && data.getData() != null) {
            show(data.getData());
        }
    }

    private void show(Uri uri) {
        Context context = getApplicationContext();
        Desk at = desk;
        at.bitmap = null;
        at.shown = null;
        at.work.start(() -> Photos.bitmap(read(context, uri), context.getString(R.string.picture)), bitmap -> {
            at.bitmap = bitmap;
            answer(bitmap);
        });
    }

    private static byte[] read(Context context, Uri uri) throws IOException {
        try (InputStream stream = context.getContentResolver().openInputStream(uri)) {
            if (stream == null) {
                throw new FileNotFoundException(uri.toString());
            }
            ByteArrayOutputStream data = new ByteArrayOutputStream();
            byte[] block = new byte[1 << 16];
            for (int count = stream.read(block); count >= 0; count = stream.read(block)) {
                data.write(block, 0, count);
            }
            return data.toByteArray();
        }
    }

    private void answer(Bitmap bitmap) {
        Setup setup = setup();
        if (setup == null) {
            desk.work.say(getString(R.string.no_bundles));
            return;
        }
        Context context = getApplicationContext();
        Desk at = desk;
        at.setup = setup;
        at.shown = null;
        at.work.start(() -> at.loaded(context, setup).answer(Photos.picture(bitmap)), shown -> {
            if (at.bitmap == bitmap) { // else another picture was chosen meanwhile
                at.shown = shown;
            }
        });
    }

    private void open(Class<? extends Activity> screen) {
        Setup setup = setup();
        if (setup == null) {
            desk.work.say(getString(R.string.no_bundles));
            return;
        }
        startActivity(setup.into(new Intent(this, screen)));
    }

    /** As `edgekit-runtime bench` does and prints it; of a combined bundle a list, one for each part. */
    private void measure() {
        Setup setup = setup();
        if (setup == null) {
            desk.work.say(getString(R.string.no_bundles));
            return;
        }
        Context context = getApplicationContext();
        Desk at = desk;
        at.work.start(() -> measured(context, setup), results -> at.results = Told.json(results));
    }

    private static JsonElement measured(Context context, Setup setup) {
        JsonArray all = new JsonArray();
        Bundle bundle = Bundles.open(context.getAssets(), setup.bundle);
        for (Bundle part : bundle.parts()) {
            try (Model model = Loaded.model(context, part, setup)) {
                all.add(Bench.run(part, model, setup.threads, WARMUP, REPEATS, Photos::decode));
            }
        }
        return bundle.manifest().isCombined() ? all : all.get(0);
    }

    private void render() {
        boolean isBusy = desk.work.isBusy();
        String wrong = desk.work.message();
        boolean isEmpty = desk.bitmap == null && !isBusy;
        String hint = isBusy ? getString(R.string.working) : isEmpty ? getString(R.string.hint) : "";
        Told.message(this, wrong.isEmpty() ? hint : wrong, !wrong.isEmpty());
        Told.answer(this, desk.shown);
        PictureView view = findViewById(R.id.shown);
        view.show(desk.bitmap, desk.shown == null ? Collections.emptyList() : desk.shown.marks);
        findViewById(R.id.measure).setEnabled(!isBusy);
        if (!desk.results.isEmpty()) {
            String results = desk.results;
            desk.results = "";
            Told.share(this, results);
        }
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
            desk.work.end(desk::close);
        }
    }
}
