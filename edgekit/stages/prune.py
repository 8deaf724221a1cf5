"""prune: float model folder -> the same network with fewer channels, its answers brought back.

Dead channels go first and cost nothing. Then every group of channels is measured, one allocation meets the
budget, the channels are cut out, and what is left is refitted (and distilled, where the recipe says so).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.calibration import moments
from edgekit.calibration.readers import Floats, readers
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.folder import ModelFolder
from edgekit.program import cost, edit, graph
from edgekit.program.graph import Program
from edgekit.pruning import search
from edgekit.pruning.refit import refit
from edgekit.pruning.remove import lost_mask, remove
from edgekit.pruning.search import Choice
from edgekit.pruning.trace import Trace
from edgekit.recipe import Prune
from edgekit.stages import sensitivity
from edgekit.tasks.preprocessing import preprocess


def run(
    model: ModelFolder,
    section: Prune,
    measured: Path | None,
    images: ImageSet,
    out: Path,
    progress: Progress,
) -> str:
    """`measured`: the folder of the sensitivity stage; None when only dead channels go."""
    start = time.monotonic()
    original = edit.fold_batch_norm(graph.read(model.program, model.parameters))
    program, found, gone = sensitivity.prepared(model, section)
    groups: list[dict[str, Any]] = []
    made = program
    if measured is not None:
        findings = sensitivity.load(measured)
        for name in (sensitivity.FILE, sensitivity.PLOT):
            if (measured / name).is_file():
                shutil.copyfile(measured / name, out / name)
        shapes = cost.measured_shapes(program)
        choice = search.choose(program, found, shapes, section, _full(original, section), findings)
        made = remove(program, found, choice.atoms)
        pictures = [preprocess(read_image(path), model.info.preprocess) for path in images.paths]
        made = recover(program, made, found, choice, section, pictures, progress)
        groups = [
            {"group": group.name, "channels": group.size, "removed": choice.channels[group.name]}
            for group in search.prunable(found, section)
        ]
    graph.write(made, out)
    macs = [sum(cost.layer_costs(of).values()) for of in (original, made)]
    params = [cost.parameter_count(of) for of in (original, made)]
    entry = {
        "stage": "prune",
        "criterion": section.criterion,
        "allocation": section.allocation,
        "recover": section.recover,
        "dead": gone,
        "macs": macs,
        "params": params,
        "groups": groups,
        "pictures": len(images.paths),
        "data": images.digest,
    }
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    saved = f"MACs {macs[1] / macs[0] - 1:+.1%}, parameters {params[1] / params[0] - 1:+.1%}"
    return f"{section.criterion}: {saved}, {gone} dead channels, in {time.monotonic() - start:.1f} s"


def _full(original: Program, section: Prune) -> float:
    if section.budget is not None and section.budget[0] == "params":
        return float(cost.parameter_count(original))
    return float(sum(cost.layer_costs(original).values()))


def recover(
    program: Program,
    pruned: Program,
    found: Trace,
    choice: Choice,
    section: Prune,
    pictures: Sequence[Floats],
    progress: Progress,
) -> Program:
    """Without gradients: every layer refitted to the float network's answers, in the recipe's ways."""
    if not section.recover:
        return pruned
    layers = readers(program)
    with progress.task("Answers of the float layers", len(pictures)) as advance:
        answers = moments.layer_answers(program, layers, pictures, advance)
    wanted = {}
    for name, answer in answers.items():
        piece = found.of(name, "out")
        keep = np.ones(answer.shape[1], np.bool_)
        if piece is not None:
            kept = ~lost_mask(piece.atoms, choice.atoms)
            keep = np.repeat(kept, len(keep) // len(kept))
        wanted[name] = answer[:, keep]
    for method in section.recover:
        with progress.task(f"Recovering ({method})", len(wanted)) as advance:
            pruned = refit(pruned, wanted, pictures, method, advance)
    return pruned
