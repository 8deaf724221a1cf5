"""Where captions of drawn boxes go: at their upper left corners, within the picture, none over another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.report import text
from edgekit.report.schema import Found, Picture

_LETTER, _LINE = 0.58, 1.1  # of a bold letter's width and a line's height, over the font's size
_LINES = 4  # that a caption may be moved down before it is left out: the list below names everything


@dataclass(frozen=True)
class Caption:
    """`x`, `y`: where the text's baseline begins, in pixels of the picture."""

    text: str
    x: float
    y: float
    size: float


def captions(picture: Picture, found: Sequence[Found]) -> list[Caption]:
    """Of what has a place, the best first; of regions of text, which all have the same name, none."""
    size = round(max(picture.width, picture.height) / 30, 1)
    placed: list[Caption] = []
    for item in found:
        if not item.points or item.label == "text":
            continue
        left, top = item.points[0]
        said = f"{item.label} {text.score(item.score)}"
        x = max(2.0, min(left, picture.width - 2 - _width(said, size)))
        above = top - size / 4
        y = above if above > size else max(0.0, top) + size
        for _ in range(_LINES):
            caption = Caption(said, round(x, 1), round(y, 1), size)
            if not any(_touch(caption, other) for other in placed):
                if caption.y < picture.height:
                    placed.append(caption)
                break
            y += _LINE * size
    return placed


def _width(said: str, size: float) -> float:
    return _LETTER * size * len(said)


def _touch(a: Caption, b: Caption) -> bool:
    first, second = (a, b) if a.x <= b.x else (b, a)
    near = abs(a.y - b.y) < _LINE * a.size - 0.2  # both are rounded to a tenth
    return near and second.x < first.x + _width(first.text, first.size)
