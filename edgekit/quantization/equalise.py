"""Channel factors written into a program: x[c] / s[c] before a layer, w[c] * s[c] in it. Answers stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.calibration.readers import Doubles
from edgekit.program.graph import Program, inputs, make_op, set_slot
from edgekit.quantization.table import Layer

EVEN = ".even"  # what the evened tensor is called


def apply(program: Program, factors: Mapping[str, Doubles], layers: Sequence[Layer]) -> Program:
    """A copy in which every one of `layers` that reads a tensor of `factors` (tensor -> [channels]) reads it
    evened. Whoever else reads the tensor is not touched."""
    made = program.copy()
    readers = {layer.weight: layer for layer in layers if layer.input in factors}
    done: set[str] = set()
    result = []
    for op in made.ops:
        slot, source = ("Input", "Filter") if op.type.endswith("conv2d") else ("X", "Y")
        layer = next((readers[name] for name in inputs(op, source) if name in readers), None)
        if layer is not None:
            name, s = layer.input, factors[layer.input]
            if name not in done:
                done.add(name)
                shape = made.shape(name)
                made.add_var(f"{name}{EVEN}", shape)
                inverse = (1 / s).astype(np.float32)
                made.set_param(f"{name}.factors", inverse)
                axis = 1 if len(shape) == 4 else -1
                result.append(
                    make_op(
                        "elementwise_mul",
                        {"X": [name], "Y": [f"{name}.factors"]},
                        {"Out": [f"{name}{EVEN}"]},
                        {"axis": axis},
                    )
                )
            weight = made.params[layer.weight].astype(np.float64)
            if layer.type == "matmul":
                scaled = weight * s[:, None]
            elif layer.type == "depthwise_conv2d":
                scaled = weight * np.repeat(s, len(weight) // len(s))[:, None, None, None]
            else:
                scaled = weight * s[None, :, None, None]
            made.set_param(layer.weight, scaled.astype(np.float32))
            set_slot(op.inputs, slot, [f"{name}{EVEN}"])
        result.append(op)
    made.replace_ops(result)
    return made
