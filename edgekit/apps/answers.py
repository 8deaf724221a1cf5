"""`edgekit detect` and `edgekit classify`: one network's answers, printed, drawn and as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgekit.apps import drawing
from edgekit.apps.asked import Asked, entry, head
from edgekit.apps.bundles import Bundle, open_bundles
from edgekit.apps.drawing import Mark
from edgekit.apps.running import load
from edgekit.data.images import Image, read_image
from edgekit.result import Result
from edgekit.tasks import evaluate
from edgekit.tasks.evaluate import Answer
from edgekit.tasks.shown import Row, rows, visible


def detect(asked: Asked) -> Result:
    """Things, or regions of text, on pictures. Raises EK107, EK401, EK402, EK406, EK409 and EK501."""
    return _answered(asked, open_bundles(asked.bundles).one(("detection", "text_detection")))


def classify(asked: Asked) -> Result:
    """Classes of pictures. Raises what `detect` does."""
    return _answered(asked, open_bundles(asked.bundles).one(("classification",)))


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
            seen = visible(answers[kind][-1])
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
