"""The table as calibration gives it, before any repair: thresholds by KL or MSE, channels by their ends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.calibration.histograms import Histogram
from edgekit.program import graph
from edgekit.program.graph import Program
from edgekit.quantization import floors, kl, mse
from edgekit.quantization.table import Activation, Channels, Layer, Table, layers_of, weight_scales
from edgekit.quantization.thresholds import Ends

METHODS = {"kl": kl.threshold, "mse": mse.threshold}

# A channel far below the largest would get a scale that only magnifies noise, and a bias that overflows.
_LEAST_CHANNEL = 1e-3
_ENOUGH = 1024  # values of a channel
# From this ratio of the largest channel to the median on, a convolution's output gets a scale per channel.
_UNEVEN = 2.0
# With dequantized inputs and a quantized output ONNX Runtime makes one integer op of each of these, and it
# then refuses to run on a scale per channel.
_ONE_SCALE = frozenset(
    ("pool2d", "sigmoid", "softmax", "leaky_relu", "elementwise_add", "elementwise_mul", "concat")
)


def fill(
    program: Program,
    layers: list[Layer],
    found: dict[str, Histogram],
    pictures: int,
    method: str,
    ends: Mapping[str, Ends] | None = None,
) -> Table:
    """The table: thresholds of activations by `method`, abs-max scales of weights and output channels.

    `ends`: where levels of output channels begin and end; without, at their lowest and highest values.
    """
    activations, lowest = {}, floors.floors(program)
    for name in tensors(layers):
        histogram = found[name]
        # A tensor that is zero on all pictures: any threshold represents it.
        clip = 1.0
        if histogram.maximum > 0:
            clip = METHODS[method](histogram.counts, histogram.bin_width)
        activations[name] = Activation(threshold=clip, maximum=histogram.maximum, floor=lowest.get(name))
    int8 = [layer for layer in layers_of(layers, "onnx") if layer.int8]
    read_as_int8 = {layer.input for layer in int8}
    made_as_int8 = {layer.output for layer in int8 if layer.int8_output}
    one_scale = {
        name
        for op in program.block.ops
        if op.type in _ONE_SCALE
        and read_as_int8.issuperset(graph.outputs(op))
        and made_as_int8.issuperset(graph.inputs(op))
        for name in graph.inputs(op)
    }
    outputs = {}
    for layer in int8:
        if not layer.int8_output or layer.relu or layer.output in read_as_int8 | one_scale:
            continue
        channels = found[layer.output].channels
        if found[layer.output].counts.sum() < _ENOUGH * channels.size:
            continue  # after a global pooling: other pictures reach further than a channel's few values
        if float(channels.max()) < _UNEVEN * float(np.median(channels)):
            continue  # one scale serves, and ONNX Runtime dequantizes it faster
        least = max(_LEAST_CHANNEL * float(channels.max(initial=0)), 1e-6)
        lows, tops = found[layer.output].bottoms, found[layer.output].tops
        lows, tops = (ends or {}).get(layer.output, (lows, tops))
        floor = activations[layer.output].floor
        lows = lows if floor is None else np.maximum(lows, floor)
        highs = np.maximum(tops, lows + least)
        outputs[layer.output] = Channels(highs=highs.tolist(), lows=lows.tolist())
    return Table(
        method=method,
        pictures=pictures,
        layers=layers,
        activations=activations,
        outputs=outputs,
        weights={
            layer.weight: weight_scales(
                program.params[layer.weight],
                layer.axis,
                program.params[layer.bias] if layer.bias is not None else None,
                activations[layer.input].scale,
            )
            for layer in layers
            if layer.int8
        },
    )


def tensors(layers: list[Layer]) -> dict[str, int]:
    """What some target quantizes, and the axis of its channels."""
    wanted: dict[str, int] = {}
    for layer in layers:
        if layer.int8:
            wanted[layer.input] = -1 if layer.type == "matmul" else 1
            if layer.int8_output:
                wanted[layer.relu or layer.output] = 1
    return wanted
