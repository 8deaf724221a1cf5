package edgekit.demo;

import static org.junit.Assert.assertEquals;

import android.app.Activity;
import android.content.Intent;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.Robolectric;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.Shadows;
import org.robolectric.shadows.ShadowActivity;

/** Bundles of real weights, where tests/android/demo.py was given some: the self-test, and the first golden picture. */
@RunWith(RobolectricTestRunner.class)
public class RealBundlesTest {
    private static final List<String> MADE =
            Arrays.asList("blocks", "colours", "lite", "newer", "nothing", "spoilt", "things");

    private static List<String> names() {
        List<String> names = new ArrayList<>(Bundles.names(RuntimeEnvironment.getApplication().getAssets()));
        names.removeAll(MADE);
        return names;
    }

    @Test
    public void selfTestsPass() throws Exception {
        for (String name : names()) {
            for (String model : new String[] {"int8", "fp32"}) {
                Intent intent = new Setup(name, model, 1, false).into(new Intent());
                Activity activity = Robolectric.buildActivity(SelfTestActivity.class, intent).setup().get();
                Screen.settle(activity, R.id.verdict);
                assertEquals(activity.getString(R.string.passed), Screen.text(activity, R.id.verdict));
            }
        }
    }

    @Test
    public void goldenPicturesAreAnswered() throws Exception {
        for (String name : names()) {
            MainActivity activity = Robolectric.buildActivity(MainActivity.class).setup().get();
            Screen.choose(activity, R.id.bundle, name);
            activity.findViewById(R.id.engine).setVisibility(android.view.View.GONE); // as without the stand-in
            activity.findViewById(R.id.pick).performClick();
            ShadowActivity.IntentForResult asked = Shadows.shadowOf(activity).getNextStartedActivityForResult();
            byte[] picture = picture(name);
            Shadows.shadowOf(activity).receiveResult(
                    asked.intent, Activity.RESULT_OK, new Intent().setData(Files.address(picture)));
            Screen.settle(activity, R.id.message);
            assertEquals("", Screen.text(activity, R.id.message));
            Screen.draw(activity, "real-" + name);
        }
    }

    /** Of a combined bundle the detector's: a page. */
    private static byte[] picture(String name) throws Exception {
        for (String part : new String[] {"", "det/"}) {
            String path = "bundles/" + name + "/" + part + "golden/0/picture.png";
            try (InputStream stream = RuntimeEnvironment.getApplication().getAssets().open(path)) {
                return stream.readAllBytes();
            } catch (java.io.FileNotFoundException error) {
                continue; // tried below
            }
        }
        throw new AssertionError(name + " has no golden picture");
    }
}
