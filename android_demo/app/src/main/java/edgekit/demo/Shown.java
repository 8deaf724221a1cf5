package edgekit.demo;

import android.graphics.RectF;
import edgekit.runtime.Answer;
import edgekit.runtime.Classes;
import edgekit.runtime.Detections;
import edgekit.runtime.Reading;
import edgekit.runtime.Regions;
import edgekit.runtime.TextReader;
import edgekit.runtime.Times;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** An answer as it is shown: marks on the picture, lines of text, and times. */
final class Shown {
    private static final float SURE = 0.4F; // a detector's things with less are not drawn: most are none

    /** A quad in pixels of the picture, x0 y0 ... x3 y3, and what is in it. */
    static final class Mark {
        final float[] corners;
        final String text;
        final int colour; // an index

        Mark(float[] corners, String text, int colour) {
            this.corners = corners;
            this.text = text;
            this.colour = colour;
        }
    }

    final List<Mark> marks = new ArrayList<>();
    final List<String> lines = new ArrayList<>();
    final Times times;

    private Shown(Times times) {
        this.times = times;
    }

    static Shown of(Answer answer, Times times) {
        Shown shown = new Shown(times);
        if (answer instanceof Classes) {
            for (Classes.Found found : ((Classes) answer).top) {
                shown.lines.add(told(found.label, found.probability));
            }
        } else if (answer instanceof Detections) {
            for (Detections.Found found : ((Detections) answer).things) {
                if (found.score >= SURE) {
                    RectF box = new RectF(found.x1, found.y1, found.x2, found.y2);
                    shown.mark(corners(box), told(found.label, found.score), found.index);
                }
            }
        } else if (answer instanceof Regions) {
            for (Regions.Found found : ((Regions) answer).regions) {
                shown.mark(corners(found.corners()), told("", found.score), 0);
            }
        } else if (answer instanceof Reading) {
            shown.lines.add(told(((Reading) answer).text, ((Reading) answer).score));
        }
        return shown;
    }

    static Shown of(List<TextReader.Line> lines, Times times) {
        Shown shown = new Shown(times);
        for (TextReader.Line line : lines) {
            shown.marks.add(new Mark(corners(line.corners()), line.text, line.turned ? 1 : 0));
            shown.lines.add(told(line.text, line.score));
        }
        return shown;
    }

    private void mark(float[] corners, String text, int colour) {
        marks.add(new Mark(corners, text, colour));
        lines.add(text);
    }

    private static String told(String what, float score) {
        return String.format(Locale.ROOT, "%s %.2f", what, score).trim();
    }

    private static float[] corners(RectF box) {
        return new float[] {box.left, box.top, box.right, box.top, box.right, box.bottom, box.left, box.bottom};
    }

    private static float[] corners(double[][] quad) {
        float[] corners = new float[8];
        for (int k = 0; k < corners.length; k++) {
            corners[k] = (float) quad[k / 2][k % 2];
        }
        return corners;
    }
}
