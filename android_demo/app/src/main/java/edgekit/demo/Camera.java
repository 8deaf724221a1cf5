package edgekit.demo;

import android.annotation.SuppressLint;
import android.app.Activity;
import android.content.Context;
import android.graphics.Bitmap;
import android.graphics.ImageFormat;
import android.hardware.camera2.CameraAccessException;
import android.hardware.camera2.CameraCaptureSession;
import android.hardware.camera2.CameraCharacteristics;
import android.hardware.camera2.CameraDevice;
import android.hardware.camera2.CameraManager;
import android.hardware.camera2.CaptureRequest;
import android.hardware.camera2.params.StreamConfigurationMap;
import android.media.Image;
import android.media.ImageReader;
import android.os.Handler;
import android.os.HandlerThread;
import android.os.Looper;
import android.util.Size;
import java.util.Collections;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/** The device's camera: upright frames, one at a time, on the main thread. Opened once, and closed. */
final class Camera implements AutoCloseable {
    private static final int WIDTH = 640; // frames of about this size: the networks take less
    private static final int HEIGHT = 480;

    private final Activity activity;
    private final Consumer<Bitmap> seen;
    private final Consumer<String> failed;
    private final Handler main = new Handler(Looper.getMainLooper());
    private final HandlerThread thread = new HandlerThread("camera");
    private final AtomicBoolean isShowing = new AtomicBoolean(); // a frame waits for the main thread
    private Handler background;
    private CameraDevice device;
    private ImageReader frames;
    private int sensor; // degrees
    private boolean facesUser;
    private volatile boolean isClosed;

    Camera(Activity activity, Consumer<Bitmap> seen, Consumer<String> failed) {
        this.activity = activity;
        this.seen = seen;
        this.failed = failed;
    }

    @SuppressLint("MissingPermission") // which the activity has asked for
    void open() {
        thread.start();
        background = new Handler(thread.getLooper());
        CameraManager manager = (CameraManager) activity.getSystemService(Context.CAMERA_SERVICE);
        try {
            String id = choose(manager);
            if (id == null) {
                fail(activity.getString(R.string.no_camera));
                return;
            }
            frames.setOnImageAvailableListener(this::take, background);
            manager.openCamera(id, new Opened(), background);
        } catch (CameraAccessException | IllegalArgumentException | SecurityException error) {
            fail(activity.getString(R.string.camera_failed, error.getMessage()));
        }
    }

    /** The first camera that looks away from the user, else the first; null when there is none. */
    private String choose(CameraManager manager) throws CameraAccessException {
        String chosen = null;
        for (String id : manager.getCameraIdList()) {
            CameraCharacteristics traits = manager.getCameraCharacteristics(id);
            StreamConfigurationMap sizes = traits.get(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP);
            if (sizes == null || sizes.getOutputSizes(ImageFormat.YUV_420_888) == null) {
                continue; // a depth camera has none
            }
            Integer facing = traits.get(CameraCharacteristics.LENS_FACING);
            boolean isBack = facing != null && facing == CameraCharacteristics.LENS_FACING_BACK;
            if (chosen == null || isBack) {
                chosen = id;
                facesUser = facing != null && facing == CameraCharacteristics.LENS_FACING_FRONT;
                Integer orientation = traits.get(CameraCharacteristics.SENSOR_ORIENTATION);
                sensor = orientation == null ? 0 : orientation;
                Size size = nearest(sizes.getOutputSizes(ImageFormat.YUV_420_888));
                if (frames != null) {
                    frames.close();
                }
                frames = ImageReader.newInstance(size.getWidth(), size.getHeight(), ImageFormat.YUV_420_888, 2);
            }
            if (isBack) {
                break;
            }
        }
        return chosen;
    }

    private static Size nearest(Size[] sizes) {
        Size best = sizes[0];
        for (Size size : sizes) {
            if (distance(size) < distance(best)) {
                best = size;
            }
        }
        return best;
    }

    private static int distance(Size size) {
        return Math.abs(size.getWidth() - WIDTH) + Math.abs(size.getHeight() - HEIGHT);
    }

    private final class Opened extends CameraDevice.StateCallback {
        @Override
        public void onOpened(CameraDevice opened) {
            device = opened;
            if (isClosed) {
                opened.close();
                return;
            }
            try {
                CaptureRequest.Builder request = opened.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW);
                request.addTarget(frames.getSurface());
                stream(opened, request);
            } catch (CameraAccessException | IllegalStateException error) {
                fail(activity.getString(R.string.camera_failed, error.getMessage()));
            }
        }

        @Override
        public void onDisconnected(CameraDevice gone) {
            gone.close();
            fail(activity.getString(R.string.camera_failed, "another app has taken it"));
        }

        @Override
        public void onError(CameraDevice broken, int code) {
            broken.close();
            fail(activity.getString(R.string.camera_failed, "error " + code));
        }
    }

    @SuppressWarnings("deprecation") // its successor came with API 28
    private void stream(CameraDevice opened, CaptureRequest.Builder request) throws CameraAccessException {
        opened.createCaptureSession(
                Collections.singletonList(frames.getSurface()),
                new CameraCaptureSession.StateCallback() {
                    @Override
                    public void onConfigured(CameraCaptureSession session) {
                        try {
                            session.setRepeatingRequest(request.build(), null, background);
                        } catch (CameraAccessException | IllegalStateException error) {
                            if (!isClosed) {
                                fail(activity.getString(R.string.camera_failed, error.getMessage()));
                            }
                        }
                    }

                    @Override
                    public void onConfigureFailed(CameraCaptureSession session) {
                        fail(activity.getString(R.string.camera_failed, "it has no such stream"));
                    }
                },
                background);
    }

    /** On the camera's thread. */
    private void take(ImageReader reader) {
        try (Image image = reader.acquireLatestImage()) {
            if (image == null || isClosed || !isShowing.compareAndSet(false, true)) {
                return;
            }
            Image.Plane[] planes = image.getPlanes();
            int turn = Frames.turn(sensor, display(), facesUser);
            int width = image.getWidth();
            int height = image.getHeight();
            int[] pixels =
                    Frames.upright(plane(planes[0]), plane(planes[1]), plane(planes[2]), width, height, turn);
            boolean isTurned = turn % 180 != 0;
            Bitmap frame = Bitmap.createBitmap(
                    pixels, isTurned ? height : width, isTurned ? width : height, Bitmap.Config.ARGB_8888);
            main.post(() -> {
                isShowing.set(false);
                if (!isClosed) {
                    seen.accept(frame);
                }
            });
        }
    }

    private static Frames.Plane plane(Image.Plane plane) {
        return new Frames.Plane(plane.getBuffer(), plane.getRowStride(), plane.getPixelStride());
    }

    @SuppressWarnings("deprecation") // its successor came with API 30
    private int display() {
        return activity.getWindowManager().getDefaultDisplay().getRotation() * 90;
    }

    private void fail(String why) {
        main.post(() -> failed.accept(why));
    }

    @Override
    public void close() {
        isClosed = true;
        background.post(() -> {
            if (device != null) {
                device.close();
            }
            if (frames != null) {
                frames.close();
            }
            thread.quitSafely();
        });
    }
}
