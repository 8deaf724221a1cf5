"""Rows and columns of a kernel that only ever meet padding: cut off, answers stay.

A 3 x 3 convolution over a tensor of height 1, as in PP-OCR's recognisers, uses one row of three: two thirds
of its weights are multiplied by zeros, and would be stored and shipped all the same.
"""

from __future__ import annotations

import numpy as np

from edgekit.program.graph import CONVOLUTIONS, Op, Program, attr, inputs, outputs, set_attr


def without_idle(program: Program) -> None:
    """In place. Only along sides whose length is declared, of weights that no other op reads, and where as
    much padding is left on the one side as on the other."""
    uses: dict[str, int] = {}
    for op in program.block.ops:
        for name in inputs(op):
            uses[name] = uses.get(name, 0) + 1
    for op in program.block.ops:
        pads = list(attr(op, "paddings", []))
        if op.type not in CONVOLUTIONS or len(pads) != 2:
            continue
        weight = inputs(op, "Filter")[0]
        explicit = attr(op, "padding_algorithm", "EXPLICIT") == "EXPLICIT"
        if weight not in program.params or uses[weight] > 1 or not explicit:
            continue
        value = program.params[weight]
        for k in range(2):
            first, last = _met(program, op, k, value.shape[2 + k], pads[k])
            if first == value.shape[2 + k] - last > 0:
                value = np.take(value, range(first, last), 2 + k)
                pads[k] -= first
        if value.shape != program.params[weight].shape:
            program.set_param(weight, np.ascontiguousarray(value))
            set_attr(op, "paddings", pads)


def _met(program: Program, op: Op, k: int, size: int, pad: int) -> tuple[int, int]:
    """The first tap along a side (0: height, 1: width), and the one behind the last, that meet the tensor."""
    length = program.shape(inputs(op, "Input")[0])[2 + k]
    places = program.shape(outputs(op, "Output")[0])[2 + k]
    if length < 0 or places < 0 or attr(op, "dilations", [1, 1])[k] != 1:
        return 0, size
    step = attr(op, "strides", [1, 1])[k]
    met = [tap for tap in range(size) if any(0 <= at * step - pad + tap < length for at in range(places))]
    return (met[0], met[-1] + 1) if met else (0, size)
