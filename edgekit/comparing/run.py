"""`edgekit diff`, from two folders to its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.apps.bundles import Kind
from edgekit.bundle import MANIFEST
from edgekit.comparing import sides, tables
from edgekit.comparing.sides import Side
from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.result import Result


def diff(
    first: Path,
    second: Path,
    *,
    kind: Kind | None,
    data: Path | None,
    out: Path | None,
    offline: bool,
    progress: Progress,
) -> Result:
    """Two bundles of one task, or two models, side by side; with `out` both bundles are run, and the pictures
    drawn there.

    Raises EK107, EK401, EK402 and EK409 when one of them cannot be used, EK412 when they have nothing to
    compare, and what running and drawing raises.
    """
    if out is None and (data is not None or kind is not None):
        given = "--data" if data is not None else "--model"
        raise EdgekitError("EK107", f"{given} says what is run and drawn: say where to with --out.")
    if not any((path / MANIFEST).is_file() for path in (first, second)):
        if out is not None:
            raise EdgekitError("EK107", f"--out runs two bundles, and {first} and {second} are none.")
        return _of_models(first, second)
    a, b = sides.open_both(first, second)
    if out is not None:
        from edgekit.comparing import pictures  # seconds, for it imports Paddle

        pictures.check(a.bundle, b.bundle, out)
    values: dict[str, Any] = {
        "a": _said(a),
        "b": _said(b),
        "same_pictures": sides.same_pictures(a, b),
        "notes": sides.notes(a, b),
        "costs": sides.costs(a, b),
        "gates": sides.gates(a, b),
        "figures": sides.figures(a, b),
        "layers": sides.layers(a, b),
    }
    lines = [
        *(f"{name}: {_title(side)}" for name, side in (("A", a), ("B", b))),
        *(f"note: {note}" for note in values["notes"]),
        "",
        tables.costs(values["costs"]),
        "",
    ]
    if values["gates"]:
        lines += [tables.gates(values["gates"]), ""]
    lines += [tables.figures(values["figures"]), "", tables.layers(values["layers"])]
    if out is not None:
        images = pictures.images_of(a.bundle, data, offline, progress)
        one, other = pictures.run(a.bundle, b.bundle, kind, images, progress)
        values["ran"] = {"a": f"{one.kind}.onnx", "b": f"{other.kind}.onnx", "pictures": images.origin}
        values["pictures"] = pictures.draw(one, other, images, out, offline, progress)
        ran = f"{one.title}; {other.title}; {len(images.paths)} pictures"
        if values["pictures"]:
            lines += ["", tables.pictures(values["pictures"]), ran]
        else:
            lines += ["", f"On none of the pictures do they answer differently: {ran}."]
    return Result(lines, values)


def _of_models(first: Path, second: Path) -> Result:
    from edgekit.comparing import models  # imports Paddle, too

    a, b = models.open_model(first), models.open_model(second)
    costs, layers = models.costs(a, b), models.layers(a, b)
    lines = [f"A: {a.path}", f"B: {b.path}", "", tables.costs(costs), "", tables.weights(layers)]
    return Result(lines, {"a": str(a.path), "b": str(b.path), "costs": costs, "layers": layers})


def _said(side: Side) -> dict[str, Any]:
    report = side.report
    return {
        "bundle": str(side.path), "name": report.name, "recipe": report.recipe, "preset": report.preset,
        "task": report.task, "verdict": report.verdict, "created": report.created, "commit": report.commit,
        "edgekit_version": report.edgekit_version,
    }  # fmt: skip


def _title(side: Side) -> str:
    report = side.report
    preset = f" --preset {report.preset}" if report.preset else ""
    return f"{side.path} ({report.recipe}{preset}, {report.created[:10]}, {report.verdict})"
