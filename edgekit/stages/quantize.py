"""quantize: float model folder -> the same with batch norms folded, and what int8 will be beside it.

The program stays float. The table of scales says what becomes int8, and `int8/` is the quantized program,
whose repaired weights `export` and `convert` take.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from edgekit.backends import paddle as backend
from edgekit.calibration import histograms, segments
from edgekit.calibration.histograms import Feed, Histogram
from edgekit.calibration.judging import Judge, held_out
from edgekit.calibration.readers import Floats
from edgekit.console import Progress
from edgekit.data.images import ImageSet
from edgekit.errors import EdgekitError
from edgekit.folder import ModelFolder, ModelInfo
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import (
    calibrated,
    diagnosis,
    repair,
    rescue,
    rounding,
    rule,
    sensitivity,
    table,
    write_paddle,
)
from edgekit.quantization.analysis import Analysis
from edgekit.quantization.repair import Choice, Int8
from edgekit.quantization.table import Layer, Table, Target
from edgekit.quantization.thresholds import Ends
from edgekit.recipe import Gate, Quantize
from edgekit.stages.agreement import Agreement, picture
from edgekit.tasks import evaluate

REPAIRS = 48  # pictures at most that repairs look at
_JUDGED = 16 * 640 * 512  # pixels of pictures that errors are measured on: each layer alone looks at them

TARGETS: tuple[Target, ...] = ("lite", "onnx")


def run(model: ModelFolder, section: Quantize, images: ImageSet, out: Path, progress: Progress) -> str:
    start = time.monotonic()
    program = edit.fold_batch_norm(model.read())
    layers = rule.layers(program, section.keep_float)
    seen = [picture(path, model.info) for path in images.paths]
    pictures = [each.tensor for each in seen]
    found = calibrate(program, layers, pictures, progress)
    fitted, some = held_out(pictures)
    fitted = segments.affordable(fitted[:REPAIRS])
    some = segments.affordable(some, _JUDGED)
    judge = Judge(program, some, partial(evaluate.importance, model.info))
    errors: dict[str, float] = {}
    undone: list[str] = []
    count = len(pictures)
    chosen_by: Analysis | None = None
    for how, step, error, analysed in repaired(
        model.info, program, layers, found, section, count, fitted, judge,
        lambda: Agreement(model.info, program, seen), progress,
    ):  # fmt: skip
        errors[how] = error
        if step is None:
            undone.append(how)
            continue
        made, chosen_by = step, analysed or chosen_by
    if "thresholds" in section.repair:
        ranges = {name: histogram.channels for name, histogram in found.items()}
        tops = {name: histogram.tops for name, histogram in found.items()}
        with progress.task("Judging outputs", len(fitted)) as advance:
            better = repair.only_onnx(made.program, made.table, ranges, tops, fitted, advance)
        made = Int8(made.program, better)
    graph.write(program, out)
    (out / table.INT8).mkdir()
    graph.write(write_paddle.write(made.program, made.table.of("lite")), out / table.INT8)
    made.table.save(out)
    if chosen_by is not None:
        chosen_by.save(out)
    entry = {
        "stage": "quantize",
        "method": section.thresholds,
        "float": section.keep_float,
        "repair": section.repair,
        # Of the outputs, over their variance: before any repair, after each. No weight is rounded for these
        # pictures, but thresholds know their ranges, and the rescue chooses by them.
        "errors": errors,
        "undone": undone,
        "pictures": len(images.paths),
        "data": images.digest,
    }
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    told = ", ".join(
        f"{error:.3g} {how}{' (undone)' if how in undone else ''}" for how, error in errors.items()
    )
    return (
        f"{section.thresholds} on {len(images.paths)} pictures: {_int8(made.table)}; error of the outputs "
        f"{told}; in {time.monotonic() - start:.1f} s"
    )


def repaired(
    info: ModelInfo,
    program: Program,
    layers: list[Layer],
    found: dict[str, Histogram],
    section: Quantize,
    count: int,
    pictures: Sequence[Floats],
    judge: Judge,
    agreement: Callable[[], Agreement],
    progress: Progress,
) -> Iterator[tuple[str, Int8 | None, float, Analysis | None]]:
    """The method's own thresholds, and one repair after another on top: (name, what it makes, the error of
    the outputs, and what the rescue chose by). What makes the error larger is undone: None.

    `found` is of `count` pictures; `pictures` are for the repairs.
    """
    ranges = {name: histogram.channels for name, histogram in found.items()}
    seen_ends: dict[str, Ends] = {
        layer.output: (found[layer.output].bottoms, found[layer.output].tops)
        for layer in layers
        if layer.int8_output and layer.output in found
    }
    ends: dict[str, Ends] = {}
    grids: dict[str, Choice] = {}

    def built(layers: list[Layer], *, levels: bool = True) -> Int8:
        chosen, products = repair.chosen(program, layers if levels else [], grids)
        made, names = repair.evened(program, layers, chosen)
        known = {**found, **{new: found[old] for new, old in names.items()}}
        read = rule.renamed(layers, made)
        scales = calibrated.fill(made, read, known, count, section.thresholds, ends)
        return Int8(made, repair.with_grids(scales, chosen, names, products))

    made = built(layers)
    error = judge.error(made.simulated(), optimise=False)
    yield section.thresholds, made, error, None
    kept = [section.thresholds]
    for how in section.repair:
        seen = None
        before, best = (made, grids, ends, layers), error
        if how == "gptq":
            tried = _rounded(made, pictures, progress)
        elif how == "rescue":
            with progress.task("Each layer alone in int8", len(made.table.quantized)) as advance:
                costs = sensitivity.alone(
                    made.program, made.table, judge, advance, weights=made.program, targets=TARGETS
                )
            alone = {t: {name: cost.error for name, cost in each.items()} for t, each in costs.items()}
            floats: dict[Target, list[str]] = {}
            for target, each in costs.items():
                expected = {
                    name: rescue.expected(cost, "gptq" in section.repair) for name, cost in each.items()
                }
                names = rescue.order(layers, expected, section.rescue)
                floats[target] = names[: rescue.enough(names, expected, section.rescue.error)]
                if section.rescue.gates:
                    count = _fewest(layers, names, alone, section, built, agreement(), progress)
                    floats = dict.fromkeys(TARGETS, names[:count])
                    break
            layers = rescue.applied(layers, floats, alone)
            left = set(floats["lite"])
            seen = diagnosis.analysis(
                info,
                " + ".join(kept),
                made.table,
                costs["lite"],
                made.program,
                made.program,
                len(judge.pictures),
                left,
            )
            tried = [built(layers)]
        else:
            with progress.task(f"Judging {how}", len(pictures)) as advance:
                factors = how == "equalise"
                grids, ends = repair.grids(
                    program, layers, ranges, pictures, advance, factors=factors, outputs=seen_ends
                )
            tried = [built(layers)]
        judged = [judge.error(each.simulated(), optimise=False) for each in tried]
        if how == "gptq" and made.table.products and min(judged) > best:
            # Factors that suit levels of a hard swish may not suit Lite (PP-OCRv3 rec: .0041, .0016 without).
            tried = _rounded(built(layers, levels=False), pictures, progress)
            judged = [judge.error(each.simulated(), optimise=False) for each in tried]
        error = min(judged)
        made = tried[judged.index(error)]
        if error > best:
            yield how, None, error, None
            (made, grids, ends, layers), error = before, best
        else:
            kept.append(how)
            yield how, made, error, seen


def _rounded(made: Int8, pictures: Sequence[Floats], progress: Progress) -> list[Int8]:
    """By GPTQ, with biases that keep the means and with those that were there."""
    steps = rounding.steps(made.program, made.table, pictures)
    with progress.task("Rounding weights (GPTQ)", steps) as advance:
        weights = rounding.rounded(made.program, made.table, pictures, advance)
    plain = rounding.without_biases(weights, made.program, made.table)
    return [Int8(each, made.table) for each in (weights, plain)]


def _fewest(
    layers: list[Layer],
    names: list[str],
    errors: Mapping[Target, Mapping[str, float]],
    section: Quantize,
    built: Callable[[list[Layer]], Int8],
    agreement: Agreement,
    progress: Progress,
) -> int:
    """How many of `names` stay float for the rescue's gates to hold; all of them where none do."""
    gates = {metric: Gate.parse(text) for metric, text in section.rescue.gates.items()}
    found: dict[int, evaluate.Metrics] = {}

    def holds(count: int) -> bool:
        made = built(rescue.applied(layers, dict.fromkeys(TARGETS, names[:count]), errors))
        later = "gptq" in section.repair
        program = write_paddle.activations(made.program, made.table.of("lite")) if later else made.simulated()
        _, found[count] = agreement.measure(program)
        advance()
        if unknown := [metric for metric in gates if metric not in found[count]]:
            raise EdgekitError(
                "EK102",
                f"quantize.rescue.gates: {unknown[0]!r} is not measured without labels; "
                f"{', '.join(found[count])} are.",
            )
        return all(gate.holds(_number(found[count][metric])) for metric, gate in gates.items())

    with progress.task("Rescue by the metric", math.ceil(math.log2(len(names) + 1)) + 1) as advance:
        count = rescue.fewest(len(names), holds)
        reached = count in found or holds(count)
    chosen = [layer for layer in layers if layer.name in names[:count]]
    told = ", ".join(f"{metric} {_number(found[count][metric]):.4g} ({gates[metric]})" for metric in gates)
    cost = (
        f"{count} layers in float, {sum(layer.macs for layer in chosen) / _macs(layers):.1%} of the MACs, "
        f"{3 * sum(layer.params for layer in chosen) / 1e6:.3g} MB"
    )
    if not reached or not all(g.holds(_number(found[count][m])) for m, g in gates.items()):
        cost = f"no set within the shares of quantize.rescue keeps the gates; the largest: {cost}"
    progress.line(f"rescue: {cost}: {told} on {len(agreement.pictures)} calibration pictures")
    return count


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)


def _int8(scales: Table) -> str:
    found = {
        target: (len(scales.of(target).quantized), sum(each.macs for each in scales.of(target).quantized))
        for target in TARGETS
    }
    told = {
        target: f"{count} of {len(scales.layers)} layers int8, {macs / _macs(scales.layers):.0%} of the MACs"
        for target, (count, macs) in found.items()
    }
    return told["onnx"] if told["onnx"] == told["lite"] else f"{told['onnx']} (for Lite {told['lite']})"


def _macs(layers: Sequence[Layer]) -> int:
    return max(1, sum(layer.macs for layer in layers))


def calibrate(
    program: Program, layers: list[Layer], pictures: Sequence[Floats], progress: Progress
) -> dict[str, Histogram]:
    """Histograms of every tensor that some target quantizes."""
    tensors = calibrated.tensors(layers)
    (name,) = program.feeds
    inner = [tensor for tensor in tensors if tensor != name]
    with tempfile.TemporaryDirectory() as scratch, progress.task("Calibrating", 2 * len(pictures)) as advance:
        folder = Path(scratch)
        graph.write(edit.cut(program, {tensor: tensor for tensor in inner}), folder)
        run_program = backend.load(folder / "inference.pdmodel", folder / "inference.pdiparams")

        def feeds() -> Iterator[Feed]:
            for picture in pictures:
                yield {name: picture[None]}
                advance()

        return histograms.collect(run_program, feeds, tensors)
