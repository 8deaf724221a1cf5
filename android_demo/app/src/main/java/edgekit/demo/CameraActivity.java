package edgekit.demo;

import android.Manifest;
import android.app.Activity;
import android.content.Context;
import android.content.pm.PackageManager;
import android.graphics.Bitmap;
import android.os.Bundle;
import edgekit.runtime.Picture;
import java.util.Collections;
import java.util.List;

/** What the camera sees, with the last answer drawn over it. */
public final class CameraActivity extends Activity {
    private static final int ASK = 1;

    private Work work;
    private Setup setup;
    private Camera camera;
    private Loaded loaded; // of the working thread
    private List<Shown.Mark> marks = Collections.emptyList();
    private boolean isAllowed;

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        setContentView(R.layout.camera);
        setup = Setup.of(getIntent());
        work = new Work(this);
        work.tell(() -> Told.message(this, work.message(), true));
        isAllowed = checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED;
        if (!isAllowed && state == null) { // the question stays on the screen when the device is turned
            requestPermissions(new String[] {Manifest.permission.CAMERA}, ASK);
        }
    }

    @Override
    public void onRequestPermissionsResult(int request, String[] permissions, int[] results) {
        super.onRequestPermissionsResult(request, permissions, results);
        isAllowed = results.length > 0 && results[0] == PackageManager.PERMISSION_GRANTED;
        if (isAllowed) {
            start();
        } else {
            work.say(getString(R.string.camera_denied));
        }
    }

    @Override
    protected void onResume() {
        super.onResume();
        if (isAllowed) {
            start();
        }
    }

    @Override
    protected void onPause() {
        super.onPause();
        if (camera != null) {
            camera.close();
            camera = null;
        }
    }

    private void start() {
        if (camera == null) {
            camera = new Camera(this, this::seen, work::say);
            camera.open();
        }
    }

    /** On the main thread, with each frame; those that come while a network runs are shown only. */
    void seen(Bitmap frame) {
        PictureView view = findViewById(R.id.shown);
        view.show(frame, marks);
        if (work.isBusy() || !work.message().isEmpty()) {
            return;
        }
        Context context = getApplicationContext();
        work.start(() -> answered(context, frame), shown -> {
            marks = shown.marks;
            Told.answer(this, shown);
        });
    }

    private Shown answered(Context context, Bitmap frame) {
        if (loaded == null) {
            loaded = Loaded.open(context, setup);
        }
        Picture picture = Photos.picture(frame);
        return loaded.answer(picture);
    }

    private void unload() {
        if (loaded != null) {
            loaded.close();
        }
    }

    @Override
    protected void onDestroy() {
        super.onDestroy();
        work.end(this::unload);
    }
}
