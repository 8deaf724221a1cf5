"""How low the values of a tensor can be, by the ops that make it, and how low they matter to who reads it.

Behind a hard swish nothing is below -0.375, behind a ReLU nothing is below 0, whatever the picture. A grid
that is symmetric to zero leaves up to half of its levels idle there. Paddle Lite has only such grids; in
ONNX the levels go to where values are.
"""

from __future__ import annotations

import math

from edgekit.program.graph import Op, Program, attr, inputs, outputs

_OWN = {
    "relu": 0.0, "relu6": 0.0, "sigmoid": 0.0, "hard_sigmoid": 0.0, "softmax": 0.0, "hard_swish": -0.375,
    "swish": -0.27847,
}  # fmt: skip
# As they are defined without arguments; with others the figures above are wrong.
_USUAL = {"hard_swish": {"threshold": 6.0, "scale": 6.0, "offset": 3.0}, "swish": {"beta": 1.0}}
_AT_MOST_ONE = ("sigmoid", "hard_sigmoid", "softmax")
_SAME = (
    "reshape2", "transpose2", "flatten_contiguous_range", "squeeze2", "unsqueeze2", "dropout", "slice",
    "concat", "split", "nearest_interp_v2", "bilinear_interp_v2",
)  # fmt: skip
_MATTERS = {"relu": 0.0, "hard_swish": -3.0}  # below these the answer is the same


def floors(program: Program) -> dict[str, float]:
    """{tensor: no value of it is less, or none less makes a difference}; tensors without such a bound are
    left out."""
    found: dict[str, float] = {}
    gates: set[str] = set()  # no value is more than 1
    for op in program.ops:
        floor = _floor(program, op, found, gates)
        for name in outputs(op):
            if math.isfinite(floor):
                found[name] = floor
            if op.type in _AT_MOST_ONE:
                gates.add(name)
    for name, readers in program.consumers().items():
        matters = min(_MATTERS.get(op.type, -math.inf) if usual(op) else -math.inf for op in readers)
        if math.isfinite(matters):
            found[name] = max(matters, found.get(name, -math.inf))
    return found


def _floor(program: Program, op: Op, known: dict[str, float], gates: set[str]) -> float:
    if op.type in _OWN:
        return _OWN[op.type] if usual(op) else -math.inf
    read = [known.get(name, -math.inf) for name in inputs(op) if name not in program.params]
    if op.type in _SAME:
        return min(read, default=-math.inf)
    if op.type == "pool2d":
        return min(0.0, *read)  # padding may come in
    if op.type == "elementwise_add":
        return sum(read) + sum(float(program.params[n].min()) for n in inputs(op) if n in program.params)
    if op.type == "elementwise_mul":
        x, y = inputs(op, "X")[0], inputs(op, "Y")[0]
        return max(_scaled(program, one, other, known, gates) for one, other in ((x, y), (y, x)))
    return -math.inf


def _scaled(program: Program, name: str, by: str, known: dict[str, float], gates: set[str]) -> float:
    """The floor of tensor * by."""
    floor = known.get(name, -math.inf)
    if by in program.params and float(program.params[by].min()) >= 0 and math.isfinite(floor):
        return min(0.0, floor * float(program.params[by].max()))
    nonnegative = known.get(by, -math.inf) >= 0
    return min(0.0, floor) if nonnegative and (floor >= 0 or by in gates) else -math.inf


def usual(op: Op) -> bool:
    """Whether the op has the arguments with which it is commonly defined."""
    return all(attr(op, name, value) == value for name, value in _USUAL.get(op.type, {}).items())
