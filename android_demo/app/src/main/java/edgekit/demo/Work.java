package edgekit.demo;

import android.content.Context;
import android.os.Handler;
import android.os.Looper;
import edgekit.runtime.EdgekitException;
import java.io.IOException;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;

/**
 * Runs one thing after another off the main thread. What goes wrong becomes a message for the screen. It outlives an
 * activity when the device is turned; all but the jobs themselves is for the main thread.
 */
final class Work {
    private final Context context;
    private final ExecutorService thread = Executors.newSingleThreadExecutor();
    private final Handler main = new Handler(Looper.getMainLooper());
    private Runnable listener = () -> {};
    private int running;
    private String message = "";

    Work(Context context) {
        this.context = context.getApplicationContext(); // an activity would be kept in memory
    }

    /** Whom to tell that something has changed. */
    void tell(Runnable listener) {
        this.listener = listener;
    }

    boolean isBusy() {
        return running > 0;
    }

    /** What went wrong last, or an empty text. */
    String message() {
        return message;
    }

    void say(String message) {
        this.message = message;
        listener.run();
    }

    <T> void start(Callable<T> job, Consumer<T> then) {
        running++;
        message = "";
        listener.run();
        thread.execute(() -> {
            Runnable end = outcome(job, then);
            main.post(() -> {
                running--;
                end.run();
                listener.run();
            });
        });
    }

    private <T> Runnable outcome(Callable<T> job, Consumer<T> then) {
        try {
            T result = job.call();
            return () -> then.accept(result);
        } catch (EdgekitException error) {
            return failed(context.getString(R.string.failed, error.getMessage(), error.code()));
        } catch (OutOfMemoryError error) {
            return failed(context.getString(R.string.no_memory));
        } catch (IOException | SecurityException error) { // a picture of another app that is gone or kept back
            return failed(String.valueOf(error.getMessage()));
        } catch (Exception error) {
            return failed(context.getString(R.string.bug, error));
        }
    }

    private Runnable failed(String why) {
        return () -> message = why;
    }

    /** Ends after what is running, and then `last`. */
    void end(Runnable last) {
        listener = () -> {};
        thread.execute(last);
        thread.shutdown();
    }
}
