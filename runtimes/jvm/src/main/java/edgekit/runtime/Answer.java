package edgekit.runtime;

import com.google.gson.JsonObject;

/** What a model answers for a picture: {@link Classes}, {@link Detections}, {@link Regions} or a {@link Reading}. */
public interface Answer {
    /** As it stands in golden/N/answers.json (edgekit/tasks/evaluate.py, `answer_json`). */
    JsonObject json();
}
