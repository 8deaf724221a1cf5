package edgekit.demo;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;
import static org.robolectric.Shadows.shadowOf;

import android.content.Intent;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.Robolectric;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.android.controller.ActivityController;

@RunWith(RobolectricTestRunner.class)
public class SelfTestActivityTest {
    private static ActivityController<SelfTestActivity> tested(String bundle, String model) throws Exception {
        Intent intent = new Setup(bundle, model, 1, false).into(new Intent());
        ActivityController<SelfTestActivity> controller =
                Robolectric.buildActivity(SelfTestActivity.class, intent).setup();
        Screen.settle(controller.get(), R.id.verdict);
        return controller;
    }

    @Test
    public void anIntactBundleIsGreen() throws Exception {
        SelfTestActivity activity = tested("colours", "fp32").get();
        assertEquals(activity.getString(R.string.passed), Screen.text(activity, R.id.verdict));
        assertEquals(activity.getColor(R.color.good), Screen.colour(activity, R.id.verdict));
        Screen.draw(activity, "self-test");
        activity.findViewById(R.id.share).performClick();
        Intent chooser = shadowOf(activity).getNextStartedActivity();
        assertEquals(Intent.ACTION_CHOOSER, chooser.getAction());
    }

    @Test
    public void theFirstDifferenceIsNamed() throws Exception {
        ActivityController<SelfTestActivity> controller = tested("spoilt", "fp32");
        String verdict = Screen.text(controller.get(), R.id.verdict);
        assertTrue(verdict, verdict.startsWith("Failed at inference: golden/1/fp32.onnx.probabilities.npy"));
        assertEquals(controller.get().getColor(R.color.bad), Screen.colour(controller.get(), R.id.verdict));
        Screen.draw(controller.get(), "self-test-failed");
        RuntimeEnvironment.setQualifiers("+land");
        controller.recreate();
        assertEquals(verdict, Screen.text(controller.get(), R.id.verdict)); // kept, not run again
    }

    @Test
    public void whatIsNoBundleIsSaid() throws Exception {
        SelfTestActivity activity = tested("nothing", "int8").get();
        assertTrue(Screen.text(activity, R.id.verdict).contains("EK401"));
        assertEquals(activity.getColor(R.color.bad), Screen.colour(activity, R.id.verdict));
        activity = tested("newer", "int8").get();
        assertTrue(Screen.text(activity, R.id.verdict).contains("newer edgekit"));
    }
}
