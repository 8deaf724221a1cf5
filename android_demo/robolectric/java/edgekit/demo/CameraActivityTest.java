package edgekit.demo;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;
import static org.robolectric.Shadows.shadowOf;

import android.Manifest;
import android.content.Intent;
import android.content.pm.PackageManager;
import android.graphics.Bitmap;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.Robolectric;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.android.controller.ActivityController;

@RunWith(RobolectricTestRunner.class)
public class CameraActivityTest {
    private static final String[] ASKED = {Manifest.permission.CAMERA};

    private static ActivityController<CameraActivity> opened(String bundle) {
        Intent intent = new Setup(bundle, "fp32", 1, false).into(new Intent());
        return Robolectric.buildActivity(CameraActivity.class, intent).setup();
    }

    @Test
    public void withoutPermissionItSaysSo() throws Exception {
        ActivityController<CameraActivity> controller = opened("things");
        CameraActivity activity = controller.get();
        assertEquals(Manifest.permission.CAMERA, shadowOf(activity).getLastRequestedPermission().requestedPermissions[0]);
        activity.onRequestPermissionsResult(1, ASKED, new int[] {PackageManager.PERMISSION_DENIED});
        Screen.idle();
        assertEquals(activity.getString(R.string.camera_denied), Screen.text(activity, R.id.message));
        Screen.draw(activity, "camera-denied");
        controller.pause().stop().destroy();
    }

    @Test
    public void anInterruptedQuestionIsADenial() {
        CameraActivity activity = opened("things").get();
        activity.onRequestPermissionsResult(1, new String[0], new int[0]);
        Screen.idle();
        assertEquals(activity.getString(R.string.camera_denied), Screen.text(activity, R.id.message));
    }

    @Test
    public void withoutCameraItSaysSo() {
        shadowOf(RuntimeEnvironment.getApplication()).grantPermissions(Manifest.permission.CAMERA);
        ActivityController<CameraActivity> controller = opened("things");
        Screen.idle();
        assertEquals(
                controller.get().getString(R.string.no_camera), Screen.text(controller.get(), R.id.message));
        controller.pause().resume().pause().stop().destroy();
    }

    @Test
    public void framesAreAnsweredAndDrawn() throws Exception {
        ActivityController<CameraActivity> controller = opened("things");
        CameraActivity activity = controller.get();
        long end = System.currentTimeMillis() + 60_000;
        while (Screen.text(activity, R.id.answer).isEmpty() && System.currentTimeMillis() < end) {
            activity.seen(Files.halves(200, 100));
            Thread.sleep(10);
            Screen.idle();
        }
        assertEquals("cat 0.90", Screen.text(activity, R.id.answer));
        activity.seen(Files.halves(200, 100));
        Bitmap screen = Screen.draw(activity, "camera");
        boolean isMarked = false;
        for (int y = 0; y < screen.getHeight(); y++) {
            isMarked |= screen.getPixel(screen.getWidth() / 4, y) == 0xff00c853;
        }
        assertTrue(isMarked);
        controller.pause().stop().destroy();
    }

    @Test
    public void aBundleThatCannotRunIsSaidOnce() throws Exception {
        CameraActivity activity = opened("newer").get();
        long end = System.currentTimeMillis() + 60_000;
        while (Screen.text(activity, R.id.message).isEmpty() && System.currentTimeMillis() < end) {
            activity.seen(Files.halves(20, 10));
            Thread.sleep(10);
            Screen.idle();
        }
        activity.seen(Files.halves(20, 10));
        assertTrue(Screen.text(activity, R.id.message).contains("newer edgekit"));
    }
}
