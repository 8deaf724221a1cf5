"""`edgekit detect` and `edgekit classify`: one network's answers, printed, drawn and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.apps import drawing
from edgekit.apps.asked import Asked, entry, head
from edgekit.apps.bundles import Bundle, open_bundles
from edgekit.apps.drawing import Mark
from edgekit.apps.running import load
from edgekit.data.images import Image, read_image
from edgekit.folder import ModelInfo
from edgekit.result import Result
from edgekit.tasks import evaluate
from edgekit.tasks.detection import SEEN, Detections
from edgekit.tasks.evaluate import Answer


def detect(asked: Asked) -> Result:
    """Things, or regions of text, on pictures. Raises EK107, EK401, EK402, EK406, EK409 and EK501."""
    return _answered(asked, open_bundles(asked.bundles).one(("detection", "text_detection")))


def classify(asked: Asked) -> Result:
    """Classes of pictures. Raises what `detect` does."""
    return _answered(asked, open_bundles(asked.bundles).one(("classification",)))


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
    """What an answer holds, best first. Raises EK408 when labels do not fit."""
    said = evaluate.answer_json(info, answer)
    if "top" in said:
        return [Row(item["label"], item["probability"], None) for item in said["top"]]
    if "regions" in said:
        found = [
            Row("text", item["score"], np.asarray(item["points"], np.float32)) for item in said["regions"]
        ]
        return sorted(found, key=lambda row: -row.score)
    return [Row(item["label"], item["score"], _corners(*item["box"])) for item in said["detections"]]


def _corners(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float32]:
    return np.asarray([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)


def _visible(answer: Answer) -> Answer:
    """A detector's answer without the many faint guesses that only a metric looks at."""
    return answer.pick(answer.scores >= SEEN) if isinstance(answer, Detections) else answer


def _answered(asked: Asked, bundle: Bundle) -> Result:
    info = bundle.info
    runs = {bundle.file(kind)[0]: load(bundle, kind) for kind in asked.kinds}
    answers: dict[str, list[Answer]] = {kind: [] for kind in runs}
    lines: list[str] = []
    pictures: list[dict[str, Any]] = []
    for index, path in enumerate(asked.pictures):
        image = read_image(path)
        found: dict[str, list[Row]] = {}
        data = entry(path, image)
        for kind, run in runs.items():
            answers[kind].append(run(image))
            seen = _visible(answers[kind][-1])
            found[kind] = rows(info, seen)
            data[kind] = evaluate.answer_json(info, seen)
            lines += [head(path, image, f"{info.name} {kind}"), *(f"  {row.line()}" for row in found[kind])]
            if not found[kind]:
                lines.append("  nothing found")
        pictures.append(data)
        if (out := asked.drawing(index)) is not None:
            drawing.save(_drawn(asked, image, info.name, found), out)
            lines.append(f"drawn: {out}")
    values: dict[str, Any] = {"bundle": info.name, "pictures": pictures}
    if asked.compare:
        agreement = evaluate.compare(info, answers["fp32"], answers["int8"])
        values["agreement"] = agreement
        known = (f"{name}={value:.4g}" for name, value in agreement.items() if value is not None)
        lines.append(f"int8 against fp32: {'  '.join(known)}")
    return Result(lines, values)


def _drawn(asked: Asked, image: Image, name: str, found: dict[str, list[Row]]) -> Image:
    """One picture for each kind, side by side; what has no place is told above."""
    face = asked.face([name, *(row.label for kind in found.values() for row in kind)])
    parts = []
    for kind, things in found.items():
        seen, marks = drawing.scaled(image, _marks(things))
        above = [f"{name} {kind}", *(row.line() for row in things if row.quad is None)]
        parts.append(drawing.titled(drawing.outlined(seen, marks, face, numbered=False), above, face))
    return drawing.beside(parts)


def _marks(things: Sequence[Row]) -> list[Mark]:
    return [Mark(row.quad, f"{row.label} {row.score:.2f}") for row in things if row.quad is not None]
