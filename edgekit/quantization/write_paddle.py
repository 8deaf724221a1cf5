"""The quantized Paddle program (PaddleSlim's `onnx_format`): quantize_linear / dequantize_linear around
each layer's input, int8 weights behind a dequantize_linear.

Paddle Lite's convolutions take int8 inputs and hand over float where the next op wants float, so the
outputs stay as they are: writing them as int8 too would only add conversions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.program.edit import drop_unused
from edgekit.program.graph import Op, Program, attr, inputs, make_op, outputs, set_slot
from edgekit.quantization.table import LEVELS, Layer, Table, quantize_weight


def write(program: Program, table: Table) -> Program:
    """A copy of `program` with every int8 layer of `table` quantized. Scales in it are thresholds
    (127 * scale), as Paddle's quantize_linear wants them."""
    made = activations(program, table)
    by_weight = {layer.weight: layer for layer in table.quantized}
    result: list[Op] = []
    for op in made.ops:
        layer = layer_of(op, by_weight)
        if layer is not None:
            scales = table.weights[layer.weight]
            weight = made.params[layer.weight]
            made.add_var(f"{layer.weight}.dequantized", weight.shape)
            made.set_param(layer.weight, quantize_weight(weight, scales, layer.axis))
            made.set_param(f"{layer.weight}@scale", np.array(scales, np.float32) * np.float32(LEVELS))
            made.set_param(f"{layer.weight}@zero_point", np.zeros(len(scales), np.int32))
            result.append(
                make_op(
                    "dequantize_linear",
                    {
                        "X": [layer.weight],
                        "Scale": [f"{layer.weight}@scale"],
                        "ZeroPoint": [f"{layer.weight}@zero_point"],
                    },
                    {"Y": [f"{layer.weight}.dequantized"]},
                    {"quant_axis": layer.axis, "bit_length": 8},
                )
            )
            set_slot(op.inputs, weight_slot(op), [f"{layer.weight}.dequantized"])
        result.append(op)
    made.replace_ops(result)
    drop_unused(made)
    return made


def activations(program: Program, table: Table) -> Program:
    """A copy in which only what int8 layers read is rounded; their weights are as they were."""
    made = program.copy()
    by_weight = {layer.weight: layer for layer in table.quantized}
    ready: set[str] = set()
    result: list[Op] = []
    for op in made.ops:
        layer = layer_of(op, by_weight)
        if layer is None:
            result.append(op)
            continue
        source = layer.input
        if source not in ready:
            ready.add(source)
            shape = made.shape(source)
            made.add_var(f"{source}.int8", shape)
            made.add_var(f"{source}.dequantized", shape)
            made.set_param(f"{source}@scale", np.array([table.activations[source].threshold], np.float32))
            made.set_param(f"{source}@zero_point", np.zeros(1, np.int32))
            scale = {"Scale": [f"{source}@scale"], "ZeroPoint": [f"{source}@zero_point"]}
            axis = {"quant_axis": -1, "bit_length": 8}
            result.append(
                make_op("quantize_linear", {"X": [source], **scale}, {"Y": [f"{source}.int8"]}, axis)
            )
            result.append(
                make_op(
                    "dequantize_linear",
                    {"X": [f"{source}.int8"], **scale},
                    {"Y": [f"{source}.dequantized"]},
                    axis,
                )
            )
        set_slot(op.inputs, input_slot(op), [f"{source}.dequantized"])
        result.append(op)
    made.replace_ops(result)
    return made


def input_slot(op: Op) -> str:
    return "Input" if op.type.endswith("conv2d") else "X"


def weight_slot(op: Op) -> str:
    return "Filter" if op.type.endswith("conv2d") else "Y"


def layer_of(op: Op, by_weight: dict[str, Layer]) -> Layer | None:
    if op.type not in ("conv2d", "depthwise_conv2d", "matmul_v2", "mul"):
        return None
    names = inputs(op, weight_slot(op))
    return by_weight.get(names[0]) if names else None


def int8_weights(program: Program) -> set[str]:
    """Weights of a program that are stored as int8 behind a dequantize_linear."""
    return {
        inputs(op, "X")[0]
        for op in program.block.ops
        if op.type == "dequantize_linear" and attr(op, "quant_axis", -1) >= 0
    }


def simulated(quantized: Program) -> Program:
    """A quantized program with its constant weights dequantized once, for running: the numbers are the same
    and Paddle does not multiply them out anew for every picture."""
    made = quantized.copy()
    result = []
    for op in made.ops:
        if op.type == "dequantize_linear" and inputs(op, "X")[0] in made.params:
            made.set_param(outputs(op, "Y")[0], _dequantized(made, op))
        else:
            result.append(op)
    made.replace_ops(result)
    drop_unused(made)
    return made


def unrounded(quantized: Program) -> Program:
    """A quantized program without its quantize_linear and dequantize_linear: activations are float again,
    weights are the multiples of their scales that int8 stands for. Tensors have the names from before."""
    made = quantized.copy()
    names: dict[str, str] = {}
    result = []
    for op in made.ops:
        if op.type == "quantize_linear":
            names[outputs(op, "Y")[0]] = inputs(op, "X")[0]
        elif op.type == "dequantize_linear":
            source = inputs(op, "X")[0]
            names[outputs(op, "Y")[0]] = names.get(source, source)
            if source in made.params:
                made.set_param(source, _dequantized(made, op))
        else:
            for slot in op.inputs:
                for k, name in enumerate(slot.arguments):
                    slot.arguments[k] = names.get(name, name)
            result.append(op)
    made.replace_ops(result)
    drop_unused(made)
    return made


def _dequantized(program: Program, op: Op) -> npt.NDArray[np.float32]:
    weight, axis = program.params[inputs(op, "X")[0]], attr(op, "quant_axis")
    shape = [1] * weight.ndim
    shape[axis] = -1
    peak = program.params[inputs(op, "Scale")[0]].astype(np.float32).reshape(shape)
    # The order of Paddle's kernel: integer * (127 * scale), then / 127.
    return np.asarray(weight.astype(np.float32) * peak / np.float32(LEVELS))
