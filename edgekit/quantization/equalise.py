"""Channel factors written into a program: x[c] / s[c] before a layer, w[c] * s[c] in it. Answers stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.calibration.readers import Doubles
from edgekit.program.graph import Program, inputs, make_op, set_slot
from edgekit.quantization.table import Layer

EVEN = ".even"  # what the evened tensor is called


def apply(program: Program, factors: Mapping[str, Doubles], layers: Sequence[Layer]) -> Program:
    """A copy in which every convolution of `layers` reads its tensor evened where `factors` (tensor ->
    [channels]) has it. Whoever else reads the tensor is not touched."""
    made = program.copy()
    readers = {layer.weight: layer for layer in layers if layer.input in factors}
    done: set[str] = set()
    result = []
    for op in made.ops:
        layer = next((readers[name] for name in inputs(op, "Filter") if name in readers), None)
        if layer is not None:
            name, s = layer.input, factors[layer.input]
            if name not in done:
                done.add(name)
                shape = made.shape(name)
                made.add_var(f"{name}{EVEN}", shape)
                inverse = (1 / s).astype(np.float32)
                made.set_param(f"{name}.factors", inverse)
                result.append(
                    make_op(
                        "elementwise_mul",
                        {"X": [name], "Y": [f"{name}.factors"]},
                        {"Out": [f"{name}{EVEN}"]},
                        {"axis": 1},
                    )
                )
            weight = made.params[layer.weight].astype(np.float64)
            if layer.type == "depthwise_conv2d":
                scaled = weight * np.repeat(s, len(weight) // len(s))[:, None, None, None]
            else:
                scaled = weight * s[None, :, None, None]
            made.set_param(layer.weight, scaled.astype(np.float32))
            set_slot(op.inputs, "Input", [f"{name}{EVEN}"])
        result.append(op)
    made.replace_ops(result)
    return made
