"""PACT: clipping values of activations that are trained, beside the weights they belong to.

Choi et al. 2018, "PACT: Parameterized Clipping Activation for Quantized Neural Networks": y = clip(x, alpha),
then rounded; gradients go through the rounding as if it were not there, and alpha has that of what it clips.
Here clip(x, -alpha, alpha), as int8 is symmetric, with one alpha for each tensor that an int8 layer reads.
Weights are rounded in training as they will be, with the scales of the table.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.program.graph import Op, Program, make_op, set_slot
from edgekit.program.parameters import Array
from edgekit.quantization import write_paddle
from edgekit.quantization.repair import Int8
from edgekit.quantization.table import LEVELS, Layer, dequantized

_CLIP = ".alpha"
_LEAST = 0.05  # of the clipping value at the start: an alpha near 0 would make a scale of 0
_ROUND = "fake_quantize_dequantize_moving_average_abs_max"


def clip(tensor: str) -> str:
    """The parameter that holds alpha of a tensor, shape [1]."""
    return f"{tensor}{_CLIP}"


def trainable(start: Int8) -> Program:
    """A float program that answers as int8 will, and whose weights and `clip`s can be trained.

    Weights of depthwise layers, which are not trained, are rounded once.
    """
    made, table = start.program.copy(), start.table
    by_weight = {layer.weight: layer for layer in table.quantized}
    made.set_param(_FULL, np.array([LEVELS], np.float32))
    ready: set[str] = set()
    result: list[Op] = []
    for op in made.ops:
        layer = write_paddle.layer_of(op, by_weight)
        if layer is not None:
            if layer.input not in ready:
                ready.add(layer.input)
                result += _clipped(made, layer.input, table.activations[layer.input].threshold)
            set_slot(op.inputs, write_paddle.input_slot(op), [f"{layer.input}.rounded"])
            if layer.type == "depthwise_conv2d":
                weight = made.params[layer.weight]
                made.params[layer.weight] = dequantized(weight, table.weights[layer.weight], layer.axis)
            else:
                result += _rounded_weight(made, layer, table.weights[layer.weight])
                set_slot(op.inputs, write_paddle.weight_slot(op), [f"{layer.weight}.rounded"])
        result.append(op)
    made.replace_ops(result)
    return made


def clips(start: Int8) -> list[str]:
    return list(dict.fromkeys(clip(layer.input) for layer in start.table.quantized))


def trained(start: Int8, values: Mapping[str, Array]) -> Int8:
    """`start` with the weights and clipping values that training found, by their names in `trainable`."""
    made, activations = start.program.copy(), dict(start.table.activations)
    for name in made.params:
        if name in values:
            made.params[name] = values[name]
    for name in {layer.input for layer in start.table.quantized}:
        old = activations[name]
        alpha = max(float(values[clip(name)][0]), _LEAST * old.threshold)
        activations[name] = old.model_copy(update={"threshold": alpha, "high": None})
    return Int8(made, start.table.model_copy(update={"activations": activations}))


_FULL = "edgekit.levels"


def _clipped(program: Program, tensor: str, threshold: float) -> list[Op]:
    shape = program.shape(tensor)
    below, between, rounded = (f"{tensor}.{how}" for how in ("below", "clipped", "rounded"))
    for name in (below, between, rounded):
        program.add_var(name, shape)
    alpha, negative = clip(tensor), f"{clip(tensor)}.negative"
    program.set_param(alpha, np.array([threshold], np.float32))
    program.add_var(negative, [1])
    return [
        make_op("scale", {"X": [alpha]}, {"Out": [negative]}, {"scale": -1.0, "bias": 0.0}),
        make_op("elementwise_min", {"X": [tensor], "Y": [alpha]}, {"Out": [below]}, {"axis": -1}),
        make_op("elementwise_max", {"X": [below], "Y": [negative]}, {"Out": [between]}, {"axis": -1}),
        _rounding(program, between, alpha, rounded),
    ]


def _rounded_weight(program: Program, layer: Layer, scales: list[float]) -> list[Op]:
    weight = program.params[layer.weight]
    shape = [1] * weight.ndim
    shape[layer.axis] = -1
    steps = np.asarray(scales, np.float32).reshape(shape)
    names = [f"{layer.weight}.{what}" for what in ("steps", "inverse", "levels", "integers", "rounded")]
    step, inverse, levels, integers, rounded = names
    program.set_param(step, steps)
    program.set_param(inverse, 1 / steps)
    for name in (levels, integers, rounded):
        program.add_var(name, weight.shape)
    return [
        make_op("elementwise_mul", {"X": [layer.weight], "Y": [inverse]}, {"Out": [levels]}, {"axis": -1}),
        _rounding(program, levels, _FULL, integers),
        make_op("elementwise_mul", {"X": [integers], "Y": [step]}, {"Out": [rounded]}, {"axis": -1}),
    ]


def _rounding(program: Program, tensor: str, threshold: str, out: str) -> Op:
    """clip and round to 127 levels up to `threshold`, a tensor [1]; the gradient passes unchanged."""
    program.add_var(f"{out}.scale", [1])
    return make_op(
        _ROUND,
        {"X": [tensor], "InScale": [threshold]},
        {"Out": [out], "OutScale": [f"{out}.scale"]},
        {"bit_length": 8, "is_test": True, "moving_rate": 0.9, "round_type": 0},
    )
