"""prune: float model folder -> the same network with fewer channels, its answers brought back.

Dead channels go first and cost nothing. Then every group of channels is measured, one allocation meets the
budget, the channels are cut out, and what is left is refitted (and distilled, where the recipe says so).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.calibration.moments import passes
from edgekit.calibration.readers import Floats, readers
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.folder import ModelFolder
from edgekit.program import cost, edit, graph
from edgekit.program.graph import Program, inputs
from edgekit.pruning import dead, search
from edgekit.pruning.refit import refit
from edgekit.pruning.remove import lost_mask, remove
from edgekit.pruning.search import Findings
from edgekit.pruning.trace import Trace, trace
from edgekit.recipe import Prune
from edgekit.tasks.preprocessing import preprocess

SENSITIVITY = "sensitivity.json"


def run(model: ModelFolder, section: Prune, images: ImageSet, out: Path, progress: Progress) -> str:
    start = time.monotonic()
    original = edit.fold_batch_norm(graph.read(model.program, model.parameters))
    pictures = [preprocess(read_image(path), model.info.preprocess) for path in images.paths]
    made, report = prune(original, section, pictures, progress)
    graph.write(made, out)
    (out / SENSITIVITY).write_text(json.dumps(report, indent=1) + "\n")
    entry = {
        "stage": "prune",
        "criterion": section.criterion,
        "flops": report["macs"] / report["macs_before"] - 1,
        "params": report["params"] / report["params_before"] - 1,
        "dead": report["dead"],
        "pictures": len(images.paths),
        "data": images.digest,
    }
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    return (
        f"{section.criterion}: MACs {entry['flops']:+.1%}, parameters {entry['params']:+.1%}, "
        f"{report['dead']} dead channels, in {time.monotonic() - start:.1f} s"
    )


def prune(
    original: Program, section: Prune, pictures: Sequence[Floats], progress: Progress
) -> tuple[Program, dict[str, Any]]:
    """The pruned program (batch norm must be folded) and what was measured on the way."""
    program, gone = remove_dead(original, pictures[0]) if section.dead else (original, 0)
    shapes = cost.measured_shapes(program)
    found = trace(program, shapes)
    kind = section.budget[0] if section.budget is not None else "flops"
    full = float(
        sum(cost.layer_costs(original).values()) if kind == "flops" else cost.parameter_count(original)
    )
    report: dict[str, Any] = {"dead": gone, "groups": []}
    made = program
    if section.budget is not None or section.ratios:
        outputs = raw_outputs(program)
        findings = search.search(program, found, shapes, section, full, outputs, pictures, progress)
        made = remove(program, found, findings.removed)
        made = recover(made, found, findings, section, pictures, progress)
        report["groups"] = rows(findings)
    for name, of in (("_before", original), ("", made)):
        report[f"macs{name}"] = sum(cost.layer_costs(of).values())
        report[f"params{name}"] = cost.parameter_count(of)
    return made, report


def remove_dead(program: Program, picture: Floats) -> tuple[Program, int]:
    """Without its dead channels, and how many they were; the answers stay as they are."""
    made, _ = dead.silenced(program)
    gone = 0
    while True:
        found = trace(made, cost.measured_shapes(made))
        _, values = next(iter(passes(made, list(found.tensors), [picture])))
        result = dead.find(made, found, values)
        if not result.atoms:
            return made, gone
        for reader in readers(made):
            if reader.weight in result.biases and reader.bias is not None:
                old = made.params[reader.bias]
                made.params[reader.bias] = (old + result.biases[reader.weight].reshape(old.shape)).astype(
                    np.float32
                )
        made = remove(made, found, result.atoms)
        gone += len(result.atoms)


def recover(
    program: Program,
    found: Trace,
    findings: Findings,
    section: Prune,
    pictures: Sequence[Floats],
    progress: Progress,
) -> Program:
    """Without gradients: every layer refitted to the float network's answers, in the recipe's ways."""
    wanted = {}
    for name, answers in findings.answers.items():
        piece = found.of(name, "out")
        keep = np.ones(answers.shape[1], np.bool_)
        if piece is not None:
            kept = ~lost_mask(piece.atoms, findings.removed)
            keep = np.repeat(kept, len(keep) // len(kept))
        wanted[name] = answers[:, keep]
    for method in section.recover:
        with progress.task(f"Recovering ({method})", len(wanted)) as advance:
            program = refit(program, wanted, pictures, method, advance)
    return program


def raw_outputs(program: Program) -> list[str]:
    """The network's outputs, the logits where one ends in a softmax."""
    makers = program.producers()
    return [
        inputs(makers[name], "X")[0] if makers[name].type == "softmax" else name for name in program.fetches
    ]


def rows(findings: Findings) -> list[dict[str, Any]]:
    """One row per group: its channels, what was measured, what went."""
    return [
        {
            "group": group.name,
            "layers": [name.removesuffix(".w_0") for name in group.producers],
            "channels": group.size,
            "removed": findings.options[group.name][findings.choice[group.name]].removed * group.width,
            "sensitivity": [
                {"removed": point.removed * group.width, "loss": point.loss}
                for point in findings.points.get(group.name, [])
            ],
        }
        for group in findings.groups
    ]
