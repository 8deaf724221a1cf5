package com.baidu.paddle.lite;

/** See {@link ConfigBase}. */
public class MobileConfig extends ConfigBase {}
