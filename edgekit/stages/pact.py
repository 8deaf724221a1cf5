"""pact: a quantized model folder -> the same after training with its roundings (QAT), in the same table.

It starts from the table that `quantize` repaired, and learns the float original's answers, without labels.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from edgekit.calibration import ranges
from edgekit.calibration.judging import Judge
from edgekit.calibration.readers import Floats
from edgekit.console import Progress
from edgekit.data.images import ImageSet
from edgekit.folder import PARAMETERS, PROGRAM, ModelFolder
from edgekit.program import edit, graph
from edgekit.quantization import analysis, pact, table, write_paddle
from edgekit.quantization.repair import Int8
from edgekit.quantization.table import Channels
from edgekit.recipe import Pact
from edgekit.stages import distil
from edgekit.tasks import evaluate
from edgekit.training import distil as training
from edgekit.training import trainable
from edgekit.training.graph_training import Clips

_JUDGED = 16  # pictures on which the error of the outputs is measured, none of them trained on
_RANGED = 64  # pictures for the ranges of what ONNX Runtime quantizes besides


def run(
    model: ModelFolder,
    teacher: ModelFolder,
    section: Pact,
    images: ImageSet,
    labels: Path | None,
    work: Path,
    out: Path,
    progress: Progress,
) -> str:
    """`model` has a table of scales; `work` keeps checkpoints: a run that was killed goes on from there.

    Raises EK401 when the model is not quantized, and what `training.distil` raises.
    """
    scales = table.load(model.path)
    folder = model.path / table.INT8
    int8 = graph.read(folder / PROGRAM, folder / PARAMETERS, model.info.typical)
    start = Int8(write_paddle.unrounded(int8), scales)
    original = edit.fold_batch_norm(teacher.read())
    train, unseen = distil.examples(model, images, labels)
    alphas = pact.clips(start)
    done = training.distil(
        pact.trainable(start),
        original,
        train,
        unseen,
        distil.settings(section),
        distil.losses_of(model),
        work,
        progress,
        weights=[*trainable.weights(start.program), *alphas],
        clips=Clips(tuple(alphas), section.clip_rate, section.clip_decay),
    )
    some = [train.pictures[k] for k in range(min(_RANGED, len(train.pictures)))]
    made = _ranged(pact.trained(start, done.program.params), start, some, progress)
    judge = Judge(
        original,
        [unseen.pictures[k] for k in range(min(_JUDGED, len(unseen.pictures)))],
        partial(evaluate.importance, model.info),
    )
    errors = {
        "repaired": judge.error(start.simulated(), optimise=False),
        "pact": judge.error(made.simulated(), optimise=False),
    }
    graph.write(model.read(), out)
    (out / table.INT8).mkdir()
    graph.write(write_paddle.write(made.program, made.table.of("lite")), out / table.INT8)
    made.table.save(out)
    if (model.path / analysis.FILE).is_file():
        shutil.copy2(model.path / analysis.FILE, out / analysis.FILE)
    moved = _moved(start, made)
    entry = {
        "stage": "pact",
        **section.model_dump(mode="json"),
        "threads": distil.settings(section).threads,
        "seconds": done.seconds,
        "loss_before": done.start_loss,
        "loss_after": done.best_loss,
        "errors": errors,
        "clipping": moved,  # alpha over what it was, and over the largest value seen in calibration
        "pictures": len(images.paths),
        "data": images.digest,
    }
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    shutil.rmtree(work, ignore_errors=True)
    return (
        f"held-out loss {done.start_loss:.4g} -> {done.best_loss:.4g}, error of the outputs "
        f"{errors['repaired']:.3g} -> {errors['pact']:.3g}; clipping values x {moved['least']:.2f} to "
        f"{moved['most']:.2f}, {moved['clipping']} of {moved['count']} below the largest value; "
        f"{len(images.paths)} pictures in {done.seconds / 60:.1f} minutes "
        f"({done.pictures_per_second:.1f} pictures/s)"
    )


def _moved(start: Int8, made: Int8) -> dict[str, float | int]:
    names = list(dict.fromkeys(layer.input for layer in start.table.quantized))
    before, after = start.table.activations, made.table.activations
    moves = [after[name].threshold / before[name].threshold for name in names]
    return {
        "least": min(moves),
        "median": float(np.median(moves)),
        "most": max(moves),
        "clipping": sum(after[name].threshold < after[name].maximum for name in names),
        "count": len(names),
    }


def _ranged(made: Int8, start: Int8, pictures: Sequence[Floats], progress: Progress) -> Int8:
    """`made` with thresholds of what only ONNX Runtime quantizes, a layer's outputs, moved as far as training
    has moved their ranges."""
    read = {layer.input for layer in made.table.quantized}
    only = [name for name in made.table.activations if name not in read]
    names = [*made.table.outputs, *made.table.products, *only]
    with progress.task("Ranges of outputs", 2 * len(pictures)) as advance:
        before = ranges.peaks(start.program, names, pictures, advance)
        after = ranges.peaks(made.program, names, pictures, advance)
    ratios = {name: after[name] / np.maximum(before[name], 1e-12) for name in names}
    outputs = {}
    for name, reach in made.table.outputs.items():
        moved = np.where(before[name] > 0, ratios[name], 1.0)
        floor = made.table.activations[name].floor
        lows = None
        if reach.lows is not None:  # a floor stays where it is
            lows = [low if low == floor else low * by for low, by in zip(reach.lows, moved, strict=True)]
        highs = [high * by for high, by in zip(reach.highs, moved, strict=True)]
        outputs[name] = Channels(highs=highs, lows=lows)
    products = {}
    for name, product in made.table.products.items():
        moved = ratios[name][before[name] > 0]
        factors = made.table.activations[product.tensor].factors
        by = float(moved.max(initial=1.0)) if factors is not None else 1.0
        products[name] = product.model_copy(update={"step": product.step * by})
    activations = dict(made.table.activations)
    for name in only:
        ratio = float(after[name].max()) / float(before[name].max()) if before[name].any() else 1.0
        old = activations[name]
        activations[name] = old.model_copy(
            update={
                "threshold": old.threshold * ratio,
                "maximum": old.maximum * ratio,
                "high": old.high * ratio if old.high else None,
            }
        )
    changed = {"outputs": outputs, "products": products, "activations": activations}
    return Int8(made.program, made.table.model_copy(update=changed))
