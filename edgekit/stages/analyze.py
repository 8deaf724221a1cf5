"""analyze: what int8 costs each layer of a model, why, and what the worst of them cost the task.

A float model is looked at as plain int8: the recipe's method, no repair. A quantized folder is looked at as
its table of scales has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgekit.calibration.judging import Judge, held_out
from edgekit.calibration.readers import Floats
from edgekit.console import Progress
from edgekit.data.images import ImageSet
from edgekit.errors import EdgekitError
from edgekit.folder import PARAMETERS, PROGRAM, ModelFolder, ModelInfo
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import calibrated, diagnosis, equalise, rule, sensitivity, table, write_paddle
from edgekit.quantization.analysis import Analysis, Confirmation
from edgekit.quantization.table import Layer, Table
from edgekit.recipe import Quantize
from edgekit.report import write
from edgekit.report.text import AGREEMENT
from edgekit.stages import quantize
from edgekit.stages.agreement import Agreement, Picture, picture
from edgekit.tasks import evaluate

PAGE = "analysis.html"
WORST = 5  # layers that are asked about once more, by the task's metric
CONFIRMED = 32  # pictures at most for that


@dataclass(frozen=True)
class Subject:
    """What is looked at. `program` is the network with everything in float, `rounded` has the weights and
    biases of the int8 layers (a float model's own, to be rounded to nearest). After PACT they are one, for
    trained weights belong together, and `original` is another."""

    state: str
    original: Program
    program: Program
    rounded: Program
    table: Table

    def network(self, floats: Collection[str]) -> Program:
        """The int8 network with some layers in float, to be run."""
        made = self.rounded.copy()
        layers = []
        for layer in self.table.layers:
            if layer.name in floats:
                made.params.update((name, self.program.params[name]) for name in _parameters(layer))
            layers.append(layer.model_copy(update={"int8": layer.int8 and layer.name not in floats}))
        return write_paddle.simulated(
            write_paddle.write(made, self.table.model_copy(update={"layers": layers}))
        )


# The error of the outputs and the agreement with float when some int8 layers stay in float.
Trial = Callable[[Collection[str]], tuple[float, float | int | None]]


def run(model: ModelFolder, section: Quantize, images: ImageSet, out: Path, progress: Progress) -> str:
    start = time.monotonic()
    info = model.info
    pictures = [picture(path, info) for path in images.paths]
    if (model.path / table.FILE).is_file():
        subject = of_table(model)
    else:
        subject = plain(model, section, [each.tensor for each in pictures], progress)
    fitted, some = held_out(pictures)
    found = ranked(info, subject, some, progress)
    # Pictures that no weight of a quantized folder was rounded for.
    unseen = [*some, *fitted[quantize.REPAIRS :]][:CONFIRMED]
    worst = [layer.name for layer in found.layers[:WORST]]
    said = confirmed(info, subject, worst, unseen, progress)
    found = found.model_copy(update={"confirmation": said})
    found.save(out)
    write.write_analysis(found, out / PAGE)
    return (
        f"{subject.state}, {len(found.layers)} int8 layers on {len(some)} pictures: error of the outputs "
        f"{said.error:.3g}, {said.error_without:.3g} with {', '.join(worst)} in float; in "
        f"{time.monotonic() - start:.1f} s"
    )


def plain(model: ModelFolder, section: Quantize, pictures: Sequence[Floats], progress: Progress) -> Subject:
    """A float model as `section.thresholds` would quantize it. Raises EK110 when it would not."""
    program = edit.fold_batch_norm(model.read())
    layers = rule.layers(program, section.keep_float)
    _check(model, layers)
    found = quantize.calibrate(program, layers, pictures, progress)
    scales = calibrated.fill(program, layers, found, len(pictures), section.thresholds)
    return Subject(f"plain {section.thresholds}", program, program, program, scales)


def of_table(model: ModelFolder) -> Subject:
    """A quantized folder. Raises EK110 when nothing in it is int8, EK401 and EK409 when it is not whole."""
    whole = table.load(model.path)
    scales = whole.of("lite")
    _check(model, scales.layers)
    files = model.path / table.INT8 / PROGRAM, model.path / table.INT8 / PARAMETERS
    if not all(file.is_file() for file in files):
        raise EdgekitError(
            "EK401",
            f"{model.path} has a table of scales but no {table.INT8}/ program. Run edgekit quantize again.",
        )
    rounded = write_paddle.unrounded(graph.read(*files))
    factors = {
        name.removesuffix(equalise.EVEN): np.asarray(known.factors)
        for name, known in scales.activations.items()
        if known.factors is not None
    }
    before = [
        layer.model_copy(update={"input": layer.input.removesuffix(equalise.EVEN)})
        if scales.activations[layer.input].factors is not None
        else layer
        for layer in whole.quantized
    ]
    original = edit.fold_batch_norm(model.read())
    for layer in before:
        for made in (original, rounded):
            if not made.params.keys() >= set(_parameters(layer)):
                raise EdgekitError(
                    "EK409",
                    f"{model.path / table.FILE} names the layer {layer.name}, which is not in the programs "
                    "beside it: it belongs to others.",
                )
    steps = [scales.method]
    trained = False
    for entry in model.info.lineage:
        if entry.get("stage") == "quantize":
            kept = [how for how in entry.get("repair", []) if how not in entry.get("undone", [])]
            steps = [scales.method, *kept]
        trained = trained or entry.get("stage") == "pact"
    if trained:
        return Subject(" + ".join([*steps, "pact"]), original, rounded, rounded, scales)
    return Subject(" + ".join(steps), original, equalise.apply(original, factors, before), rounded, scales)


def ranked(info: ModelInfo, subject: Subject, pictures: Sequence[Picture], progress: Progress) -> Analysis:
    """Each int8 layer alone."""
    tensors = [each.tensor for each in pictures]
    judge = Judge(subject.program, tensors, partial(evaluate.importance, info))
    with progress.task("Each layer alone in int8", len(subject.table.quantized)) as advance:
        costs = sensitivity.alone(subject.program, subject.table, judge, advance, weights=subject.rounded)
    return diagnosis.analysis(
        info, subject.state, subject.table, costs["lite"], subject.program, subject.rounded, len(pictures)
    )


def trial(info: ModelInfo, subject: Subject, pictures: Sequence[Picture]) -> Trial:
    """Against the answers of the original."""
    agreement = Agreement(info, subject.original, pictures)
    metric, _ = AGREEMENT[info.task]

    def measured(in_float: Collection[str]) -> tuple[float, float | int | None]:
        error, found = agreement.measure(subject.network(in_float))
        return error, found[metric]

    return measured


def confirmed(
    info: ModelInfo, subject: Subject, worst: list[str], pictures: Sequence[Picture], progress: Progress
) -> Confirmation:
    """What the worst layers cost together, and each alone."""
    metric, _ = AGREEMENT[info.task]
    every = [layer.name for layer in subject.table.quantized]
    with progress.task(f"The worst by {metric}", 3 + len(worst)) as advance:
        measured = trial(info, subject, pictures)
        advance()
        error, agreement = measured(())
        advance()
        error_without, agreement_without = measured(worst)
        advance()
        alone = {}
        for name in worst:
            _, alone[name] = measured([other for other in every if other != name])
            advance()
    return Confirmation(
        metric=metric,
        pictures=len(pictures),
        names=worst,
        error=error,
        agreement=agreement,
        error_without=error_without,
        agreement_without=agreement_without,
        alone=alone,
    )


def _parameters(layer: Layer) -> list[str]:
    return [name for name in (layer.weight, layer.bias) if name is not None]


def _check(model: ModelFolder, layers: Sequence[Layer]) -> None:
    if any(layer.int8 for layer in layers):
        return
    why = "it has no convolution or matmul with weights of its own"
    if layers:
        why = "; ".join(f"{layer.name}: {layer.reason}" for layer in layers[:3])
    raise EdgekitError(
        "EK110", f"{model.path} has no layer to make int8 ({why}): there is nothing to analyse."
    )
