package edgekit.demo;

import android.content.Context;
import android.graphics.Bitmap;
import android.graphics.Canvas;
import android.graphics.Color;
import android.graphics.Matrix;
import android.graphics.Paint;
import android.graphics.Path;
import android.util.AttributeSet;
import android.view.View;
import java.util.Collections;
import java.util.List;

/** A picture, as large as it fits, with marks over it. */
public final class PictureView extends View {
    private static final int[] COLOURS = {
        0xff00c853, 0xffff6d00, 0xff2979ff, 0xffd500f9, 0xffffd600, 0xff00b8d4, 0xffff1744, 0xff76ff03,
    };
    private static final float STROKE = 2; // dp
    private static final float TEXT = 13; // sp

    private final Paint smooth = new Paint(Paint.FILTER_BITMAP_FLAG);
    private final Paint line = new Paint(Paint.ANTI_ALIAS_FLAG);
    private final Paint text = new Paint(Paint.ANTI_ALIAS_FLAG);
    private final Paint plate = new Paint();
    private final float density = getResources().getDisplayMetrics().density;
    private Bitmap bitmap;
    private List<Shown.Mark> marks = Collections.emptyList();

    public PictureView(Context context, AttributeSet attributes) {
        super(context, attributes);
        line.setStyle(Paint.Style.STROKE);
        line.setStrokeWidth(STROKE * density);
        text.setTextSize(TEXT * getResources().getDisplayMetrics().scaledDensity);
        setBackgroundColor(context.getColor(R.color.backdrop));
    }

    void show(Bitmap bitmap, List<Shown.Mark> marks) {
        this.bitmap = bitmap;
        this.marks = marks;
        invalidate();
    }

    @Override
    protected void onDraw(Canvas canvas) {
        super.onDraw(canvas);
        if (bitmap == null) {
            return;
        }
        float scale = Math.min((float) getWidth() / bitmap.getWidth(), (float) getHeight() / bitmap.getHeight());
        Matrix fit = new Matrix();
        fit.setScale(scale, scale);
        fit.postTranslate(
                (getWidth() - scale * bitmap.getWidth()) / 2, (getHeight() - scale * bitmap.getHeight()) / 2);
        canvas.drawBitmap(bitmap, fit, smooth);
        for (Shown.Mark mark : marks) {
            draw(canvas, mark, fit);
        }
    }

    private void draw(Canvas canvas, Shown.Mark mark, Matrix fit) {
        float[] at = new float[mark.corners.length];
        fit.mapPoints(at, mark.corners);
        Path path = new Path();
        path.moveTo(at[0], at[1]);
        for (int k = 2; k < at.length; k += 2) {
            path.lineTo(at[k], at[k + 1]);
        }
        path.close();
        int colour = COLOURS[mark.colour % COLOURS.length];
        line.setColor(colour);
        canvas.drawPath(path, line);
        float height = text.getTextSize() * 1.25F;
        float width = text.measureText(mark.text);
        // Above the mark, but on the view.
        float left = Math.max(0, Math.min(at[0], getWidth() - width));
        float bottom = Math.max(height, at[1]);
        plate.setColor(colour);
        canvas.drawRect(left, bottom - height, left + width, bottom, plate);
        text.setColor(Color.luminance(colour) > 0.4F ? Color.BLACK : Color.WHITE);
        canvas.drawText(mark.text, left, bottom - height / 4, text);
    }
}
