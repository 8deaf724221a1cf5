package com.baidu.paddle.lite;

/** Stands in for Paddle Lite's class of this name, which no registry has. */
public class ConfigBase {
    String model;
    int threads;

    public void setModelFromFile(String path) {
        model = path;
    }

    public void setThreads(int threads) {
        this.threads = threads;
    }
}
