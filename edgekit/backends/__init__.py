"""Run a model on arrays: Paddle, ONNX Runtime, Paddle Lite. Backends know nothing of tasks."""
