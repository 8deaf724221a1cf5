"""What each layer costs the network's answers when it alone is int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.calibration import segments, walks
from edgekit.calibration.judging import Judge, loss
from edgekit.calibration.moments import batches
from edgekit.calibration.readers import Floats
from edgekit.program.graph import Program, inputs, outputs, set_slot
from edgekit.quantization.table import LEVELS, Layer, Table, dequantized

DELIVERED = ".dequantized"


def alone(
    program: Program, table: Table, judge: Judge, advance: Callable[[], None], *, weights: bool = True
) -> dict[str, float]:
    """Error of the outputs, over their variance, with one int8 layer at a time: {layer's name: error}.

    `weights=False`: only what the layer reads is rounded. `advance` is called once per layer.
    """
    layers = {layer.name: layer for layer in table.quantized}
    places: dict[str, int] = {}
    by_weight = {layer.weight: layer.name for layer in layers.values()}
    for place, op in enumerate(program.ops):
        for name in inputs(op):
            if name in by_weight:
                places[by_weight[name]] = place
    order = sorted(layers, key=lambda name: places[name])

    def walk(names: Sequence[str], tick: Callable[[], None]) -> dict[str, float]:
        known = [{program.feeds[0]: batch} for _, batch in batches(judge.pictures, program)]
        position, found = 0, {}
        for name in names:
            place, layer = places[name], layers[name]
            before = {n for op in program.ops[:place] for n in outputs(op)}
            needed = [*segments.frontier(program, place), *(n for n in judge.names if n in before)]
            known = segments.advance(program, position, place, list(dict.fromkeys(needed)), known)
            position = place
            made = _with_one(program, table, layer, place, weights)
            threshold = table.activations[layer.input].threshold
            given = [{**b, f"{layer.input}{DELIVERED}": _rounded(b[layer.input], threshold)} for b in known]
            got = segments.advance(made, place, len(program.ops), judge.names, given)
            found[name] = loss(judge.reference, got)
            tick()
        return found

    return walks.dealt(order, walk, advance)


def _with_one(program: Program, table: Table, layer: Layer, place: int, weights: bool) -> Program:
    """`program` with one layer that reads a tensor of its own, for others may read the same one."""
    made = program.copy()
    made.add_var(f"{layer.input}{DELIVERED}", made.shape(layer.input))
    op = made.block.ops[place]
    set_slot(op.inputs, "Input" if op.type.endswith("conv2d") else "X", [f"{layer.input}{DELIVERED}"])
    if weights:
        value = program.params[layer.weight]
        made.params[layer.weight] = dequantized(value, table.weights[layer.weight], layer.axis)
    return made


def _rounded(x: Floats, threshold: float) -> Floats:
    step = np.float32(threshold / LEVELS)
    return np.asarray(np.clip(np.rint(x / step), -LEVELS, LEVELS) * step, np.float32)
