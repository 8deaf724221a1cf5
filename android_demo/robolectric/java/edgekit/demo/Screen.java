package edgekit.demo;

import static org.robolectric.Shadows.shadowOf;

import android.app.Activity;
import android.graphics.Bitmap;
import android.graphics.Canvas;
import android.os.Looper;
import android.view.View;
import android.widget.Spinner;
import android.widget.TextView;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;

/** What a user sees and does. */
final class Screen {
    private static final long PATIENCE = 120_000; // ms; the machine may be busy

    private Screen() {}

    static String text(Activity activity, int id) {
        return ((TextView) activity.findViewById(id)).getText().toString();
    }

    static int colour(Activity activity, int id) {
        return ((TextView) activity.findViewById(id)).getCurrentTextColor();
    }

    static void idle() {
        shadowOf(Looper.getMainLooper()).idle();
    }

    /** Until the text no longer says that the app works. */
    static void settle(Activity activity, int id) throws InterruptedException {
        long end = System.currentTimeMillis() + PATIENCE;
        idle();
        while (text(activity, id).equals(activity.getString(R.string.working))) {
            if (System.currentTimeMillis() > end) {
                throw new AssertionError("the app works for too long");
            }
            Thread.sleep(5);
            idle();
        }
    }

    static void choose(Activity activity, int id, String choice) {
        Spinner spinner = activity.findViewById(id);
        for (int k = 0; k < spinner.getCount(); k++) {
            if (spinner.getItemAtPosition(k).equals(choice)) {
                spinner.setSelection(k);
                spinner.getOnItemSelectedListener().onItemSelected(spinner, null, k, k);
                idle();
                return;
            }
        }
        throw new AssertionError("there is no " + choice);
    }

    /** The whole screen as it is drawn, and saved as `name`.png where the tests keep them. */
    static Bitmap draw(Activity activity, String name) throws IOException {
        View whole = activity.getWindow().getDecorView();
        int width = activity.getResources().getDisplayMetrics().widthPixels;
        int height = activity.getResources().getDisplayMetrics().heightPixels;
        whole.measure(
                View.MeasureSpec.makeMeasureSpec(width, View.MeasureSpec.EXACTLY),
                View.MeasureSpec.makeMeasureSpec(height, View.MeasureSpec.EXACTLY));
        whole.layout(0, 0, width, height);
        Bitmap bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888);
        whole.draw(new Canvas(bitmap));
        File folder = new File(System.getProperty("screens"));
        folder.mkdirs();
        try (FileOutputStream out = new FileOutputStream(new File(folder, name + ".png"))) {
            bitmap.compress(Bitmap.CompressFormat.PNG, 100, out);
        }
        return bitmap;
    }
}
