"""Every failure that edgekit expects, with the exit code that the shell sees.

An error is one paragraph: what happened, where, and what to do. Its code is listed in the README;
a test keeps `CODES` and that list equal.
"""

from __future__ import annotations

USAGE, GATE, INPUT, ENGINE = 2, 3, 4, 5

CODES: dict[str, tuple[int, str]] = {
    "EK101": (USAGE, "unknown recipe, preset or base"),
    "EK102": (USAGE, "unknown or misspelt key in a recipe or in --set"),
    "EK103": (USAGE, "a recipe value of the wrong type or out of range"),
    "EK104": (USAGE, "the recipe asks for a stage or method that does not exist yet"),
    "EK105": (USAGE, "a pattern of quantize.float, prune.skip or prune.ratios matches no layer"),
    "EK106": (USAGE, "the output folder cannot be written"),
    "EK107": (USAGE, "options that do not go together"),
    "EK108": (USAGE, "a pruning budget that cannot be met"),
    "EK109": (USAGE, "a model with no group of channels that can be pruned"),
    "EK110": (USAGE, "a model with no layer that can be int8"),
    "EK111": (USAGE, "a --device of no known kind, or with a name that is not safe"),
    "EK301": (GATE, "a gate failed"),
    "EK302": (GATE, "the README's table is not that of the recorded results"),
    "EK303": (GATE, "a bundle does not hold together, or is worse than what was recorded"),
    "EK304": (GATE, "a bundle does not answer as its golden vectors say"),
    "EK401": (INPUT, "a model, weights or data file is missing"),
    "EK402": (INPUT, "a file has the wrong sha256"),
    "EK403": (INPUT, "weights or data could not be fetched from any of their sources"),
    "EK404": (INPUT, "a program or its parameters cannot be read"),
    "EK405": (INPUT, "a Paddle 3 inference.json, which Paddle Lite cannot read"),
    "EK406": (INPUT, "a picture cannot be read"),
    "EK407": (INPUT, "a folder of pictures is empty or too small"),
    "EK408": (INPUT, "annotations or labels do not fit the model or the pictures"),
    "EK409": (INPUT, "a model folder or bundle is damaged or was written by another version"),
    "EK410": (INPUT, "the disk is full"),
    "EK411": (INPUT, "an archive holds an unsafe path"),
    "EK412": (INPUT, "two bundles that cannot be compared: of different tasks, or with different classes"),
    "EK501": (ENGINE, "an engine (Paddle, Paddle Lite, paddle2onnx, ONNX Runtime) failed or crashed"),
    "EK502": (ENGINE, "an engine is missing or has a version that edgekit was not measured with"),
    "EK503": (ENGINE, "training diverged: the loss is no longer a number"),
    "EK504": (ENGINE, "a device cannot be reached, or the runner fails there"),
}


class EdgekitError(Exception):
    """An expected failure; `exit_code` follows from `code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.exit_code = CODES[code][0]
