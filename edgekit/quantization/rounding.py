"""Weights as int8 will have them, layer by layer, for what the int8 network really delivers to each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edgekit.calibration import moments, segments
from edgekit.calibration.moments import PLACES, Moments
from edgekit.calibration.readers import Doubles, Floats, Reader, readers, rows, set_weights, with_bias
from edgekit.program.graph import Program
from edgekit.quantization import gptq, write_paddle
from edgekit.quantization.table import Layer, Table, dequantized

# Columns that are rounded together. The moments of a convolution of 3 x 3 over 1024 channels would take
# gigabytes, and a few dozen pictures say too little about so many.
WIDEST = 2304


def rounded(
    program: Program, table: Table, pictures: Sequence[Floats], advance: Callable[[int], None]
) -> Program:
    """A copy of `program` whose int8 weights are multiples of the table's scales, by GPTQ.

    Each layer's bias makes up for what rounding adds to the mean of its answers (Nagel et al. 2019,
    "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2).
    Taps of a depthwise convolution see neighbours, which are much alike: they make up for each other well.
    Grouped convolutions are rounded to nearest.
    Columns make up for each other within `WIDEST` neighbours. `advance` is called for `steps` in all.
    """
    layers = _layers(program, table)
    wanted = moments.means(program, layers, pictures, lambda: advance(1))
    # Lite's grids are the coarser ones, and ruin what is int8 in ONNX alone: such a layer reads floats here.
    network = write_paddle.activations(program, table.of("lite"))
    known = {layer.weight for layer in layers}
    made = program.copy()
    for other in table.quantized:
        if other.weight not in known:
            value = dequantized(program.params[other.weight], table.weights[other.weight], other.axis)
            network.params[other.weight] = value
    for layer, values in segments.layer_by_layer(network, _layers(network, table), pictures):
        weights, scales = with_bias(network, layer), np.asarray(table.weights[layer.weight])
        mean = _answers(weights, wanted[layer.weight])
        if layer.kind == "depthwise":
            second, fed, n = _of_channels(layer, values, weights.shape[1] - 1)
            weights[:, None, :-1] = gptq.rounded(weights[:, None, :-1], second, scales[:, None], n)
        else:
            fed = np.ones(weights.shape[1])
            for columns, found in _moments(layer, values, weights.shape[1] - 1):
                matrix = found.matrix
                fed[columns] = matrix[:-1, -1]
                weights[:, columns] = gptq.rounded(weights[:, columns], matrix[:-1, :-1], scales, found.n)
        weights[:, -1] += mean - _answers(weights, fed)
        for each in (network, made):
            set_weights(each, layer, weights)
        advance(1)
    return made


def without_biases(rounded: Program, program: Program, table: Table) -> Program:
    """A copy of what `rounded` made of `program` with that program's own biases.

    The means of a few dozen lines of text, dark on light or light on dark, are not those of others: there it
    is better to leave them (PP-OCRv3 rec: .0022 of the outputs' variance, .016 with biases that keep them).
    """
    made = rounded.copy()
    for layer in _layers(program, table):
        if layer.bias is not None:
            made.params[layer.bias] = program.params[layer.bias]
    return made


def steps(program: Program, table: Table, pictures: Sequence[Floats]) -> int:
    return len(pictures) + len(_layers(program, table))


def _layers(program: Program, table: Table) -> list[Reader]:
    int8: dict[str, Layer] = {layer.weight: layer for layer in table.quantized}
    return [layer for layer in readers(program, depthwise=True) if layer.weight in int8]


def _answers(weights: Doubles, z: Doubles) -> Doubles:
    """The outputs [out] for one row z [k + 1], or (depthwise) for a row of its own for each."""
    return np.asarray((weights * z).sum(1) if z.ndim == 2 else weights @ z)


def _of_channels(layer: Reader, values: Sequence[Floats], k: int) -> tuple[Doubles, Doubles, int]:
    """Of a depthwise layer: E[x x'] [channels, k, k], E[z] [channels, k + 1] with z = [x, 1], rows."""
    total, first = np.zeros(1), 0
    n = 0
    for batch in values:
        x = rows(layer, batch, k, PLACES, first)
        z = np.concatenate([x.reshape(len(x), -1, k), np.ones((len(x), x.shape[1] // k, 1), np.float32)], 2)
        channels = np.ascontiguousarray(z.transpose(1, 2, 0))
        total = total + (channels @ channels.transpose(0, 2, 1)).astype(np.float64)
        first += len(batch)
        n += len(x)
    matrix = total / n
    return matrix[:, :-1, :-1], matrix[:, -1], n


def _moments(layer: Reader, values: Sequence[Floats], k: int) -> Iterator[tuple[slice, Moments]]:
    """Block by block of columns, with the moments of what a layer reads there."""
    for start in range(0, k, WIDEST):
        columns = slice(start, min(start + WIDEST, k))
        first, total = 0, None
        for batch in values:
            x = rows(layer, batch, k, PLACES, first)[:, columns]
            part = Moments.of(x, len(batch), first)
            total = part if total is None else total.plus(part)
            first += len(batch)
        assert total is not None
        yield columns, total
