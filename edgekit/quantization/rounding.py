"""Weights as int8 will have them, layer by layer, for what the int8 network really delivers to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.calibration import moments, segments
from edgekit.calibration.moments import PLACES, Moments
from edgekit.calibration.readers import Floats, Reader, readers, rows, set_weights, with_bias
from edgekit.program.graph import Program
from edgekit.quantization import gptq, write_paddle
from edgekit.quantization.table import Layer, Table, dequantized


def rounded(
    program: Program, table: Table, pictures: Sequence[Floats], advance: Callable[[int], None]
) -> Program:
    """A copy of `program` whose int8 weights are multiples of the table's scales, by GPTQ.

    Each layer's bias makes up for what rounding adds to the mean of its answers (Nagel et al. 2019,
    "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2).
    Depthwise and grouped convolutions are rounded to nearest: few weights have little to make up with.
    `advance` is called for `steps` in all.
    """
    layers = _layers(program, table)
    seen = moments.collect(program, layers, pictures, lambda: advance(1))
    network = write_paddle.activations(program, table)
    known = {layer.weight for layer in layers}
    made = program.copy()
    for other in table.quantized:
        if other.weight not in known:
            value = dequantized(program.params[other.weight], table.weights[other.weight], other.axis)
            network.params[other.weight] = value
    for layer, values in segments.layer_by_layer(network, _layers(network, table), pictures):
        weights = with_bias(network, layer)
        found = _moments(layer, values, weights.shape[1] - 1)
        fed, scales = found.matrix, np.asarray(table.weights[layer.weight])
        mean = weights @ seen[layer.weight].matrix[:, -1]
        weights[:, :-1] = gptq.rounded(weights[:, :-1], fed[:-1, :-1], scales, found.n)
        weights[:, -1] += mean - weights @ fed[:, -1]
        for each in (network, made):
            set_weights(each, layer, weights)
        advance(1)
    return made


def steps(program: Program, table: Table, pictures: Sequence[Floats]) -> int:
    return len(pictures) + len(_layers(program, table))


def _layers(program: Program, table: Table) -> list[Reader]:
    int8: dict[str, Layer] = {layer.weight: layer for layer in table.quantized}
    return [layer for layer in readers(program) if layer.weight in int8]


def _moments(layer: Reader, values: Sequence[Floats], k: int) -> Moments:
    first, total = 0, None
    for batch in values:
        part = Moments.of(rows(layer, batch, k, PLACES, first), len(batch), first)
        total = part if total is None else total.plus(part)
        first += len(batch)
    assert total is not None
    return total
