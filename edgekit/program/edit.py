"""Edits that leave a program's answers as they are: cut outputs, fold batch norm, make Lite-ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError
from edgekit.program import scalars, taps
from edgekit.program.graph import (
    CONVOLUTIONS,
    Op,
    Program,
    attr,
    inputs,
    make_op,
    outputs,
    set_attr,
    set_slot,
)
from edgekit.program.proto import pb

# Ops whose XShape output Paddle's exporter drops (clip_extra) and whose absence segfaults Paddle Lite.
_XSHAPE = ("flatten_contiguous_range", "flatten2", "reshape2", "transpose2", "squeeze2", "unsqueeze2")


def cut(program: Program, targets: dict[str, str]) -> Program:
    """Make `targets` (new name -> tensor) the only outputs, and name them so.

    Later ops (NMS, say), and inputs and parameters that are then unused, go.
    Raises EK103 when a target is no tensor of the program, or a new name is taken.
    """
    made = program.copy()
    produced = {name for op in made.block.ops for name in outputs(op)}
    for new, name in targets.items():
        if list(targets.values()).count(name) > 1:
            raise EdgekitError("EK103", f"program.outputs.{new}: {name!r} is named more than once.")
        if name not in produced:
            raise EdgekitError(
                "EK103", f"program.outputs.{new} names {name!r}, which the program does not produce."
            )
        if new != name and any(v.name == new for v in made.block.vars):
            raise EdgekitError(
                "EK103", f"program.outputs.{new}: the program has another tensor of that name."
            )
    kept: list[Op] = []
    wanted = set(targets.values())
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
    for column, name in enumerate(targets.values()):
        kept.append(make_op("fetch", {"X": [name]}, {"Out": ["fetch"]}, {"col": column}))
    made.replace_ops(kept)
    drop_unused(made)
    for new, name in targets.items():
        _rename(made, name, new)
    return made


def _rename(program: Program, old: str, new: str) -> None:
    program.var(old).name = new
    for op in program.block.ops:
        for slot in (*op.inputs, *op.outputs):
            for k, name in enumerate(slot.arguments):
                if name == old:
                    slot.arguments[k] = new


def drop_unused(program: Program) -> None:
    """Remove variables and parameters that no op touches."""
    used = {name for op in program.block.ops for name in (*inputs(op), *outputs(op))} | {"feed", "fetch"}
    _keep(program.block.vars, lambda v: v.name in used)
    for name in [n for n in program.params if n not in used]:
        del program.params[name]


def fold_batch_norm(program: Program) -> Program:
    """Fold each batch_norm that alone follows a convolution into its weights and an elementwise_add.

    w' = w * g, b' = (b - mean) * g + beta, with g = gamma / sqrt(variance + eps); the last tensor of what was
    folded keeps its name. So are other constant factors and shifts behind a convolution, and scalars between
    an activation and a convolution (see `scalars`): PPLCNetV3 has dozens of them. Only float32 convolutions
    that share their weights with nobody are folded. Rows of kernels that only meet padding go, too (`taps`).
    """
    made = program.copy()
    _plain_biases(made)
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
        if op.type not in CONVOLUTIONS or inputs(op, "Filter")[0] not in made.params:
            continue
        weight, before = inputs(op, "Filter")[0], outputs(op, "Output")[0]
        width = made.params[weight].shape[0]
        gain, bias, out, chain = np.ones(width), np.zeros(width), before, []
        while (after := _only(consumers, fetched, out)) is not None:
            factor, shift = _affine(made, after, out, width)
            if factor is None:
                break
            gain, bias = gain * factor, bias * factor + shift
            out = outputs(after, "Y" if after.type == "batch_norm" else "Out")[0]
            chain.append(after)
        if shared[weight] > 1 or [each.type for each in chain] in ([], ["elementwise_add"]):
            continue
        made.set_param(
            weight, (made.params[weight].astype(np.float64) * gain.reshape(-1, 1, 1, 1)).astype(np.float32)
        )
        name = f"{out}.bias"
        made.set_param(name, bias.astype(np.float32))
        skip.update(id(o) for o in chain)
        result.append(make_op("elementwise_add", {"X": [before], "Y": [name]}, {"Out": [out]}, {"axis": 1}))
    made.replace_ops(result)
    scalars.into_readers(made)
    taps.without_idle(made)
    drop_unused(made)
    return made


def _affine(
    program: Program, op: Op, name: str, width: int
) -> tuple[npt.NDArray[np.float64] | float | None, npt.NDArray[np.float64] | float]:
    """Factor and shift, for each of `width` channels or one for all, that `op` puts to the tensor `name`;
    (None, 0) for other ops."""
    if op.type == "batch_norm":
        gamma, beta, mean, var = (
            program.params[inputs(op, slot)[0]].astype(np.float64)
            for slot in ("Scale", "Bias", "Mean", "Variance")
        )
        gain = gamma / np.sqrt(var + attr(op, "epsilon", 1e-5))
        return gain, beta - mean * gain
    single = scalars.number(program, op, name)
    if single is not None:
        return (1.0, single) if op.type == "elementwise_add" else (single, 0.0)
    if op.type not in ("elementwise_add", "elementwise_mul") or inputs(op, "X") != [name]:
        return None, 0.0
    value = program.params.get(inputs(op, "Y")[0])
    if value is None or value.size != width or not _channel_bias(program, op):
        return None, 0.0
    each = value.astype(np.float64).reshape(-1)
    return (1.0, each) if op.type == "elementwise_add" else (each, 0.0)


def _plain_biases(program: Program) -> None:
    """Biases of convolutions as [C] on axis 1, which is what Paddle Lite and paddle2onnx fuse.

    `paddle.jit.save` of Paddle 2.6 writes them as a reshape2 of the parameter, run for every picture; a
    parameter of shape [1, C, 1, 1] makes Lite's optimizer abort.
    """
    kept, fetched = [], set(program.fetches)
    for op in program.ops:
        if op.type == "reshape2" and not inputs(op, "Shape") and not inputs(op, "ShapeTensor"):
            source, name, shape = inputs(op, "X")[0], outputs(op, "Out")[0], attr(op, "shape")
            if source in program.params and name not in fetched and 0 not in shape:
                program.set_param(name, program.params[source].reshape(shape))
                continue
        kept.append(op)
    program.replace_ops(kept)
    consumers = program.consumers()
    for op in program.block.ops:
        y = inputs(op, "Y")[0] if op.type == "elementwise_add" else ""
        shape = list(program.params[y].shape) if y in program.params else []
        if len(shape) != 4 or shape != [1, shape[1], 1, 1] or len(consumers[y]) > 1:
            continue
        if len(program.shape(inputs(op, "X")[0])) == 4:
            program.set_param(y, program.params[y].reshape(-1))
            set_attr(op, "axis", 1)


def _only(consumers: dict[str, list[Op]], fetched: set[str], name: str) -> Op | None:
    found = consumers.get(name, [])
    return found[0] if len(found) == 1 and name not in fetched else None


def _channel_bias(program: Program, add: Op) -> bool:
    y = inputs(add, "Y")[0]
    if y not in program.params:
        return False
    value = program.params[y]
    return value.size == max(value.shape, default=0) and (
        value.ndim == 1 or value.shape[1:2] == (value.size,)
    )


# Hints for engines that edgekit does not target, each with a default. On PicoDet they are 250 kB of a
# 5 MB `.nb`, because Lite keeps every attribute of every op.
_HINTS = {
    "op_callstack", "op_namescope", "op_device", "op_role_var", "with_quant_attr", "use_mkldnn",
    "mkldnn_data_type", "use_cudnn", "use_quantizer", "use_addto", "exhaustive_search", "workspace_size_MB",
    "force_fp32_output", "fuse_activation", "fuse_alpha", "fuse_beta", "fuse_brelu", "fuse_brelu_threshold",
    "fuse_relu", "fuse_relu_before_depthwise_conv", "fuse_residual_connection", "Scale_in", "Scale_out",
    "Scale_in_eltwise", "Scale_weights", "Scale_x", "Scale_y", "x_data_format", "y_data_format", "op_role",
}  # fmt: skip


def without_hints(program: Program) -> Program:
    """Without attributes that no engine of ours reads: the program loads faster."""
    made = program.copy()
    for op in made.block.ops:
        _keep(op.attrs, lambda a: a.name not in _HINTS)
    return made


def lite_ready(program: Program) -> Program:
    """Add what Paddle's exporter leaves out and Paddle Lite 2.13 needs; leave out what nobody needs.

    Added: XShape outputs of reshape-like ops (their absence segfaults Lite on x86), relu6's `threshold`.
    Left out: hints for other engines, and empty slots of ops.
    """
    made = without_hints(program)
    for op in made.block.ops:
        _keep(op.inputs, lambda s: bool(s.arguments))
        _keep(op.outputs, lambda s: bool(s.arguments))
        if op.type in _XSHAPE and not outputs(op, "XShape"):
            name = f"{outputs(op, 'Out')[0]}.xshape"
            made.add_var(name, [0, *made.shape(inputs(op, "X")[0])])
            set_slot(op.outputs, "XShape", [name])
        if op.type == "relu6" and attr(op, "threshold") is None:
            set_attr(op, "threshold", 6.0)
    return made


# Defaults of convolutions in Paddle Lite; paddle2onnx insists on them.
_DEFAULTS = {("padding_algorithm", "EXPLICIT"), ("data_format", "NCHW")}


def compact(program: Program) -> Program:
    """For Paddle Lite: defaults of convolutions left out, inner tensors and parameters given short names.

    Lite writes attributes and names wherever an op has them: 50 kB of PicoDet-S's int8 `.nb`. Inputs and
    outputs keep their names.
    """
    made = program.copy()
    for op in made.block.ops:
        if op.type in CONVOLUTIONS:
            _keep(op.attrs, lambda a: a.name != "is_test" and (a.name, a.s) not in _DEFAULTS)
    keep = {*made.feeds, *made.fetches, "feed", "fetch"}
    taken = set(keep)
    short: dict[str, str] = {}
    for op in made.block.ops:
        for name in (*inputs(op), *outputs(op)):
            if name not in keep and name not in short:
                new = f"t{len(short)}"
                short[name] = new if new not in taken else f"t{len(short)}_"
    for v in made.block.vars:
        v.name = short.get(v.name, v.name)
    for op in made.block.ops:
        for slot in (*op.inputs, *op.outputs):
            for k, name in enumerate(slot.arguments):
                slot.arguments[k] = short.get(name, name)
    made.params = {short.get(name, name): value for name, value in made.params.items()}
    return made


def _keep(repeated: Any, wanted: Callable[[Any], bool]) -> None:
    kept = [type(item).FromString(item.SerializeToString()) for item in repeated if wanted(item)]
    if len(kept) != len(repeated):
        del repeated[:]
        repeated.extend(kept)
