"""Edits that leave a program's answers as they are: cut outputs, fold batch norm, make Lite-ready."""

from __future__ import annotations

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.program.graph import Op, Program, attr, inputs, make_op, outputs, set_attr, set_slot
from edgekit.program.proto import pb

CONVOLUTIONS = ("conv2d", "depthwise_conv2d")

# Ops whose XShape output Paddle's exporter drops (clip_extra) and whose absence segfaults Paddle Lite.
_XSHAPE = ("flatten_contiguous_range", "flatten2", "reshape2", "transpose2", "squeeze2", "unsqueeze2")


def cut(program: Program, targets: list[str]) -> Program:
    """Make `targets` the only outputs: later ops (NMS, say), unused inputs and parameters go.

    Raises EK103 when a target is no tensor of the program.
    """
    made = program.copy()
    produced = {name for op in made.block.ops for name in outputs(op)}
    for name in targets:
        if name not in produced:
            raise EdgekitError("EK103", f"program.outputs names {name!r}, which the program does not produce.")
    kept: list[Op] = []
    wanted = set(targets)
    for op in reversed(made.ops):
        if op.type == "fetch":
            continue
        if any(name in wanted for name in outputs(op)):
            wanted.update(inputs(op))
            kept.append(op)
    kept.reverse()
    for column, op in enumerate(op for op in kept if op.type == "feed"):
        set_attr(op, "col", column)
    if not any(v.name == "fetch" for v in made.block.vars):
        holder = made.block.vars.add()
        holder.name = "fetch"
        holder.type.type = pb.VarType.FETCH_LIST
        holder.persistable = True
    for column, name in enumerate(targets):
        kept.append(make_op("fetch", {"X": [name]}, {"Out": ["fetch"]}, {"col": column}))
    made.replace_ops(kept)
    drop_unused(made)
    return made


def drop_unused(program: Program) -> None:
    """Remove variables and parameters that no op touches."""
    used = {name for op in program.block.ops for name in (*inputs(op), *outputs(op))} | {"feed", "fetch"}
    kept = [type(v).FromString(v.SerializeToString()) for v in program.block.vars if v.name in used]
    del program.block.vars[:]
    program.block.vars.extend(kept)
    for name in [n for n in program.params if n not in used]:
        del program.params[name]


def fold_batch_norm(program: Program) -> Program:
    """Fold each batch_norm that alone follows a convolution into its weights and an elementwise_add.

    w' = w * g, b' = (b - mean) * g + beta, with g = gamma / sqrt(variance + eps); the tensor after the
    batch norm keeps its name. Only float32 convolutions that share their weights with nobody are folded.
    """
    made = program.copy()
    consumers = made.consumers()
    fetched = set(made.fetches)
    shared: dict[str, int] = {}
    for op in made.block.ops:
        for name in inputs(op, "Filter"):
            shared[name] = shared.get(name, 0) + 1
    result: list[Op] = []
    skip: set[int] = set()
    for op in made.ops:
        if id(op) in skip:
            continue
        result.append(op)
        if op.type not in CONVOLUTIONS:
            continue
        weight = inputs(op, "Filter")[0]
        tail, bias, chain = op, np.zeros(made.params[weight].shape[0]), []
        after = _only(consumers, fetched, outputs(op, "Output")[0])
        if after is not None and after.type == "elementwise_add" and _channel_bias(made, after):
            bias = made.params[inputs(after, "Y")[0]].astype(np.float64).reshape(-1)
            chain.append(after)
            tail = after
            after = _only(consumers, fetched, outputs(after, "Out")[0])
        if after is None or after.type != "batch_norm" or shared[weight] > 1 or weight not in made.params:
            continue
        gamma, beta, mean, var = (
            made.params[inputs(after, slot)[0]].astype(np.float64)
            for slot in ("Scale", "Bias", "Mean", "Variance")
        )
        gain = gamma / np.sqrt(var + attr(after, "epsilon", 1e-5))
        out = outputs(after, "Y")[0]
        made.set_param(
            weight, (made.params[weight].astype(np.float64) * gain.reshape(-1, 1, 1, 1)).astype(np.float32)
        )
        name = f"{out}.bias"
        made.set_param(name, ((bias - mean) * gain + beta).astype(np.float32))
        skip.update(id(o) for o in (*chain, after))
        before = outputs(op, "Output")[0]
        result.append(make_op("elementwise_add", {"X": [before], "Y": [name]}, {"Out": [out]}, {"axis": 1}))
        del tail
    made.replace_ops(result)
    drop_unused(made)
    return made


def _only(consumers: dict[str, list[Op]], fetched: set[str], name: str) -> Op | None:
    found = consumers.get(name, [])
    return found[0] if len(found) == 1 and name not in fetched else None


def _channel_bias(program: Program, add: Op) -> bool:
    y = inputs(add, "Y")[0]
    if y not in program.params:
        return False
    value = program.params[y]
    return value.size == max(value.shape, default=0) and (value.ndim == 1 or value.shape[1:2] == (value.size,))


def lite_ready(program: Program) -> Program:
    """Add what Paddle's exporter leaves out and Paddle Lite 2.13 needs (see shared facts on the stack).

    XShape outputs of reshape-like ops (their absence segfaults Lite on x86) and relu6's `threshold`.
    """
    made = program.copy()
    for op in made.block.ops:
        if op.type in _XSHAPE and not outputs(op, "XShape"):
            name = f"{outputs(op, 'Out')[0]}.xshape"
            made.add_var(name, [0, *made.shape(inputs(op, "X")[0])])
            set_slot(op.outputs, "XShape", [name])
        if op.type == "relu6" and attr(op, "threshold") is None:
            set_attr(op, "threshold", 6.0)
    return made
