"""What a model is asked and what its answers are worth; knows nothing of compression or backends.

`evaluate` is the door that stages use; it is not imported here, so that importing this package
loads neither cv2 nor pycocotools.
"""
