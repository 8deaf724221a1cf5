package edgekit.demo;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;
import static org.robolectric.Shadows.shadowOf;

import android.app.Activity;
import android.content.Intent;
import android.graphics.Bitmap;
import android.view.View;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.function.Supplier;
import org.junit.After;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.Robolectric;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.android.controller.ActivityController;
import org.robolectric.shadows.ShadowActivity;

@RunWith(RobolectricTestRunner.class)
public class MainActivityTest {
    private ActivityController<MainActivity> controller;
    private MainActivity activity;

    @Before
    public void open() {
        controller = Robolectric.buildActivity(MainActivity.class).setup();
        activity = controller.get();
        Screen.idle();
    }

    @After
    public void close() {
        controller.pause().stop().destroy();
    }

    /** As if another app gave this picture. */
    private void pick(Supplier<InputStream> file) throws InterruptedException {
        activity.findViewById(R.id.pick).performClick();
        ShadowActivity.IntentForResult asked = shadowOf(activity).getNextStartedActivityForResult();
        assertEquals("image/*", asked.intent.getType());
        shadowOf(activity)
                .receiveResult(asked.intent, Activity.RESULT_OK, new Intent().setData(Files.address(file)));
        Screen.settle(activity, R.id.message);
    }

    private void pick(byte[] file) throws InterruptedException {
        pick(() -> new ByteArrayInputStream(file));
    }

    private String message() {
        return Screen.text(activity, R.id.message);
    }

    private String answer() {
        return Screen.text(activity, R.id.answer);
    }

    private static byte[] halves(int width, int height) {
        return Files.encoded(Files.halves(width, height), Bitmap.CompressFormat.PNG);
    }

    @Test
    public void thingsAreFoundAndDrawn() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick(halves(200, 100));
        assertEquals("", message());
        assertEquals("cat 0.90", answer());
        assertTrue(Screen.text(activity, R.id.times).matches(
                "pre-processing [0-9.]+ ms, inference [0-9.]+ ms, post-processing [0-9.]+ ms"));
        // Of 100 x 100 to 200 x 100: the box is at 20 20 120 40 of the picture.
        Bitmap screen = Screen.draw(activity, "things");
        View view = activity.findViewById(R.id.shown);
        float scale = Math.min(view.getWidth() / 200F, view.getHeight() / 100F);
        int[] corner = new int[2];
        view.getLocationInWindow(corner);
        int left = corner[0] + Math.round((view.getWidth() - 200 * scale) / 2 + 20 * scale);
        int bottom = corner[1] + Math.round((view.getHeight() - 100 * scale) / 2 + 40 * scale);
        assertEquals(0xff00c853, screen.getPixel(left, bottom));
        assertEquals(0xffff0000, screen.getPixel(left + 10, bottom - 10));
    }

    @Test
    public void textIsRead() throws Exception {
        Screen.choose(activity, R.id.bundle, "blocks");
        pick(Files.page());
        assertEquals("", message());
        assertEquals("abc", answer().split(" ")[0]);
        assertEquals("[abc, cab, bca]", texts());
        assertTrue(Screen.text(activity, R.id.times).matches("finding lines .* ms, their direction .* ms, reading .* ms"));
        Screen.draw(activity, "text");
    }

    private String texts() {
        StringBuilder texts = new StringBuilder();
        for (String line : answer().split("\n")) {
            texts.append(texts.length() == 0 ? "[" : ", ").append(line.split(" ")[0]);
        }
        return texts.append("]").toString();
    }

    @Test
    public void anotherChoiceAnswersThePictureAgain() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick(halves(200, 100));
        Screen.choose(activity, R.id.bundle, "colours");
        Screen.settle(activity, R.id.message);
        assertTrue(message(), message().contains("EK401") && message().contains("int8"));
        Screen.choose(activity, R.id.model, "float");
        Screen.settle(activity, R.id.message);
        assertEquals("", message());
        assertTrue(answer(), answer().startsWith("red ") || answer().startsWith("blue "));
        Screen.choose(activity, R.id.threads, "4 threads");
        Screen.settle(activity, R.id.message);
        assertTrue(answer(), answer().startsWith("red ") || answer().startsWith("blue "));
    }

    @Test
    public void aTurnKeepsPictureAndAnswer() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick(halves(200, 100));
        turn("land");
        assertEquals("cat 0.90", answer());
        Bitmap wide = Screen.draw(activity, "things-land");
        assertTrue(wide.getWidth() > wide.getHeight());
        turn("port");
        assertEquals("cat 0.90", answer());
    }

    private void turn(String to) {
        RuntimeEnvironment.setQualifiers("+" + to);
        controller.recreate();
        activity = controller.get();
        Screen.idle();
    }

    @Test
    public void aTurnWhileItWorksLosesNothing() throws Exception {
        Screen.choose(activity, R.id.bundle, "blocks");
        activity.findViewById(R.id.pick).performClick();
        ShadowActivity.IntentForResult asked = shadowOf(activity).getNextStartedActivityForResult();
        byte[] page = Files.page();
        shadowOf(activity)
                .receiveResult(asked.intent, Activity.RESULT_OK, new Intent().setData(Files.address(page)));
        turn("land");
        Screen.settle(activity, R.id.message);
        assertEquals("[abc, cab, bca]", texts());
    }

    @Test
    public void atNightItIsDark() throws Exception {
        Bitmap day = Screen.draw(activity, "day");
        turn("night");
        Bitmap night = Screen.draw(activity, "night");
        int x = day.getWidth() / 2;
        int y = day.getHeight() - 4; // below all texts
        assertTrue(brightness(day.getPixel(x, y)) > 200);
        assertTrue(brightness(night.getPixel(x, y)) < 80);
    }

    private static int brightness(int colour) {
        return ((colour >> 16 & 255) + (colour >> 8 & 255) + (colour & 255)) / 3;
    }

    @Test
    public void resultsAreSharedAsBenchPrintsThem() throws Exception {
        Screen.choose(activity, R.id.bundle, "colours");
        Screen.choose(activity, R.id.model, "float");
        JsonObject shared = JsonParser.parseString(measured()).getAsJsonObject();
        assertEquals("colours", shared.get("bundle").getAsString());
        assertEquals("fp32.onnx", shared.get("model").getAsString());
        assertTrue(shared.get("median_ms").getAsDouble() > 0);
        assertEquals(30, shared.get("repeats").getAsInt());
    }

    private String measured() throws InterruptedException {
        activity.findViewById(R.id.measure).performClick();
        Screen.settle(activity, R.id.message);
        Intent chooser = shadowOf(activity).getNextStartedActivity();
        assertEquals(Intent.ACTION_CHOOSER, chooser.getAction());
        @SuppressWarnings("deprecation") // its successor came with API 33
        Intent send = chooser.getParcelableExtra(Intent.EXTRA_INTENT);
        assertEquals(Intent.ACTION_SEND, send.getAction());
        return send.getStringExtra(Intent.EXTRA_TEXT);
    }

    @Test
    public void aBundleWithoutGoldenPicturesCannotBeMeasured() throws Exception {
        Screen.choose(activity, R.id.bundle, "blocks");
        activity.findViewById(R.id.measure).performClick();
        Screen.settle(activity, R.id.message);
        assertTrue(message(), message().contains("no golden picture"));
    }

    private void refused(String why) {
        assertTrue(message(), message().contains(why));
        assertEquals(activity.getColor(R.color.bad), Screen.colour(activity, R.id.message));
        assertEquals("", answer());
        assertEquals(View.VISIBLE, activity.findViewById(R.id.message).getVisibility());
    }

    @Test
    public void aFolderWithoutManifestIsSaid() throws Exception {
        Screen.choose(activity, R.id.bundle, "nothing");
        pick(halves(20, 10));
        refused("manifest.json of the bundle cannot be read");
        Screen.draw(activity, "no-manifest");
    }

    @Test
    public void aNewerSchemaIsSaid() throws Exception {
        Screen.choose(activity, R.id.bundle, "newer");
        pick(halves(20, 10));
        refused("newer edgekit");
    }

    @Test
    public void afterAnErrorTheNextPictureIsAnswered() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick("no picture".getBytes());
        refused("not a picture");
        pick(halves(200, 100));
        assertEquals("cat 0.90", answer());
    }

    @Test
    public void onePixelIsAnswered() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick(halves(1, 1));
        assertEquals("", message());
        assertEquals("cat 0.90", answer());
        Screen.choose(activity, R.id.bundle, "blocks");
        Screen.settle(activity, R.id.message);
        assertFalse(message(), message().contains("bug"));
    }

    @Test
    public void fourHundredMillionPixelsAreRefusedBeforeMemoryIsTaken() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick(Files.promised(20_000, 20_000));
        refused("20000 x 20000");
    }

    @Test
    public void aFileThatEndsTooSoonIsSaid() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick(Files.promised(30, 20));
        refused("not a picture");
    }

    @Test
    public void outOfMemoryIsSaid() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick(() -> {
            throw new OutOfMemoryError("of the test");
        });
        refused(activity.getString(R.string.no_memory));
        pick(halves(200, 100));
        assertEquals("cat 0.90", answer());
    }

    @Test
    public void aPictureThatIsGoneIsSaid() throws Exception {
        Screen.choose(activity, R.id.bundle, "things");
        pick(() -> new InputStream() {
            @Override
            public int read() throws IOException {
                throw new IOException("the picture is gone");
            }
        });
        refused("the picture is gone");
    }

    @Test
    public void aTurnedJpegStandsUpright() throws Exception {
        Screen.choose(activity, R.id.bundle, "blocks");
        Bitmap page = android.graphics.BitmapFactory.decodeByteArray(Files.page(), 0, Files.page().length);
        android.graphics.Matrix left = new android.graphics.Matrix();
        left.setRotate(-90);
        Bitmap lying = Bitmap.createBitmap(page, 0, 0, page.getWidth(), page.getHeight(), left, false);
        // 6: the file's first column is the top row.
        pick(Files.turned(Files.encoded(lying, Bitmap.CompressFormat.JPEG), 6));
        assertEquals("[abc, cab, bca]", texts());
    }

    @Test
    public void nothingChosenChangesNothing() {
        activity.findViewById(R.id.pick).performClick();
        ShadowActivity.IntentForResult asked = shadowOf(activity).getNextStartedActivityForResult();
        shadowOf(activity).receiveResult(asked.intent, Activity.RESULT_CANCELED, null);
        assertEquals(activity.getString(R.string.hint), message());
    }

    @Test
    public void paddleLiteRunsOnlyTheVersionThatWroteTheFile() throws Exception {
        assertEquals(View.VISIBLE, activity.findViewById(R.id.engine).getVisibility()); // the stand-in is there
        Screen.choose(activity, R.id.bundle, "lite");
        Screen.choose(activity, R.id.model, "float");
        Screen.choose(activity, R.id.engine, "Paddle Lite");
        int before = com.baidu.paddle.lite.PaddlePredictor.loaded;
        library("v2.12");
        pick(halves(20, 10));
        refused("Paddle Lite v2.13-rc");
        assertEquals(before, com.baidu.paddle.lite.PaddlePredictor.loaded);
        library("v2.13-rc");
        pick(halves(20, 10));
        assertEquals("", message());
        assertTrue(answer(), answer().startsWith("grün 0.75"));
        assertTrue(measured().contains("\"engine\": \"Paddle Lite v2.13-rc\""));
    }

    /** A library with this version in it. */
    private void library(String version) throws IOException {
        java.nio.file.Path folder = java.nio.file.Files.createTempDirectory("natives");
        byte[] content = ("\u007fELF\0\0" + version + "\0more").getBytes();
        java.nio.file.Files.write(folder.resolve("libpaddle_lite_jni.so"), content);
        RuntimeEnvironment.getApplication().getApplicationInfo().nativeLibraryDir = folder.toString();
    }
}
