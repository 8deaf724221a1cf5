"""Remove channels: parameters sliced, attributes adjusted, shapes inferred again by Paddle itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgekit.program import cost, edit
from edgekit.program.graph import Op, Program, attr, inputs, make_op, outputs, set_attr
from edgekit.pruning.atoms import Ints
from edgekit.pruning.trace import Trace

Mask = npt.NDArray[np.bool_]


def remove(program: Program, trace: Trace, removed: set[int]) -> Program:
    """The program without the atoms in `removed`.

    Raises ValueError when an atom must stay or a tensor would lose its last channel: that is the caller's
    mistake, not the user's.
    """
    if kept := sorted(removed & trace.reasons.keys()):
        raise ValueError(f"atoms {kept[:5]} must stay: {trace.reasons[kept[0]]}")
    made = program.copy()

    def keep(atoms: Ints) -> Mask:
        mask = ~lost_mask(atoms, removed)
        if not mask.any():
            raise ValueError("a tensor would lose its last channel")
        return mask

    for piece in trace.slices:
        mask = keep(piece.atoms)
        if not mask.all():
            value = made.params[piece.parameter]
            made.set_param(piece.parameter, np.compress(mask, value, piece.axis))
    for along in trace.tensors.values():
        keep(along.atoms)
    _attributes(made, trace, keep)
    cost.infer_shapes(made)
    return made


def kept_outputs(kept: dict[str, Ints], trace: Trace, removed: set[int]) -> dict[str, Ints]:
    """Which output channels of each layer, numbered as at the start, are left; `kept`: those before.

    By weight; a layer that has lost none is not named.
    """
    found = dict(kept)
    for piece in trace.slices:
        lost = lost_mask(piece.atoms, removed)
        if piece.role == "out" and lost.any():
            found[piece.parameter] = found.get(piece.parameter, np.arange(len(lost)))[~lost]
    return found


def lost_mask(atoms: Ints, removed: set[int]) -> Mask:
    """Which entries of `atoms` are in `removed`."""
    return np.isin(atoms, np.asarray(sorted(removed), np.int64))


def _attributes(program: Program, trace: Trace, keep: Callable[[Ints], Mask]) -> None:
    ops: list[Op] = []
    replaced: set[str] = set()
    makers = program.producers()
    for op in program.ops:
        if any(name in replaced for name in outputs(op)):
            continue
        source = trace.tensors.get(next((n for slot in ("X", "Input") for n in inputs(op, slot)), ""))
        out = next((n for slot in ("Out", "Output") for n in outputs(op, slot)), "")
        mask = keep(source.atoms) if source is not None else None
        if source is None or mask is None or mask.all():
            pass
        elif op.type.endswith(("conv2d", "conv2d_transpose")):
            if _is_depthwise(program, op):
                set_attr(op, "groups", int(mask.sum()))
        elif (
            op.type == "split" and attr(op, "axis", 0) % len(program.shape(inputs(op, "X")[0])) == source.axis
        ):
            set_attr(op, "sections", [int(keep(trace.tensors[n].atoms).sum()) for n in outputs(op, "Out")])
            set_attr(op, "num", 0)
        elif op.type == "gather":
            name = inputs(op, "Index")[0]
            index = program.params[name]
            program.set_param(name, (np.cumsum(mask) - 1)[index[mask[index]]].astype(index.dtype))
        elif op.type == "slice" and source.axis in attr(op, "axes", []):
            _slice(op, source.axis, mask)
        elif op.type == "reshape2" and (found := _shuffle_of(trace, op)) is not None:
            name, steps = found
            groups = attr(op, "shape")[1]
            rows = mask.reshape(groups, -1)
            if (rows == rows[0]).all():
                _set_shape(op, 2, int(rows[0].sum()), makers)
                _set_shape(makers[name], 1, int(mask.sum()), makers)  # `steps` are ops of the original
            else:
                op = _gather(program, inputs(op, "X")[0], name, mask, groups)
                replaced.update(n for step in steps[1:] for n in outputs(step))
        elif op.type == "reshape2" and out in trace.tensors:
            along = trace.tensors[out]
            _set_shape(op, along.axis, int(keep(along.atoms).sum()), makers)
        ops.append(op)
    program.replace_ops(ops)
    edit.drop_unused(program)


def _is_depthwise(program: Program, op: Op) -> bool:
    weight = program.params.get(inputs(op, "Filter")[0])
    return weight is not None and attr(op, "groups", 1) > 1 and weight.shape[1] == 1


def _shuffle_of(trace: Trace, op: Op) -> tuple[str, list[Op]] | None:
    first = outputs(op, "Out")
    return next(((n, s) for n, s in trace.shuffles.items() if outputs(s[0], "Out") == first), None)


def _gather(program: Program, x: str, out: str, mask: Mask, groups: int) -> Op:
    """A shuffle of groups of unequal size: the same order of what is left, as one gather."""
    order = np.arange(len(mask)).reshape(groups, -1).T.reshape(-1)
    place = np.cumsum(mask) - 1
    index = f"{out}.index"
    program.set_param(index, place[order[mask[order]]].astype(np.int32))
    return make_op("gather", {"X": [x], "Index": [index]}, {"Out": [out]}, {"axis": 1, "overwrite": True})


def _slice(op: Op, axis: int, mask: Mask) -> None:
    k = attr(op, "axes").index(axis)
    starts, ends = attr(op, "starts"), attr(op, "ends")
    start, end, _ = slice(starts[k], ends[k]).indices(len(mask))
    starts[k], ends[k] = int(mask[:start].sum()), int(mask[:end].sum())
    set_attr(op, "starts", starts)
    set_attr(op, "ends", ends)


def _set_shape(op: Op, axis: int, count: int, makers: dict[str, Op]) -> None:
    shape = attr(op, "shape")
    if shape and shape[axis] > 0:
        shape[axis] = count
        set_attr(op, "shape", shape)
    listed = inputs(op, "ShapeTensor")
    if listed and makers[listed[axis]].type == "fill_constant":
        set_attr(makers[listed[axis]], "value", float(count))
        set_attr(makers[listed[axis]], "str_value", str(count))
