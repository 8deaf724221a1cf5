package edgekit.demo;

import android.app.Activity;
import android.content.Intent;
import android.os.Build;
import android.view.View;
import android.widget.TextView;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import java.util.Map;
import java.util.StringJoiner;

/** The texts of an activity: what went wrong, how long it took, what was found. */
final class Told {
    private Told() {}

    static void message(Activity activity, String message, boolean isBad) {
        TextView view = activity.findViewById(R.id.message);
        view.setText(message);
        view.setTextColor(activity.getColor(isBad ? R.color.bad : R.color.primary));
        view.setVisibility(message.isEmpty() ? View.GONE : View.VISIBLE);
    }

    static void answer(Activity activity, Shown shown) {
        TextView times = activity.findViewById(R.id.times);
        TextView answer = activity.findViewById(R.id.answer);
        if (shown == null) {
            times.setText("");
            answer.setText("");
            return;
        }
        StringJoiner stages = new StringJoiner(", ");
        for (Map.Entry<String, Double> stage : shown.times.milliseconds().entrySet()) {
            stages.add(activity.getString(R.string.stage, stage.getKey(), stage.getValue()));
        }
        times.setText(stages.toString());
        answer.setText(
                shown.lines.isEmpty() ? activity.getString(R.string.nothing_found) : String.join("\n", shown.lines));
    }

    static String json(JsonElement result) {
        return new GsonBuilder()
                .setPrettyPrinting()
                .disableHtmlEscaping()
                .serializeNulls()
                .create()
                .toJson(result);
    }

    static void share(Activity activity, String json) {
        Intent send = new Intent(Intent.ACTION_SEND)
                .setType("application/json")
                .putExtra(Intent.EXTRA_SUBJECT, activity.getString(R.string.share_subject, "edgekit", Build.MODEL))
                .putExtra(Intent.EXTRA_TEXT, json);
        activity.startActivity(Intent.createChooser(send, activity.getString(R.string.share)));
    }
}
