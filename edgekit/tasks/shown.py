"""An answer as a person is shown it: rows, each with a label, a score and, where it has one, a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.folder import ModelInfo
from edgekit.tasks import evaluate
from edgekit.tasks.detection import SEEN, Detections
from edgekit.tasks.evaluate import Answer
from edgekit.tasks.text_detection import overlaps

_SAME_PLACE = 0.5  # IoU


@dataclass(frozen=True)
class Row:
    """One thing in an answer; where it has a place, `quad` float32 [4,2], x y in pixels of the picture,
    clockwise from the upper left corner."""

    label: str
    score: float
    quad: NDArray[np.float32] | None

    def line(self) -> str:
        place = "" if self.quad is None else f"  [{told(self.quad)}]"
        return f"{self.score:.3f}  {self.label}{place}"


def told(quad: NDArray[np.float32]) -> str:
    """Corners in whole pixels: all of a quad, two of an upright box."""
    upright = np.array_equal(quad, _corners(*quad[0], *quad[2]))
    return " ".join(f"{round(float(x))},{round(float(y))}" for x, y in (quad[::2] if upright else quad))


def rows(info: ModelInfo, answer: Answer) -> list[Row]:
    """What an answer holds, best first; an empty text is a row, too. Raises EK408 when labels do not fit."""
    said = evaluate.answer_json(info, answer)
    if "top" in said:
        return [Row(item["label"], item["probability"], None) for item in said["top"]]
    if "text" in said:
        return [Row(said["text"], said["score"], None)]
    if "regions" in said:
        found = [
            Row("text", item["score"], np.asarray(item["points"], np.float32)) for item in said["regions"]
        ]
        return sorted(found, key=lambda row: -row.score)
    return [Row(item["label"], item["score"], _corners(*item["box"])) for item in said["detections"]]


def visible(answer: Answer) -> Answer:
    """A detector's answer without the many faint guesses that only a metric looks at."""
    return answer.pick(answer.scores >= SEEN) if isinstance(answer, Detections) else answer


def unmatched(these: Sequence[Row], others: Sequence[Row]) -> list[bool]:
    """For each of these rows, whether the other answer lacks it: the same label at the same place (IoU >= .5)
    and at least half as sure. Of rows without a place the first is the answer, held against the other's."""
    if any(row.quad is None for row in (*these, *others)):
        first = others[0].label if others else None
        return [k == 0 and row.label != first for k, row in enumerate(these)]
    quads = [[row.quad for row in side if row.quad is not None] for side in (these, others)]
    near = overlaps(*quads) >= _SAME_PLACE
    same = [[row.label == other.label and other.score >= row.score / 2 for other in others] for row in these]
    return [not any(a and b for a, b in zip(*pair, strict=True)) for pair in zip(near, same, strict=True)]


def _corners(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float32]:
    return np.asarray([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)
