"""Which channels belong together: one walk over the program's ops, a rule for each kind of op.

The walk carries, for every tensor, the atoms along its channel axis (`Along`). A convolution makes new
atoms and notes who its input's atoms are; an addition ties two sets; concat, split and shuffle only move
them. What has no rule protects the atoms that reach it, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edgekit.program.graph import Op, Program, attr, inputs, outputs
from edgekit.pruning.atoms import Along, Atoms, Ints

Role = Literal["out", "in", "along"]


@dataclass(frozen=True)
class Slice:
    """One axis of a parameter that follows atoms: a layer's outputs, its inputs, or what runs along."""

    parameter: str
    axis: int
    role: Role
    atoms: Ints


@dataclass
class Trace:
    """What the walk found. Atoms are roots: equal numbers stay or go together."""

    slices: list[Slice]
    tensors: dict[str, Along]
    reasons: dict[int, list[str]]  # atoms that must stay
    shuffles: dict[str, list[Op]]  # last tensor of a channel shuffle -> its three ops

    def of(self, parameter: str, role: Role) -> Slice | None:
        return next((s for s in self.slices if s.parameter == parameter and s.role == role), None)


@dataclass
class _Walk:
    program: Program
    shapes: dict[str, list[int]]
    atoms: Atoms = field(default_factory=Atoms)
    slices: dict[tuple[str, int], tuple[Role, Ints]] = field(default_factory=dict)
    tensors: dict[str, Along] = field(default_factory=dict)
    fixed: dict[tuple[str, int | None], str] = field(
        default_factory=dict
    )  # axes of parameters that must stay
    shuffles: dict[str, list[Op]] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)  # tensors within a channel shuffle
    followed: set[str] = field(default_factory=set)  # parameters that the rule of the op at hand knows

    def attach(self, parameter: str, axis: int, role: Role, atoms: Ints) -> None:
        """This axis of the parameter follows these atoms; one that two ops share ties theirs."""
        self.followed.add(parameter)
        known = self.slices.setdefault((parameter, axis), (role, atoms))
        if known[1] is not atoms:
            self.atoms.tie(known[1], atoms)

    def produce(self, parameter: str, axis: int, count: int) -> Ints:
        """The output channels of a layer; layers that share a weight share them."""
        self.followed.add(parameter)
        if (parameter, axis) not in self.slices:
            self.slices[parameter, axis] = ("out", self.atoms.fresh(count))
        return self.slices[parameter, axis][1]

    def protect(self, name: str, reason: str) -> None:
        if name in self.tensors:
            self.atoms.protect(self.tensors[name].atoms, reason)
        if name in self.program.params:
            self.fixed.setdefault((name, None), reason)

    def stop(self, op: Op, reason: str) -> None:
        for name in inputs(op):
            self.protect(name, reason)


def trace(program: Program, shapes: dict[str, list[int]]) -> Trace:
    """Walk the program. `shapes`: the concrete shape of every tensor (batch 1), as Paddle infers them."""
    walk = _Walk(program, shapes)
    for op in program.block.ops:
        if op.type == "feed" or any(name in walk.inside for name in outputs(op)):
            continue
        walk.followed.clear()
        RULES.get(op.type, _unknown)(walk, op)
        for name in inputs(op):
            if name in program.params and name not in walk.followed:
                walk.fixed.setdefault((name, None), f"{op.type} reads {name} as a whole")
    for (name, axis), reason in walk.fixed.items():
        for (parameter, own), (_, atoms) in walk.slices.items():
            if parameter == name and axis in (own, None):
                walk.atoms.protect(atoms, reason)
    roots = walk.atoms.roots
    slices = [Slice(name, axis, role, roots(atoms)) for (name, axis), (role, atoms) in walk.slices.items()]
    tensors = {name: Along(a.axis, roots(a.atoms)) for name, a in walk.tensors.items()}
    reasons = {}
    for atom in range(len(walk.atoms)):
        if walk.atoms.find(atom) == atom and walk.atoms.reasons(atom):
            reasons[atom] = walk.atoms.reasons(atom)
    return Trace(slices, tensors, reasons, walk.shuffles)


def _unknown(walk: _Walk, op: Op) -> None:
    walk.stop(op, f"{op.type} is not followed")


def _same(walk: _Walk, op: Op) -> None:
    """The output's channels are the input's, one by one."""
    x = inputs(op, "X")[0]
    if x in walk.tensors:
        walk.tensors[outputs(op, "Out")[0]] = walk.tensors[x]


def _nothing(walk: _Walk, op: Op) -> None:
    """Reads a tensor's shape or makes a constant: follows whatever happens to the channels."""


def _fetch(walk: _Walk, op: Op) -> None:
    walk.stop(op, "an output of the network")


def _channels_first(walk: _Walk, op: Op, name: str) -> Along | None:
    """The atoms of a convolution's input; None when they are fixed."""
    along = walk.tensors.get(name)
    if along is None:
        return None
    if along.axis != 1 or attr(op, "data_format", "NCHW") not in ("NCHW", "AnyLayout"):
        walk.stop(op, f"{op.type} on another axis than 1")
        return None
    return along


def _conv(walk: _Walk, op: Op) -> None:
    x, weight, out = inputs(op, "Input")[0], inputs(op, "Filter")[0], outputs(op, "Output")[0]
    if weight not in walk.program.params:
        return walk.stop(op, f"{op.type} with a computed filter")
    count, per_group = walk.program.params[weight].shape[:2]
    groups = attr(op, "groups", 1)
    along = _channels_first(walk, op, x)
    if groups > 1 and per_group == 1:
        _depthwise(walk, op, along, weight, out, count // groups)
        return None
    made = walk.produce(weight, 0, count)
    if groups > 1:
        # Every group keeps as many channels as the others: the k-th of each stay or go together.
        for g in range(1, groups):
            walk.atoms.tie(made.reshape(groups, -1)[0], made.reshape(groups, -1)[g])
            if along is not None:
                rows = along.atoms.reshape(groups, -1)
                walk.atoms.tie(rows[0], rows[g])
    if along is not None:
        walk.attach(weight, 1, "in", along.atoms.reshape(groups, -1)[0] if groups > 1 else along.atoms)
    else:
        walk.fixed.setdefault((weight, 1), "its weight also reads fixed channels")
    for name in inputs(op, "Bias"):
        walk.attach(name, 0, "along", made)
    walk.tensors[out] = Along(1, made)
    return None


def _depthwise(walk: _Walk, op: Op, along: Along | None, weight: str, out: str, multiplier: int) -> None:
    if along is None:
        walk.fixed.setdefault((weight, None), "a depthwise convolution of fixed channels")
        return
    atoms = np.repeat(along.atoms, multiplier) if multiplier > 1 else along.atoms
    walk.attach(weight, 0, "along", atoms)
    for name in inputs(op, "Bias"):
        walk.attach(name, 0, "along", atoms)
    walk.tensors[out] = Along(1, atoms)


def _conv_transpose(walk: _Walk, op: Op) -> None:
    x, weight, out = inputs(op, "Input")[0], inputs(op, "Filter")[0], outputs(op, "Output")[0]
    if weight not in walk.program.params:
        return walk.stop(op, f"{op.type} with a computed filter")
    if attr(op, "groups", 1) > 1:
        if walk.program.params[weight].shape[1] == 1:
            return _depthwise(walk, op, _channels_first(walk, op, x), weight, out, 1)
        return walk.stop(op, "a grouped transposed convolution is not followed")
    along = _channels_first(walk, op, x)
    if along is not None:
        walk.attach(weight, 0, "in", along.atoms)
    else:
        walk.fixed.setdefault((weight, 0), "its weight also reads fixed channels")
    made = walk.produce(weight, 1, walk.program.params[weight].shape[1])
    for name in inputs(op, "Bias"):
        walk.attach(name, 0, "along", made)
    walk.tensors[out] = Along(1, made)
    return None


def _batch_norm(walk: _Walk, op: Op) -> None:
    names = [inputs(op, slot)[0] for slot in ("Scale", "Bias", "Mean", "Variance")]
    along = _channels_first(walk, op, inputs(op, "X")[0])
    if along is None:
        return
    for name in names:
        walk.attach(name, 0, "along", along.atoms)
    walk.tensors[outputs(op, "Y")[0]] = along


def _layer_norm(walk: _Walk, op: Op) -> None:
    x = inputs(op, "X")[0]
    along = walk.tensors.get(x)
    if along is not None and along.axis < attr(op, "begin_norm_axis", 1):
        walk.tensors[outputs(op, "Y")[0]] = along
        return
    walk.stop(op, "layer_norm normalises over them")


def _softmax(walk: _Walk, op: Op) -> None:
    x = inputs(op, "X")[0]
    along = walk.tensors.get(x)
    if along is not None and along.axis == attr(op, "axis", -1) % len(walk.shapes[x]):
        walk.stop(op, "softmax normalises over them")
    else:
        _same(walk, op)


def _prelu(walk: _Walk, op: Op) -> None:
    x, alpha = inputs(op, "X")[0], inputs(op, "Alpha")[0]
    along, mode = walk.tensors.get(x), attr(op, "mode", "all")
    if along is not None and mode == "channel" and alpha in walk.program.params:
        axis = int(np.argmax(walk.program.params[alpha].shape))
        walk.attach(alpha, axis, "along", along.atoms)
    elif mode != "all":
        return walk.stop(op, f"prelu with mode {mode!r} is not followed")
    return _same(walk, op)


def _elementwise(walk: _Walk, op: Op) -> None:
    x, y, out = inputs(op, "X")[0], inputs(op, "Y")[0], outputs(op, "Out")[0]
    rank, offset = len(walk.shapes[out]), attr(op, "axis", -1)

    def start(name: str) -> int:
        """The axis of the output at which the operand's first axis lies."""
        own = len(_shape(walk, name))
        return offset if name == y and offset >= 0 and own < rank else rank - own

    def length(name: str, axis: int) -> int:
        own, k = _shape(walk, name), axis - start(name)
        return own[k] if 0 <= k < len(own) else 1

    found = {n: Along(a.axis + start(n), a.atoms) for n in (x, y) if (a := walk.tensors.get(n)) is not None}
    if not found:
        for name in (x, y):
            walk.protect(name, "meets fixed channels")
        return
    if len({a.axis for a in found.values()}) > 1:
        return walk.stop(op, f"{op.type} of two channel axes")
    axis = next(iter(found.values())).axis
    result: Along | None = None
    for name, other in ((x, y), (y, x)):
        mine = found.get(name)
        if mine is None:
            continue
        if length(other, axis) == 1:
            result = mine if result is None else result
        elif length(name, axis) == 1:
            walk.protect(name, f"{op.type} spreads it over other channels")
        elif other in found:
            walk.atoms.tie(mine.atoms, found[other].atoms)
            result = mine
        elif other in walk.program.params:
            walk.attach(other, axis - start(other), "along", mine.atoms)
            result = mine
        else:
            walk.protect(name, f"{op.type} with {other}, whose channels are fixed")
            result = mine
    if result is not None:
        walk.tensors[out] = result


def _shape(walk: _Walk, name: str) -> list[int]:
    params = walk.program.params
    return list(params[name].shape) if name in params else list(walk.shapes[name])


def _sum(walk: _Walk, op: Op) -> None:
    found = [walk.tensors.get(name) for name in inputs(op, "X")]
    first = found[0]
    if first is None or any(a is None or a.axis != first.axis for a in found):
        return walk.stop(op, "sum with fixed channels")
    for other in found[1:]:
        assert other is not None
        walk.atoms.tie(first.atoms, other.atoms)
    walk.tensors[outputs(op, "Out")[0]] = first
    return None


def _concat(walk: _Walk, op: Op) -> None:
    names, out = inputs(op, "X"), outputs(op, "Out")[0]
    found = {name: walk.tensors[name] for name in names if name in walk.tensors}
    if not found:
        return None
    axes = {a.axis for a in found.values()}
    axis = attr(op, "axis", 0) % len(walk.shapes[out])
    if len(axes) > 1 or inputs(op, "AxisTensor"):
        return walk.stop(op, "concat of different channel axes")
    if axes == {axis}:
        parts = []
        for name in names:
            if name in found:
                parts.append(found[name].atoms)
            else:
                walk.protect(name, "concat copies it")
                parts.append(walk.atoms.fresh(walk.shapes[name][axis], f"{name} is fixed"))
        walk.tensors[out] = Along(axis, np.concatenate(parts))
        return None
    if len(found) < len(set(names)):
        return walk.stop(op, "concat with fixed channels")
    first = found[names[0]]
    for name in names[1:]:
        walk.atoms.tie(first.atoms, found[name].atoms)
    walk.tensors[out] = first
    return None


def _split(walk: _Walk, op: Op) -> None:
    x = inputs(op, "X")[0]
    along = walk.tensors.get(x)
    if along is None:
        return
    if inputs(op, "AxisTensor") or inputs(op, "SectionsTensorList"):
        return walk.stop(op, "split at computed places")
    axis = attr(op, "axis", 0) % len(walk.shapes[x])
    start = 0
    for name in outputs(op, "Out"):
        if axis == along.axis:
            size = walk.shapes[name][axis]
            walk.tensors[name] = Along(axis, along.atoms[start : start + size])
            start += size
        else:
            walk.tensors[name] = along
    return None


def _slice(walk: _Walk, op: Op) -> None:
    x, out = inputs(op, "Input")[0], outputs(op, "Out")[0]
    along = walk.tensors.get(x)
    if along is None:
        return None
    axes, gone = attr(op, "axes", []), attr(op, "decrease_axis", []) or []
    computed = ("StartsTensor", "EndsTensor", "StartsTensorList", "EndsTensorList")
    if along.axis in axes and any(inputs(op, slot) for slot in computed):
        return walk.stop(op, "slice at computed places")
    if along.axis in gone:
        return walk.stop(op, "slice picks one channel")
    atoms = along.atoms
    if along.axis in axes:
        k = axes.index(along.axis)
        atoms = atoms[slice(attr(op, "starts")[k], attr(op, "ends")[k])]
    walk.tensors[out] = Along(along.axis - sum(a < along.axis for a in gone), atoms)
    return None


def _transpose(walk: _Walk, op: Op) -> None:
    along = walk.tensors.get(inputs(op, "X")[0])
    if along is not None:
        walk.tensors[outputs(op, "Out")[0]] = Along(attr(op, "axis").index(along.axis), along.atoms)


def _reduce(walk: _Walk, op: Op) -> None:
    x, out = inputs(op, "X")[0], outputs(op, "Out")[0]
    along = walk.tensors.get(x)
    if along is None:
        return
    rank = len(walk.shapes[x])
    axes = {a % rank for a in attr(op, "dim", [0])}
    if attr(op, "reduce_all", False) or along.axis in axes:
        walk.stop(op, f"{op.type} runs over them")
    else:
        shift = 0 if attr(op, "keep_dim", False) else sum(a < along.axis for a in axes)
        walk.tensors[out] = Along(along.axis - shift, along.atoms)


def _reshape(walk: _Walk, op: Op) -> None:
    x, out = inputs(op, "X")[0], outputs(op, "Out")[0]
    along = walk.tensors.get(x)
    if along is None:
        walk.protect(x, f"{op.type} of a parameter")
        return None
    if _shuffle(walk, op, along):
        return None
    block = _block(walk.shapes[x], walk.shapes[out], along.axis)
    if block is None:
        return walk.stop(op, "reshape mixes channels with other axes")
    (i0, i1), (j0, j1) = block
    inside = [1] * (i1 - i0)
    inside[along.axis - i0] = len(along.atoms)
    spread = np.broadcast_to(along.atoms.reshape(inside), walk.shapes[x][i0:i1])
    grid = spread.reshape(walk.shapes[out][j0:j1])
    # The axis along which the atoms vary; where several do, the last, with the atoms of each index tied.
    vary = [k for k in range(grid.ndim) if grid.shape[k] > 1 and (grid != grid.take([0], k)).any()]
    axis = vary[-1] if vary else next((k for k in range(grid.ndim) if grid.shape[k] > 1), 0)
    rows = np.moveaxis(grid, axis, 0).reshape(grid.shape[axis], -1)
    for column in range(1, rows.shape[1]):
        walk.atoms.tie(rows[:, 0], rows[:, column])
    walk.tensors[out] = Along(j0 + axis, rows[:, 0])
    if not _settable(walk, op, j0 + axis):
        walk.stop(op, "reshape to a computed shape")
    return None


def _settable(walk: _Walk, op: Op, axis: int) -> bool:
    """Whether the reshaped channel axis can be given another length."""
    if op.type != "reshape2" or not (inputs(op, "Shape") or inputs(op, "ShapeTensor")):
        return True
    listed = inputs(op, "ShapeTensor")
    if not listed:
        return False
    maker = walk.program.producers().get(listed[axis])
    alone = len(walk.program.consumers().get(listed[axis], [])) == 1
    return maker is not None and maker.type == "fill_constant" and alone


def _block(old: list[int], new: list[int], axis: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The smallest run of old axes around `axis` that a reshape turns into a run of new axes."""
    i = j = 0
    while i < len(old) and j < len(new):
        i1, j1 = i + 1, j + 1
        left, right = old[i], new[j]
        while left != right:
            if left < right:
                if i1 == len(old):
                    return None
                left, i1 = left * old[i1], i1 + 1
            else:
                if j1 == len(new):
                    return None
                right, j1 = right * new[j1], j1 + 1
        if i <= axis < i1:
            return (i, i1), (j, j1)
        i, j = i1, j1
    return None


def _shuffle(walk: _Walk, op: Op, along: Along) -> bool:
    """Channel shuffle (Zhang et al. 2018): [N,C,H,W] -> [N,g,c,H,W] -> [N,c,g,H,W] -> [N,C,H,W]."""
    ops, name = [op], outputs(op, "Out")[0]
    consumers, fetched = walk.program.consumers(), walk.program.fetches
    for _ in range(2):
        after = consumers.get(name, [])
        if len(after) != 1 or name in fetched or not outputs(after[0], "Out"):
            return False
        ops.append(after[0])
        name = outputs(after[0], "Out")[0]
    first, second, third = ops
    before, middle = walk.shapes[inputs(first, "X")[0]], walk.shapes[outputs(first, "Out")[0]]
    if second.type != "transpose2" or third.type != "reshape2" or along.axis != 1 or len(middle) != 5:
        return False
    if attr(second, "axis") != [0, 2, 1, 3, 4] or middle[3:] != before[2:] or walk.shapes[name] != before:
        return False
    atoms = along.atoms.reshape(middle[1], middle[2]).T.reshape(-1)
    walk.tensors[name] = Along(1, atoms)
    walk.shuffles[name] = ops
    walk.inside.update([*outputs(second), *outputs(third)])
    return True


def _gather(walk: _Walk, op: Op) -> None:
    """Channels by number, as pruning leaves an uneven shuffle."""
    x, index = inputs(op, "X")[0], inputs(op, "Index")[0]
    walk.followed.add(index)
    along = walk.tensors.get(x)
    if along is None:
        return
    if along.axis != attr(op, "axis", 0) or inputs(op, "Axis") or index not in walk.program.params:
        return walk.stop(op, "gather at computed places")
    walk.tensors[outputs(op, "Out")[0]] = Along(along.axis, along.atoms[walk.program.params[index]])


def _matmul(walk: _Walk, op: Op) -> None:
    x, y, out = inputs(op, "X")[0], inputs(op, "Y")[0], outputs(op, "Out")[0]
    weight = walk.program.params.get(y)
    if weight is None or weight.ndim != 2:
        return walk.stop(op, f"{op.type} of two computed tensors")
    rank = len(walk.shapes[x])
    if op.type == "mul":
        first, flipped = attr(op, "x_num_col_dims", 1), False
        if attr(op, "y_num_col_dims", 1) != 1:
            return walk.stop(op, "mul with a folded weight")
    else:
        first, flipped = rank - 1, attr(op, "trans_y", False)
        if attr(op, "trans_x", False):
            return walk.stop(op, f"{op.type} with its input transposed")
    along = walk.tensors.get(x)
    if along is not None:
        if along.axis < first:
            walk.stop(op, f"{op.type} keeps an axis besides the channels")
        else:
            inner = walk.shapes[x][first:]
            spread = [1] * len(inner)
            spread[along.axis - first] = len(along.atoms)
            atoms = np.broadcast_to(along.atoms.reshape(spread), inner).reshape(-1)
            walk.attach(y, 1 if flipped else 0, "in", atoms)
    else:
        walk.fixed.setdefault((y, 1 if flipped else 0), "its weight also reads fixed channels")
    made = walk.produce(y, 0 if flipped else 1, weight.shape[0 if flipped else 1])
    walk.tensors[out] = Along(len(walk.shapes[out]) - 1, made)
    return None


Rule = Callable[[_Walk, Op], None]

RULES: dict[str, Rule] = {
    "conv2d": _conv, "depthwise_conv2d": _conv,
    "conv2d_transpose": _conv_transpose, "depthwise_conv2d_transpose": _conv_transpose,
    "batch_norm": _batch_norm, "layer_norm": _layer_norm, "softmax": _softmax, "prelu": _prelu,
    "concat": _concat, "split": _split, "slice": _slice, "transpose2": _transpose, "sum": _sum,
    "gather": _gather, "reshape2": _reshape, "flatten2": _reshape, "flatten_contiguous_range": _reshape,
    "squeeze2": _reshape, "unsqueeze2": _reshape,
    "matmul_v2": _matmul, "mul": _matmul, "fetch": _fetch,
    **dict.fromkeys(("shape", "fill_constant"), _nothing),
    **dict.fromkeys(("elementwise_add", "elementwise_sub", "elementwise_mul", "elementwise_div",
                     "elementwise_max", "elementwise_min"), _elementwise),
    **dict.fromkeys(("reduce_mean", "reduce_sum", "reduce_max", "reduce_min"), _reduce),
    **dict.fromkeys((
        "relu", "relu6", "leaky_relu", "hard_swish", "hard_sigmoid", "swish", "silu", "sigmoid", "tanh",
        "gelu", "mish", "elu", "softplus", "exp", "sqrt", "square", "abs", "pow", "scale", "clip", "dropout",
        "assign", "cast", "pool2d", "nearest_interp", "nearest_interp_v2", "bilinear_interp",
        "bilinear_interp_v2",
    ), _same),
}  # fmt: skip
