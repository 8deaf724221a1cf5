"""sensitivity: which channels of each group go first, and what their going does to the network's answers.

Measured once for a model and kept: every budget is shared out from the same figures.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.calibration import judging
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.folder import ModelFolder
from edgekit.program import cost, edit
from edgekit.program.graph import Program
from edgekit.pruning import dead, search
from edgekit.pruning.atoms import Ints
from edgekit.pruning.groups import groups
from edgekit.pruning.remove import kept_outputs
from edgekit.pruning.search import Findings
from edgekit.pruning.trace import Trace, trace
from edgekit.recipe import Prune
from edgekit.tasks import evaluate
from edgekit.tasks.preprocessing import preprocess

FILE = "sensitivity.json"
PLOT = "sensitivity.png"


def run(
    model: ModelFolder,
    section: Prune,
    whole: Prune | None,
    images: ImageSet,
    out: Path,
    progress: Progress,
) -> str:
    """`whole`: all that is asked for, in the first round: what is out of reach is said before measuring."""
    start = time.monotonic()
    pictures = [preprocess(read_image(path), model.info.preprocess) for path in images.paths]
    ready = prepared(model, section)
    program, found = ready.program, ready.trace
    search.prunable(found, section)
    if whole is not None and whole.budget is not None:
        shapes = cost.measured_shapes(program)
        search.check_budget(program, found, shapes, whole, full_cost(model, whole))
    weigh = partial(evaluate.importance, model.info)
    findings = search.measure(
        program, found, section, judging.raw_outputs(program), weigh, pictures, progress
    )
    widths = {group.name: (group.width, group.size) for group in groups(found)}
    table = {
        "criterion": section.criterion,
        "pictures": len(images.paths),
        "data": images.digest,
        **findings.as_json(),
    }
    (out / FILE).write_text(json.dumps(table) + "\n")
    if findings.points:
        plot(findings, widths, out / PLOT)
    return f"{section.criterion}: {len(findings.rankings)} groups in {time.monotonic() - start:.1f} s"


def load(folder: Path) -> Findings:
    raw: dict[str, Any] = json.loads((folder / FILE).read_text())
    return Findings.of_json(raw)


@dataclass(frozen=True)
class Prepared:
    """The float program with batch norm folded and dead channels gone, its trace, and what is left."""

    program: Program
    trace: Trace
    kept: dict[str, Ints]  # output channels of layers, as `kept_outputs` numbers them
    dead: int


def prepared(model: ModelFolder, section: Prune, kept: dict[str, Ints] | None = None) -> Prepared:
    """`kept`: what earlier rounds left."""
    # Parts of the program are loaded hundreds of times; its hints for other engines take a third of that.
    program = edit.fold_batch_norm(edit.without_hints(model.read()))
    steps: list[tuple[Trace, set[int]]] = []
    if section.dead:
        program, steps = dead.without_dead(program)
    kept = kept or {}
    for found, atoms in steps:
        kept = kept_outputs(kept, found, atoms)
    gone = sum(len(atoms) for _, atoms in steps)
    return Prepared(program, trace(program, cost.measured_shapes(program)), kept, gone)


def full_cost(model: ModelFolder, section: Prune) -> float:
    """What budgets are relative to: the float network with its dead channels."""
    program = edit.fold_batch_norm(model.read())
    if section.budget is not None and section.budget[0] == "params":
        return float(cost.parameter_count(program))
    return float(sum(cost.layer_costs(program).values()))


def plot(findings: Findings, widths: dict[str, tuple[int, int]], file: Path) -> None:
    """One line per group: the share of its channels that goes, and the loss at the outputs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6))
    worst = sorted(findings.points, key=lambda name: -max(p.loss for p in findings.points[name]))
    for name, points in findings.points.items():
        width, size = widths[name]
        shares = [100 * point.removed * width / size for point in points]
        label = name if name in worst[:10] else None
        axes.plot(shares, [point.loss for point in points], marker=".", label=label, alpha=0.8)
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.set_xlabel("channels removed, %")
    axes.set_ylabel("squared error of the outputs over their variance")
    axes.legend(title="most sensitive", fontsize="small")
    figure.tight_layout()
    figure.savefig(file, dpi=100, metadata={"Software": None})
    pyplot.close(figure)
