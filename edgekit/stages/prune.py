"""prune: float model folder -> the same network with fewer channels, its answers brought back.

Dead channels go first and cost nothing. Then every group of channels is measured, one allocation meets the
budget, the channels are cut out, and what is left is refitted (and distilled, where the recipe says so).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.calibration import moments, segments
from edgekit.calibration.judging import Judge, held_out
from edgekit.calibration.readers import Floats, readers
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.folder import ModelFolder
from edgekit.program import cost, edit, graph
from edgekit.program.graph import Program
from edgekit.pruning import search
from edgekit.pruning.atoms import Ints
from edgekit.pruning.refit import refit
from edgekit.pruning.remove import kept_outputs, remove
from edgekit.recipe import Prune
from edgekit.stages import sensitivity
from edgekit.tasks import evaluate
from edgekit.tasks.preprocessing import preprocess

KEPT = "kept.json"


def run(
    original: ModelFolder,
    model: ModelFolder,
    section: Prune,
    measured: Path | None,
    images: ImageSet,
    out: Path,
    progress: Progress,
) -> str:
    """One round. `original` is the float network; `model` is that in the first round, and what the round
    before left in later ones. `measured`: the sensitivity of `model`; None when only dead channels go."""
    start = time.monotonic()
    first = edit.fold_batch_norm(original.read())
    ready = sensitivity.prepared(model, section, _before(model) if model.path != original.path else None)
    kept = ready.kept
    groups: list[dict[str, Any]] = []
    errors: dict[str, float] = {}
    made = ready.program
    if measured is not None:
        findings = sensitivity.load(measured)
        for name in (sensitivity.FILE, sensitivity.PLOT):
            if (measured / name).is_file():
                shutil.copyfile(measured / name, out / name)
        shapes = cost.measured_shapes(ready.program)
        full = sensitivity.full_cost(original, section)
        choice = search.choose(ready.program, ready.trace, shapes, section, full, findings)
        made = remove(ready.program, ready.trace, choice.atoms)
        kept = kept_outputs(kept, ready.trace, choice.atoms)
        pictures = [preprocess(read_image(path), model.info.preprocess) for path in images.paths]
        fitted, some = held_out(pictures)
        judge = Judge(first, some, partial(evaluate.importance, model.info))
        errors["removed"] = judge.error(made)
        seen = segments.affordable(fitted)
        for method, better in recover(first, made, kept, section.recover, seen, progress):
            made, errors[method] = better, judge.error(better)
        groups = [
            {"group": group.name, "channels": group.size, "removed": choice.channels[group.name]}
            for group in search.prunable(ready.trace, section)
        ]
    graph.write(made, out)
    (out / KEPT).write_text(json.dumps({name: rows.tolist() for name, rows in kept.items()}) + "\n")
    macs = [sum(cost.layer_costs(of).values()) for of in (first, made)]
    params = [cost.parameter_count(of) for of in (first, made)]
    entry = {
        "stage": "prune",
        "criterion": section.criterion,
        "allocation": section.allocation,
        "recover": section.recover,
        # Of the outputs, over their variance, on pictures held out: before any recovery, after each.
        "errors": errors,
        "dead": ready.dead,
        "macs": macs,
        "params": params,
        "groups": groups,
        "pictures": len(images.paths),
        "data": images.digest,
    }
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    saved = f"MACs {macs[1] / macs[0] - 1:+.1%}, parameters {params[1] / params[0] - 1:+.1%}"
    told = ", ".join(f"{error:.3g} {how}" for how, error in errors.items())
    return (
        f"{section.criterion}: {saved}, {ready.dead} dead channels"
        + (f"; error of the outputs {told}" if told else "")
        + f"; in {time.monotonic() - start:.1f} s"
    )


def _before(model: ModelFolder) -> dict[str, Ints]:
    """What the round before left."""
    raw: dict[str, list[int]] = json.loads((model.path / KEPT).read_text())
    return {name: np.asarray(rows, np.int64) for name, rows in raw.items()}


def recover(
    original: Program,
    pruned: Program,
    kept: dict[str, Ints],
    methods: Sequence[str],
    pictures: Sequence[Floats],
    progress: Progress,
) -> Iterator[tuple[str, Program]]:
    """Without gradients: every layer refitted to the float network's answers, in one way after another.

    `kept` says which output channels of the original's layers are left.
    """
    if not methods:
        return
    left = {reader.weight for reader in readers(pruned)}
    layers = [reader for reader in readers(original) if reader.weight in left]
    with progress.task("Answers of the float layers", len(pictures)) as advance:
        wanted = moments.layer_answers(original, layers, pictures, advance)
    for layer in layers:
        if layer.weight in kept:
            answer = wanted[layer.weight]
            channels = answer.reshape(len(answer), layer.channels(original.params[layer.weight]), -1)
            wanted[layer.weight] = channels[:, kept[layer.weight]].reshape(len(answer), -1)
    for method in methods:
        with progress.task(f"Recovering ({method})", len(wanted)) as advance:
            pruned = refit(pruned, wanted, pictures, method, advance)
        yield method, pruned
