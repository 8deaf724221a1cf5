"""What a program costs: multiply-accumulates and parameters per layer, at a concrete input shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgekit.program.graph import Program, attr, inputs, outputs


def shapes(
    program: Program, batch: int = 1, inputs_at: dict[str, list[int]] | None = None
) -> dict[str, list[int]]:
    """Shape of every tensor, inferred by Paddle itself for the given batch size and input shapes.

    Free input dimensions other than the batch must be given in `inputs_at`, or are the program's typical
    ones. What the program computes from its input's shape (a reshape to a computed one) stays -1.
    """
    desc = type(program.desc)()
    desc.CopyFrom(program.desc)
    feeds = set(program.feeds)
    for v in desc.blocks[0].vars:
        if v.name in feeds:
            dims = list((inputs_at or {}).get(v.name, v.type.lod_tensor.tensor.dims))
            typical = program.typical.get(v.name, dims)
            dims = [(typical[k] if k else batch) if d < 0 else d for k, d in enumerate(dims)]
            _set_dims(v, dims)
    return _inferred(desc)


def infer_shapes(program: Program) -> None:
    """Declare the shapes of all tensors anew after an edit, free dimensions as -1 (in place)."""
    found = _inferred(program.desc)
    for v in program.block.vars:
        if v.name in found and not v.persistable:
            _set_dims(v, found[v.name])


def measured_shapes(program: Program, inputs_at: dict[str, list[int]] | None = None) -> dict[str, list[int]]:
    """Like `shapes` at batch 1, with the program run once on zeros where a shape is computed."""
    found = shapes(program, inputs_at=inputs_at)
    made = {
        name
        for op in program.block.ops
        for slot in op.outputs
        for name in slot.arguments
        if op.type not in ("feed", "fetch") and slot.parameter not in ("XShape", "Mask")
    }
    unknown = [name for name in found if name in made and any(d < 0 for d in found[name])]
    if not unknown or any(d < 0 for name in program.feeds for d in found[name]):
        return found
    import tempfile
    from pathlib import Path

    from edgekit.backends import paddle as backend
    from edgekit.program import edit, graph

    with tempfile.TemporaryDirectory() as scratch:
        graph.write(edit.cut(program, {name: name for name in unknown}), Path(scratch))
        run = backend.load(
            Path(scratch) / "inference.pdmodel", Path(scratch) / "inference.pdiparams", optimise=False
        )
        answers = run({name: np.zeros(found[name], np.float32) for name in program.feeds})
    return {**found, **{name: list(value.shape) for name, value in answers.items()}}


def _inferred(desc: Any) -> dict[str, list[int]]:
    from paddle.base import core

    made = core.ProgramDesc(desc.SerializeToString())
    block = made.block(0)
    for k in range(block.op_size()):
        op = block.op(k)
        if op.type() not in ("feed", "fetch"):
            op.infer_shape(block)
    names = [v.name for v in desc.blocks[0].vars if v.name not in ("feed", "fetch")]
    return {name: list(block.find_var(name.encode()).shape()) for name in names}


def _set_dims(v: Any, dims: list[int]) -> None:
    del v.type.lod_tensor.tensor.dims[:]
    v.type.lod_tensor.tensor.dims.extend(dims)


def layer_costs(program: Program, inputs_at: dict[str, list[int]] | None = None) -> dict[str, int]:
    """Multiply-accumulates of each convolution and matmul, keyed by its output tensor (batch 1).

    conv: out elements * kernel area * in channels / groups; transposed conv: in elements * kernel area *
    out channels / groups; matmul: out elements * inner dimension. Bias, BN and pooling are not counted.
    """
    known = measured_shapes(program, inputs_at)
    costs: dict[str, int] = {}
    for op in program.block.ops:
        name = outputs(op)[0] if outputs(op) else ""
        if op.type in ("conv2d", "depthwise_conv2d"):
            weight = known[inputs(op, "Filter")[0]]
            costs[name] = math.prod(known[name]) * math.prod(weight[1:])
        elif op.type in ("conv2d_transpose", "depthwise_conv2d_transpose"):
            weight = known[inputs(op, "Filter")[0]]
            costs[name] = math.prod(known[inputs(op, "Input")[0]]) * math.prod(weight[1:])
        elif op.type in ("matmul_v2", "mul"):
            x = known[inputs(op, "X")[0]]
            inner = x[-2] if attr(op, "trans_x", False) else x[-1]
            if op.type == "mul":
                inner = math.prod(x[attr(op, "x_num_col_dims", 1) :])
            costs[name] = math.prod(known[name]) * inner
    return costs


def parameter_count(program: Program) -> int:
    """Elements of all parameters that some op reads, batch norm's running statistics included."""
    return sum(int(value.size) for value in program.params.values())
