package com.baidu.paddle.lite;

/** See {@link ConfigBase}. */
public class Tensor {
    private long[] shape;
    private float[] data;

    Tensor(long[] shape, float[] data) {
        this.shape = shape;
        this.data = data;
    }

    public boolean resize(long[] dims) {
        shape = dims;
        return true;
    }

    public boolean setData(float[] values) {
        data = values;
        return true;
    }

    public long[] shape() {
        return shape;
    }

    public float[] getFloatData() {
        return data;
    }
}
