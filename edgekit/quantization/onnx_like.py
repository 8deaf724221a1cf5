"""What ONNX Runtime computes of the int8 ONNX, as a Paddle program: the same roundings, in float.

Its grids are not Paddle Lite's (`table.grid`), and it rounds what convolutions answer, too. So the mean of
what reaches a layer is not quite the same, and biases that keep the means are not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.program.graph import Op, Program, make_op, outputs, set_slot
from edgekit.quantization import write_paddle
from edgekit.quantization.table import LEVELS, Table, dequantized, output_grid

_READ, _FLOAT = ".as_read", ".float"


def rounded(program: Program, table: Table) -> Program:
    """A copy of a program with the table's names, its weights rounded to the table's scales."""
    made = program.copy()
    by_weight = {layer.weight: layer for layer in table.quantized}
    for each in table.quantized:
        value = dequantized(made.params[each.weight], table.weights[each.weight], each.axis)
        made.params[each.weight] = value
    answered = {(each.relu or each.output): each for each in table.quantized if each.type != "matmul"}
    ready = {name for name, each in answered.items() if each.output not in table.outputs}
    done: set[str] = set()
    result: list[Op] = []
    for op in made.ops:
        layer = write_paddle.layer_of(op, by_weight)
        if layer is not None and layer.input not in ready:
            name = f"{layer.input}{_READ}"
            if name not in done:
                done.add(name)
                step, zero = table.activations[layer.input].grid
                result += _grid(made, layer.input, name, np.array([step], np.float32), zero)
            set_slot(op.inputs, write_paddle.input_slot(op), [name])
        result.append(op)
        for name in outputs(op):
            if name in answered:
                made.add_var(f"{name}{_FLOAT}", made.shape(name))
                slot = next(slot.parameter for slot in op.outputs if name in slot.arguments)
                set_slot(op.outputs, slot, [f"{name}{_FLOAT}"])
                result += _grid(made, f"{name}{_FLOAT}", name, *output_grid(table, answered[name]))
    made.replace_ops(result)
    return made


def _grid(program: Program, source: str, name: str, steps: npt.NDArray[np.float32], zero: int) -> list[Op]:
    """Ops from `source` to `name`: its values on a uint8 grid of one step, or one for each channel."""
    program.set_param(f"{name}@steps", steps)
    program.set_param(f"{name}@inverse", 1 / steps)
    parts = [f"{name}@scaled", f"{name}@whole", f"{name}@clipped", name]
    for part in parts:
        program.add_var(part, program.shape(source))
    scaled, whole, clipped, _ = parts
    axis = {"axis": 1 if len(steps) > 1 else -1}
    limits = {"min": float(-zero), "max": float(2 * LEVELS + 1 - zero)}
    return [
        make_op("elementwise_mul", {"X": [source], "Y": [f"{name}@inverse"]}, {"Out": [scaled]}, axis),
        make_op("round", {"X": [scaled]}, {"Out": [whole]}),
        make_op("clip", {"X": [whole]}, {"Out": [clipped]}, limits),
        make_op("elementwise_mul", {"X": [clipped], "Y": [f"{name}@steps"]}, {"Out": [name]}, axis),
    ]
