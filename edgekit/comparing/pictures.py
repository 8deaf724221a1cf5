"""The evaluation pictures on which two bundles answer most differently, found by running both, and drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.apps import drawing
from edgekit.apps.bundles import Bundle, Kind
from edgekit.apps.drawing import Face, Mark
from edgekit.apps.running import load
from edgekit.bundle import MANIFEST, replace_folder
from edgekit.cachedir import cache_dir
from edgekit.checking import figures
from edgekit.console import Progress
from edgekit.data.files import FINISHED, disk_full_guard, sha256_of
from edgekit.data.images import Image, ImageSet, folder_set, read_image
from edgekit.errors import EdgekitError
from edgekit.tasks import evaluate, shown
from edgekit.tasks.evaluate import Answer

COUNT = 6
_PERFECT = {-1: 1.0, 1: 0.0}  # agreement, and distance, of answers that are alike
_WIDE = 3  # from this width over height on the two are drawn one below the other


@dataclass(frozen=True)
class Ran:
    """One of the two: its bundle, the file that ran, and its answers to all pictures."""

    name: str  # A or B
    bundle: Bundle
    kind: Kind
    answers: list[Answer]

    @property
    def title(self) -> str:
        return f"{self.name}: {self.bundle.path.name}, {self.bundle.onnx[self.kind].name}"


def check(a: Bundle, b: Bundle, out: Path) -> None:
    """Raises EK412 when class numbers mean different things, EK107 when `out` would replace a bundle."""
    if a.info.task in ("classification", "detection") and a.info.labels != b.info.labels:
        raise EdgekitError(
            "EK412",
            f"{a.path} and {b.path} have different labels: on which pictures they answer differently cannot "
            "be said. Without --out the rest is compared.",
        )
    for bundle in (a, b):
        if bundle.path.resolve() == out.resolve() or out.resolve() in bundle.path.resolve().parents:
            raise EdgekitError("EK107", f"--out {out} would replace {bundle.path}: give another folder.")


def images_of(bundle: Bundle, data: Path | None, offline: bool, progress: Progress) -> ImageSet:
    """The evaluation pictures of a bundle, or as many of `data`.

    Raises EK107 when they were the user's own and `data` is not given, and what `prepare` raises.
    """
    manifest = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    if data is None:
        return figures.pictures(bundle, manifest, None, cache_dir(), offline, progress)
    count = ((manifest.get("data") or {}).get("evaluation") or {}).get("n")
    return folder_set(data, "evaluation", count, bundle.info.task)


def run(a: Bundle, b: Bundle, kind: Kind | None, images: ImageSet, progress: Progress) -> tuple[Ran, Ran]:
    """Both on every picture, by ONNX Runtime. Raises EK401, EK406 and EK501."""
    networks = [(load(bundle, kind), bundle.file(kind)[0], bundle) for bundle in (a, b)]
    answers: list[list[Answer]] = [[], []]
    with progress.task("Comparing", len(images.paths)) as advance:
        for path in images.paths:
            picture = read_image(path)
            for got, (answer, _, _) in zip(answers, networks, strict=True):
                got.append(answer(picture))
            advance()
    first, second = (
        Ran(name, bundle, ran, got)
        for name, (_, ran, bundle), got in zip("AB", networks, answers, strict=True)
    )
    return first, second


def most_different(a: Ran, b: Ran) -> list[tuple[int, float]]:
    """Indices of pictures and the metric that ranks them, the most different first; those that are answered
    alike are left out. Each is once held against the other, and the worse counts: what one of the two is
    not sure of has no part in agreement with it."""
    info = a.bundle.info
    _, sign = evaluate.TASKS[info.task].single
    found: dict[int, float] = {}
    for index, value in (
        *evaluate.worst(info, a.answers, b.answers),
        *evaluate.worst(info, b.answers, a.answers),
    ):
        found[index] = max(found.get(index, value), value, key=lambda each: sign * each)
    differ = [(index, value) for index, value in found.items() if value != _PERFECT[sign]]
    return sorted(differ, key=lambda item: (-sign * item[1], item[0]))


def draw(
    a: Ran, b: Ran, images: ImageSet, out: Path, offline: bool, progress: Progress
) -> list[dict[str, Any]]:
    """The first `COUNT` into the folder `out`, which is replaced. Of each it returns `picture`, `metric`,
    `value`, `file` and both answers. Raises EK106, EK403 (letters that need a font) and EK410."""
    metric, _ = evaluate.TASKS[a.bundle.info.task].single
    told = []
    with disk_full_guard(out), replace_folder(out) as fresh:
        for place, (index, value) in enumerate(most_different(a, b)[:COUNT], 1):
            path = images.paths[index]
            file = f"{place}-{path.stem}.png"
            head = f"{path.name}: {metric} {value:.4g}"
            sides = [(ran, ran.answers[index]) for ran in (a, b)]
            drawing.save(_drawn(read_image(path), head, sides, offline, progress), fresh / file)
            answers = {
                ran.name.lower(): evaluate.answer_json(ran.bundle.info, shown.visible(answer))
                for ran, answer in sides
            }
            told.append(
                {"picture": path.name, "metric": metric, "value": value, "file": str(out / file), **answers}
            )
        # By this list the folder is known for edgekit's own when it is to be replaced.
        written = {path.name: sha256_of(path) for path in sorted(fresh.iterdir())}
        (fresh / FINISHED).write_text(json.dumps({"files": written}, indent=1), encoding="utf-8")
    return told


def _drawn(
    image: Image, head: str, sides: Sequence[tuple[Ran, Answer]], offline: bool, progress: Progress
) -> Image:
    """Both answers side by side; what has no place is told above, what the other lacks is red."""
    whole = [shown.rows(ran.bundle.info, answer) for ran, answer in sides]
    seen = [shown.rows(ran.bundle.info, shown.visible(answer)) for ran, answer in sides]
    texts = [head, *(ran.title for ran, _ in sides), *(row.label for rows in seen for row in rows)]
    face = drawing.face_for(texts, cache_dir(), offline, progress.line)
    parts = []
    for (ran, _), rows, others in zip(sides, seen, whole[::-1], strict=True):
        marks = [
            Mark(row.quad, f"{row.label} {row.score:.2f}", differs)
            for row, differs in zip(rows, shown.unmatched(rows, others), strict=True)
            if row.quad is not None
        ]
        parts.append(_titled(image, marks, [ran.title, *(r.line() for r in rows if r.quad is None)], face))
    wide = image.shape[1] >= _WIDE * image.shape[0]
    return drawing.titled(drawing.stacked(parts) if wide else drawing.beside(parts), [head], face)


def _titled(image: Image, marks: Sequence[Mark], above: Sequence[str], face: Face) -> Image:
    picture, placed = drawing.scaled(image, marks)
    return drawing.titled(drawing.outlined(picture, placed, face, numbered=False), above, face)
