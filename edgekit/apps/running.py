"""A bundle's network as a function from a picture to its answer, run by ONNX Runtime on one thread."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.apps.bundles import Bundle, Kind
from edgekit.backends import onnx
from edgekit.data.images import Image
from edgekit.tasks import evaluate
from edgekit.tasks.evaluate import Answer
from edgekit.tasks.preprocessing import preprocess

Answers = Callable[[Image], Answer]


def load(bundle: Bundle, kind: Kind | None) -> Answers:
    """Raises EK401 (no such file) and EK501 (ONNX Runtime cannot load it)."""
    info = bundle.info
    run = onnx.load(bundle.file(kind)[1], threads=1)

    def answer(image: Image) -> Answer:
        tensor = preprocess(image, info.preprocess)[None]
        return evaluate.answers(info, run({info.inputs[0].name: tensor}), (image.shape[0], image.shape[1]))

    return answer
