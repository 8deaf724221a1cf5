"""The table of scales, how it is filled, and its two writers (Paddle and ONNX)."""
