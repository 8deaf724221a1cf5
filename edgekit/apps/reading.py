"""Reading a picture: regions of text, each cut out upright, turned where it stands upside down, and read.

The chain of PP-OCR's inference (PaddleOCR's TextSystem). Lines are recognised one by one: on one thread a
batch saves no time, and its padding would let a line's answer depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.apps.bundles import Chain, Kind, Opened
from edgekit.apps.running import Answers, load
from edgekit.data.images import Image
from edgekit.tasks import text_detection
from edgekit.tasks.text_detection import Regions
from edgekit.tasks.text_lines import cut_out, reading_order, sides
from edgekit.tasks.text_recognition import Reading

_SAME_PLACE = 0.5  # IoU above which two chains speak of the same line
_UPSIDE_DOWN = 1  # the classifier's class


@dataclass(frozen=True)
class Line:
    """A line of text; `quad` float32 [4,2], x y in pixels of the picture, clockwise from the upper left
    corner; `score` 0..1, how sure the text is; `turned`: whether it was read upside down."""

    text: str
    score: float
    quad: NDArray[np.float32]
    turned: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "score": round(self.score, 4),
            "points": self.quad.tolist(),
            "turned": self.turned,
        }


@dataclass(frozen=True)
class Reader:
    """The networks of a chain, each a function of a picture; `upside_down`: how likely a line is."""

    detect: Callable[[Image], Regions]
    upside_down: Callable[[Image], float] | None
    recognise: Callable[[Image], Reading]
    chain: Chain


def open_reader(opened: Opened, kind: Kind | None) -> Reader:
    """The chain of the bundles, each of a kind, or its default. Raises EK107, EK401 and EK501."""
    run: dict[str, Answers] = {role: load(bundle, kind) for role, bundle in opened.roles().items()}

    def detect(image: Image) -> Regions:
        found = run["det"](image)
        assert isinstance(found, Regions)
        return found

    def upside_down(line: Image) -> float:
        probabilities = run["cls"](line)
        assert isinstance(probabilities, np.ndarray)
        return float(probabilities[_UPSIDE_DOWN])

    def recognise(line: Image) -> Reading:
        found = run["rec"](line)
        assert isinstance(found, Reading)
        return found

    return Reader(detect, upside_down if "cls" in run else None, recognise, opened.chain)


def read(image: Image, reader: Reader) -> list[Line]:
    """The lines on a picture, uint8 BGR [h,w,3], in reading order, without the too small and unsure ones."""
    quads = reader.detect(image).quads
    quads = quads[[min(sides(quad)) >= reader.chain.smallest for quad in quads]]
    lines = [_line(image, quads[index], reader) for index in reading_order(quads)]
    return [line for line in lines if line.text and line.score >= reader.chain.least]


def _line(image: Image, quad: NDArray[np.float32], reader: Reader) -> Line:
    seen = cut_out(image, quad, reader.chain.vertical)
    turned = reader.upside_down is not None and reader.upside_down(seen) > reader.chain.turned
    if turned:
        seen = np.ascontiguousarray(seen[::-1, ::-1])
    found = reader.recognise(seen)
    return Line(found.text, found.score, quad, turned)


def differences(first: Sequence[Line], second: Sequence[Line]) -> list[tuple[Line | None, Line | None]]:
    """What two chains read differently on one picture: lines at the same place with different texts, and
    lines that only one of them read; in the order of the first, then of the second."""
    same = text_detection.pairs(
        text_detection.overlaps([line.quad for line in first], [line.quad for line in second]), _SAME_PLACE
    )
    found: list[tuple[Line | None, Line | None]] = []
    for index, line in enumerate(first):
        other = second[same[index]] if index in same else None
        if other is None or other.text != line.text:
            found.append((line, other))
    alone = set(range(len(second))) - set(same.values())
    return [*found, *((None, second[index]) for index in sorted(alone))]
