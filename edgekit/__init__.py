"""edgekit turns a trained Paddle vision model into an edge bundle that has proved itself."""

__version__ = "0.1.0"
