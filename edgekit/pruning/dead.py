"""Dead channels: constant whatever the picture, so that what reads them can do without.

After batch norm is folded many filters are zero: their channel is its bias, everywhere. Such a channel is
removed exactly: what it adds to each layer that reads it is a constant, and goes into that layer's bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgekit.calibration.moments import passes
from edgekit.calibration.readers import readers
from edgekit.program import cost
from edgekit.program.graph import Op, Program, attr, inputs, outputs
from edgekit.pruning.remove import remove
from edgekit.pruning.trace import Trace, trace

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_POINTWISE = (
    "relu", "relu6", "leaky_relu", "hard_swish", "hard_sigmoid", "swish", "silu", "sigmoid", "tanh", "gelu",
    "mish", "elu", "softplus", "exp", "sqrt", "square", "abs", "pow", "scale", "clip", "dropout", "assign",
)  # fmt: skip
_SPREADING = ("pool2d", "nearest_interp", "nearest_interp_v2", "bilinear_interp", "bilinear_interp_v2")


_SILENT = 1e-8  # of the largest weight of the layer: below what float32 resolves in a sum


@dataclass
class Dead:
    """Atoms that can go, and what their going adds to the biases of layers, [out] by weight."""

    atoms: set[int] = field(default_factory=set)
    biases: dict[str, Doubles] = field(default_factory=dict)


def silenced(program: Program) -> tuple[Program, int]:
    """Filters that are zero but for noise (training drives them to 1e-38 of their layer) made exactly zero.

    Returns the program and the number of such filters.
    """
    made, count = program.copy(), 0
    for name in dict.fromkeys(n for op in program.block.ops for n in inputs(op, "Filter")):
        value = made.params.get(name)
        if value is None:
            continue
        peaks = np.abs(value).reshape(len(value), -1).max(1)
        silent = peaks <= _SILENT * peaks.max()
        count += int(silent.sum())
        made.params[name] = np.where(silent[:, None, None, None], 0, value).astype(value.dtype)
    return made, count


def find(
    program: Program, trace: Trace, values: dict[str, npt.NDArray[np.float32]], shapes: dict[str, list[int]]
) -> Dead:
    """Atoms that every reader finds constant, or does not look at.

    values: the tensors that the trace follows, for one picture, whatever it shows; only entries of channels
    that are proved to be constant are looked at. shapes: of every tensor.
    """
    constant = _constants(program, trace, values, shapes)
    by_weight = {reader.weight: reader for reader in readers(program)}
    must_stay = set(trace.reasons)
    seen: set[int] = {int(a) for piece in trace.slices if piece.role == "out" for a in piece.atoms}
    alive: set[int] = set()
    biases: dict[str, Doubles] = {}
    shares: dict[str, tuple[Doubles, list[int]]] = {}
    for op in program.block.ops:
        weight = next((n for slot in ("Filter", "Y") for n in inputs(op, slot) if n in program.params), None)
        piece = trace.of(weight, "in") if weight is not None else None
        if weight is None or piece is None:
            continue
        x = next(n for slot in ("Input", "X") for n in inputs(op, slot))
        if x not in trace.tensors:  # a shared weight: this op reads channels that are fixed
            continue
        columns = np.moveaxis(program.params[weight], piece.axis, 0)
        unread = (columns.reshape(len(columns), -1) == 0).all(1)
        level = _levels(values[x], trace.tensors[x].axis)
        mask = constant.get(x, np.zeros(len(level), np.bool_))
        if len(mask) != len(piece.atoms):  # grouped, or flattened on the way in
            alive.update(int(a) for a in piece.atoms)
            continue
        reader = by_weight.get(weight)
        told = reader is not None and reader.bias is not None and _sees_all(op)
        gone = unread | (mask & ((level == 0) | told))
        alive.update(int(a) for a in piece.atoms[~gone])
        if reader is not None and reader.bias is not None:
            matrix = reader.matrix(program.params[weight]).astype(np.float64)
            per_channel = matrix.reshape(len(matrix), len(mask), -1).sum(2) * np.where(mask, level, 0.0)
            shares[weight] = (per_channel, [int(a) for a in piece.atoms])
    atoms = _leave_one(trace, seen - alive - must_stay)
    for weight, (per_channel, of) in shares.items():
        added = per_channel[:, [a in atoms for a in of]].sum(1)
        if added.any():
            biases[weight] = added
    return Dead(atoms, biases)


def _leave_one(trace: Trace, atoms: set[int]) -> set[int]:
    """No tensor and no parameter may lose all of its channels."""
    left = set(atoms)
    for atoms_of in [a.atoms for a in trace.tensors.values()] + [s.atoms for s in trace.slices]:
        if all(int(a) in left for a in atoms_of):
            left.discard(int(atoms_of[0]))
    return left


def _levels(value: npt.NDArray[np.float32], axis: int) -> Doubles:
    """One entry per channel."""
    flat = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
    return flat[:, flat.shape[1] // 2].astype(np.float64)


def _sees_all(op: Op) -> bool:
    """Whether a constant channel adds the same everywhere: no zero padding around it."""
    return op.type in ("matmul_v2", "mul", "conv2d") and not _padded(op)


def _padded(op: Op) -> bool:
    return any(attr(op, "paddings", [0])) or attr(op, "padding_algorithm", "EXPLICIT") == "SAME"


def _constants(
    program: Program, trace: Trace, values: dict[str, npt.NDArray[np.float32]], shapes: dict[str, list[int]]
) -> dict[str, Mask]:
    found: dict[str, Mask] = {}
    inner = {name for ops in trace.shuffles.values() for op in ops[:-1] for name in outputs(op, "Out")}
    for op in program.block.ops:
        for name in outputs(op):
            along = trace.tensors.get(name)
            if along is not None and name not in inner and name in values:
                mask = _rule(program, trace, values, shapes, found, op, name)
                if mask is not None and mask.any():
                    found[name] = mask
    return found


def _rule(
    program: Program,
    trace: Trace,
    values: dict[str, npt.NDArray[np.float32]],
    shapes: dict[str, list[int]],
    found: dict[str, Mask],
    op: Op,
    out: str,
) -> Mask | None:
    along = trace.tensors[out]
    count = len(along.atoms)

    def known(name: str) -> tuple[Mask, Mask]:
        """Which channels of a tensor are constant, and which of those are zero."""
        source = trace.tensors.get(name)
        if source is None:
            return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        mask = found.get(name, np.zeros(len(source.atoms), np.bool_))
        return mask, mask & (_levels(values[name], source.axis) == 0)

    x = next((n for slot in ("Input", "X") for n in inputs(op, slot)), "")
    mask, zero = known(x)
    if op.type.endswith(("conv2d", "conv2d_transpose")):
        return _convolution(program, op, mask, zero)
    if op.type in ("matmul_v2", "mul"):
        name = inputs(op, "Y")[0]
        flat = program.params[name].T if attr(op, "trans_y", False) else program.params[name]
        over_channels = len(mask) == len(flat) and trace.of(name, "in") is not None
        quiet = mask if over_channels else np.zeros(len(flat), np.bool_)
        return np.asarray(((flat == 0) | quiet[:, None]).all(0))
    if op.type == "batch_norm":
        still = program.params[inputs(op, "Scale")[0]] == 0
        return np.asarray(still | mask if len(mask) else still)
    if op.type.startswith("elementwise"):
        return _pairwise(program, trace, known, op, len(shapes[out]))
    if op.type in _POINTWISE:
        return mask
    if op.type in _SPREADING:
        padded = op.type == "pool2d" and _padded(op) and not attr(op, "exclusive", True)
        return zero if padded else mask
    if out in trace.shuffles:
        first = trace.shuffles[out][0]
        start, _ = known(inputs(first, "X")[0])
        groups = shapes[outputs(first, "Out")[0]][1]
        return np.asarray(start.reshape(groups, -1).T.reshape(-1))
    if op.type == "concat" and attr(op, "axis", 0) % len(shapes[out]) == along.axis:
        parts = []
        for name in inputs(op, "X"):
            part, _ = known(name)
            size = shapes[name][along.axis]
            parts.append(part if len(part) == size else np.zeros(size, np.bool_))
        return np.concatenate(parts)
    if op.type == "gather":
        return np.asarray(mask[program.params[inputs(op, "Index")[0]]])
    if op.type == "split" and attr(op, "axis", 0) % len(shapes[x]) == along.axis:
        sizes = [shapes[name][along.axis] for name in outputs(op, "Out")]
        k = outputs(op, "Out").index(out)
        return np.asarray(mask[sum(sizes[:k]) : sum(sizes[: k + 1])])
    if op.type in (
        "reshape2",
        "flatten_contiguous_range",
        "flatten2",
        "squeeze2",
        "unsqueeze2",
        "transpose2",
    ):
        before = trace.tensors[x].atoms if x in trace.tensors else along.atoms[:0]
        times = count // max(1, len(before))
        return np.repeat(mask, times) if np.array_equal(np.repeat(before, times), along.atoms) else None
    return None


def _convolution(program: Program, op: Op, mask: Mask, zero: Mask) -> Mask:
    weight = program.params[inputs(op, "Filter")[0]]
    transposed = op.type.endswith("transpose")
    quiet = zero if transposed or _padded(op) else mask
    groups = attr(op, "groups", 1)
    if groups > 1 and weight.shape[1] == 1:
        silent = np.asarray((weight.reshape(len(weight), -1) == 0).all(1))
        return np.asarray(silent | (np.repeat(quiet, len(weight) // len(quiet)) if len(quiet) else silent))
    if transposed:
        weight = weight.transpose(1, 0, 2, 3)
    empty = (weight.reshape(*weight.shape[:2], -1) == 0).all(2)
    if groups == 1 and len(quiet) == weight.shape[1]:
        empty = empty | quiet[None]
    return np.asarray(empty.all(1))


def _pairwise(
    program: Program, trace: Trace, known: Callable[[str], tuple[Mask, Mask]], op: Op, rank: int
) -> Mask | None:
    along, sides = trace.tensors[outputs(op, "Out")[0]], []
    count = len(along.atoms)
    for name in (inputs(op, "X")[0], inputs(op, "Y")[0]):
        if name in program.params:
            value = program.params[name]
            offset = attr(op, "axis", -1) if name == inputs(op, "Y")[0] and value.ndim < rank else -1
            start = offset if offset >= 0 else rank - value.ndim
            if value.size > 1 and (value.size != count or start + int(np.argmax(value.shape)) != along.axis):
                return None  # it changes from place to place
            value = np.broadcast_to(value.reshape(-1), count)
            sides.append((np.ones(count, np.bool_), value == 0))
        elif name in trace.tensors and len(trace.tensors[name].atoms) == count:
            sides.append(known(name))
        else:
            return None
    (left, left_zero), (right, right_zero) = sides
    both = np.asarray(left & right)
    return both | left_zero | right_zero if op.type == "elementwise_mul" else both


def without_dead(program: Program) -> tuple[Program, list[tuple[Trace, set[int]]]]:
    """The program (batch norm folded) without its dead channels, and what was removed, step by step.

    Its answers stay as they are. What is dead because something dead read it goes in a later step.
    """
    made, _ = silenced(program)
    feed = made.feeds[0]
    steps: list[tuple[Trace, set[int]]] = []
    while True:
        shapes = cost.measured_shapes(made)
        found = trace(made, shapes)
        picture = np.random.Generator(np.random.PCG64(0)).standard_normal(shapes[feed], np.float32)
        _, values = next(iter(passes(made, list(found.tensors), [picture[0]], optimise=False)))
        result = find(made, found, values, shapes)
        if not result.atoms:
            return made, steps
        for reader in readers(made):
            if reader.weight in result.biases and reader.bias is not None:
                old = made.params[reader.bias].astype(np.float64)
                made.params[reader.bias] = (old + result.biases[reader.weight].reshape(old.shape)).astype(
                    np.float32
                )
        made = remove(made, found, result.atoms)
        steps.append((found, result.atoms))
