package edgekit.runtime;

/** From a picture to the network's input, value for value as edgekit/tasks/preprocessing.py does it. */
final class Preprocess {
    private static final int LEVELS = 256;

    final Resize resize;
    final Size crop; // null: none
    final boolean isRgb;
    final float scale;
    final float[] mean;
    final float[] deviation;

    Preprocess(Resize resize, Size crop, boolean isRgb, float scale, float[] mean, float[] deviation) {
        this.resize = resize;
        this.crop = crop;
        this.isRgb = isRgb;
        this.scale = scale;
        this.mean = mean;
        this.deviation = deviation;
    }

    /** Whether places in the input say where things are in the picture. */
    boolean showsTheWholePicture() {
        return crop == null && (resize.kind == Resize.Kind.EXACT || resize.kind == Resize.Kind.PAGE);
    }

    /**
     * The size of the network's input for a picture. Raises EK406 for a picture that is too thin, EK409 when crop and
     * resize do not fit.
     */
    Size inputSize(Size picture) {
        Size resized = resize.resized(picture);
        if (crop != null) {
            if (crop.height > resized.height || crop.width > resized.width) {
                throw new EdgekitException(
                        "EK409",
                        "Pre-processing crops " + crop + " from a picture of " + resized + " (height x width).");
            }
            return crop;
        }
        return resize.kind == Resize.Kind.LINE ? new Size(resized.height, resize.lineWidth(picture)) : resized;
    }

    /** float32 (1, 3, h, w): (x * scale - mean) / std, each step in float32. Raises what `inputSize` does. */
    Tensor apply(Picture picture) {
        Size input = inputSize(picture.size());
        Size resized = resize.resized(picture.size());
        Picture seen = resized.equals(picture.size())
                ? picture
                : Resizing.resized(picture, resized.height, resized.width, resize.interpolation);

        // What is left over of an odd rest goes to the bottom and right.
        int top = crop != null ? (resized.height - input.height) / 2 : 0;
        int left = crop != null ? (resized.width - input.width) / 2 : 0;
        int filled = Math.min(input.width, resized.width);
        int plane = input.height * input.width;
        float[] values = new float[3 * plane]; // zeros, which is what a line is filled up with
        float[] table = new float[LEVELS];
        for (int c = 0; c < 3; c++) {
            for (int level = 0; level < LEVELS; level++) {
                table[level] = (level * scale - mean[c]) / deviation[c];
            }
            int from = isRgb ? 2 - c : c;
            for (int y = 0; y < input.height; y++) {
                int in = (top + y) * seen.stride() + left * Picture.CHANNELS + from;
                int out = c * plane + y * input.width;
                for (int x = 0; x < filled; x++) {
                    values[out + x] = table[seen.pixels[in + Picture.CHANNELS * x] & 0xff];
                }
            }
        }
        return new Tensor(new long[] {1, 3, input.height, input.width}, values);
    }
}
