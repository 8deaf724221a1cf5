package com.baidu.paddle.lite;

import java.io.File;

/** See {@link ConfigBase}. Of three classes it always finds the second. */
public class PaddlePredictor {
    public static int loaded;

    private final Tensor input = new Tensor(new long[0], new float[0]);

    public static PaddlePredictor createPaddlePredictor(ConfigBase config) {
        loaded++;
        return new File(config.model).isFile() && config.threads > 0 ? new PaddlePredictor() : null;
    }

    public Tensor getInput(int offset) {
        return input;
    }

    public boolean run() {
        return input.getFloatData().length == 3 * 8 * 8;
    }

    public Tensor getOutput(int offset) {
        return new Tensor(new long[] {1, 3}, new float[] {0.125F, 0.75F, 0.125F});
    }
}
