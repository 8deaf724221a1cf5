"""From what was measured about a layer to figures that a person reads, and to one sentence: what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

import edgekit
from edgekit.calibration.readers import Doubles
from edgekit.folder import ModelInfo
from edgekit.program.graph import Program
from edgekit.quantization.analysis import Analysis, Channels, FloatLayer, LayerFigures
from edgekit.quantization.noise import Noise, Reading
from edgekit.quantization.sensitivity import Cost
from edgekit.quantization.table import LEVELS, Layer, Table, dequantized

SHOWN = 8  # the worst layers, with a histogram and the range of every channel
FEW = 8  # levels that are too few for a channel

_NOTHING = 1e-4  # of the outputs' variance
_HALF = 0.5
_UNEVEN = 0.9  # a scale for each channel would spare so much of the error
_POOR = 0.25  # the share of channels with few levels, or of weights that round to zero


def analysis(
    info: ModelInfo,
    state: str,
    table: Table,
    costs: Mapping[str, Cost],
    program: Program,
    weights: Program,
    pictures: int,
    left: Collection[str] = (),
) -> Analysis:
    """The figures of all layers that were int8 in `table`, the worst first.

    program: the float one that `costs` were measured on; weights: as in `sensitivity.alone`; left: names of
    layers that were then left in float.
    """
    ranked = sorted(table.quantized, key=lambda layer: -costs[layer.name].error)
    layers = []
    for place, layer in enumerate(ranked):
        cost = costs[layer.name]
        found = figures(layer, table, cost, program, weights)
        changes: dict[str, object] = {"int8": layer.name not in left}
        if place < SHOWN:
            changes |= {"histogram": cost.reading.counts.tolist(), "ranges": cost.reading.ranges.tolist()}
        layers.append(found.model_copy(update=changes))
    return Analysis(
        name=info.name,
        task=info.task,
        state=state,
        edgekit_version=edgekit.__version__,
        pictures=pictures,
        macs=sum(layer.macs for layer in table.layers),
        layers=layers,
        floats=[
            FloatLayer(name=layer.name, macs=layer.macs, reason=layer.reason)
            for layer in table.layers
            if not layer.int8
        ],
    )


def figures(layer: Layer, table: Table, cost: Cost, program: Program, weights: Program) -> LayerFigures:
    reading, activation = cost.reading, table.activations[layer.input]
    wanted = program.params[layer.weight]
    made = dequantized(weights.params[layer.weight], table.weights[layer.weight], layer.axis)
    noise = Noise()
    noise.add(wanted.astype(np.float32), made)
    floats, integers = (
        by_input(layer, wanted, len(reading.ranges)),
        by_input(layer, made, len(reading.ranges)),
    )
    # To first order what a layer answers is off by the error of each channel times its weights.
    power = np.square(floats.astype(np.float64)).sum(1)
    total = float(power @ reading.noise)
    found = LayerFigures(
        name=layer.name,
        type=layer.type,
        macs=layer.macs,
        int8=True,
        error=cost.error,
        sqnr_input=reading.sqnr_db,
        sqnr_weight=noise.sqnr_db,
        sqnr_output=cost.output.sqnr_db,
        from_input=cost.from_input,
        threshold=activation.threshold,
        maximum=activation.maximum,
        evened=activation.factors is not None,
        clipped=reading.clipped / max(1, reading.values),
        clipping=float(power @ reading.clipping) / total if total > 0 else 0.0,
        zeroed=reading.zeroed / max(1, reading.values),
        channels=channels(reading, power),
        weights_zeroed=float(((made == 0) & (wanted != 0)).mean()),
        silent=int((floats.any(1) & ~integers.any(1)).sum()),
        sentence="",
    )
    return found.model_copy(update={"sentence": sentence(found)})


def channels(reading: Reading, power: Doubles) -> Channels:
    """power: the sum of squares of the weights of each channel."""
    ranges, threshold = reading.ranges.astype(np.float64), reading.threshold
    alive = ranges[ranges > 0]
    levels = np.rint(np.minimum(alive, threshold) * LEVELS / threshold)
    shared = threshold**2 * float(power.sum())
    own = float(np.minimum(ranges, threshold) ** 2 @ power)
    return Channels(
        count=len(ranges),
        alive=len(alive),
        largest=float(alive.max(initial=0.0)),
        median=float(np.median(alive)) if len(alive) else 0.0,
        few=int((levels < FEW).sum()),
        spared=1 - own / shared if shared > 0 else 0.0,
    )


def by_input(layer: Layer, weight: npt.NDArray[np.generic], count: int) -> npt.NDArray[np.generic]:
    """A weight as [input channels, everything that a channel is weighed with]; `count` of them are read."""
    if layer.type == "matmul":
        return weight  # [in, out]
    out, own = weight.shape[:2]
    groups = count // own
    parts = weight.reshape(groups, out // groups, own, -1)
    return parts.transpose(0, 2, 1, 3).reshape(count, -1)


def sentence(layer: LayerFigures) -> str:
    """What is wrong with an int8 layer: what most of its error comes from, in figures."""
    if layer.error < _NOTHING:
        return f"Nothing: alone it costs {layer.error:.1g} of the outputs' variance."
    if layer.from_input is not None and layer.from_input < _HALF:
        return _weights(layer, 1 - layer.from_input)
    seen = layer.channels
    if layer.clipping > _HALF:
        return (
            f"The threshold, {layer.threshold:.3g}, clips {100 * layer.clipped:.2g} % of what it reads, "
            f"which reaches {layer.maximum:.3g}: that makes {layer.clipping:.0%} of its error."
        )
    if seen.spared >= _UNEVEN or seen.few >= _POOR * max(1, seen.alive):
        told = f"The largest channel it reads is {seen.largest / seen.median:.3g} times the median"
        if seen.few:
            return f"{told}: {seen.few} of {seen.alive} get fewer than {FEW} of {LEVELS} levels."
        return f"{told}: by estimate a scale for each would spare {seen.spared:.0%} of its error."
    if layer.zeroed >= _HALF:
        return (
            f"A few large values stretch the scale (threshold {layer.threshold:.3g}): {layer.zeroed:.0%} of "
            "what it reads rounds to zero."
        )
    return (
        f"No one cause: rounding leaves what it reads {_db(layer.sqnr_input)} and its answers "
        f"{_db(layer.sqnr_output)}."
    )


def _weights(layer: LayerFigures, share: float) -> str:
    told = f"Its weights make {share:.0%} of its error"
    if layer.silent:
        return f"{told}: those of {layer.silent} of {layer.channels.count} input channels round to zero."
    if layer.weights_zeroed >= _POOR:
        return f"{told}: a few large ones stretch the scale, and {layer.weights_zeroed:.0%} round to zero."
    return f"{told}: rounding leaves them {_db(layer.sqnr_weight)}."


def _db(value: float | None) -> str:
    return "as it was" if value is None else f"{value:.0f} dB"
