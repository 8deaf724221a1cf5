"""Floors of tensors against the values that Paddle computes."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.program.graph import AttrValue, Program
from edgekit.quantization.floors import floors
from edgekit.quantization.table import grid
from tests.pruning.small import Net, pictures, values

SWISH: dict[str, AttrValue] = {"threshold": 6.0, "scale": 6.0, "offset": 3.0}


def net() -> Program:
    """A block with a gate, as PP-LCNet has it, and a residual sum."""
    n = Net(4, 6, 6)
    hard = n.op("hard_swish", {"X": n.conv("a", "x", 4, 8)}, SWISH, out="hard")
    plus = n.relu(n.conv("b", "hard", 8, 8))
    pool = n.op("pool2d", {"X": plus}, {"pooling_type": "avg", "ksize": [1, 1], "adaptive": True}, out="pool")
    gate = n.op("hard_sigmoid", {"X": n.conv("c", pool, 8, 8)}, {"slope": 0.2, "offset": 0.5}, out="gate")
    n.op("elementwise_mul", {"X": hard, "Y": gate}, {"axis": -1}, out="gated")
    n.op("elementwise_mul", {"X": plus, "Y": gate}, {"axis": -1}, out="nonnegative")
    n.add("gated", "nonnegative", out="sum")
    n.program.set_param("f", np.linspace(0.5, 4, 8, dtype=np.float32))
    n.op("elementwise_mul", {"X": hard, "Y": "f"}, {"axis": 1}, out="evened")
    n.program.set_param("g", np.linspace(-1, 1, 8, dtype=np.float32))
    n.op("elementwise_mul", {"X": hard, "Y": "g"}, {"axis": 1}, out="turned")
    n.op("concat", {"X": ["sum", "pool", "sum"][::2]}, {"axis": 1}, out="both")
    return n.done("both", "evened", "turned", "c")


def test_no_value_is_below_its_floor_and_floors_are_near() -> None:
    program = net()
    found = floors(program)
    wanted = {
        "hard": -0.375, "pool": 0.0, "gate": 0.0, "gated": -0.375, "nonnegative": 0.0, "sum": -0.375,
        "evened": -1.5, "both": -0.375,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    seen = values(program, 20 * pictures(32, 4, 6, 6), *wanted)
    for name, floor in wanted.items():
        assert seen[name].min() >= floor - 1e-5
    assert seen["hard"].min() < -0.37 and seen["evened"].min() < -1.3


def test_where_nothing_is_known_there_is_no_floor() -> None:
    found = floors(net())
    assert found.keys().isdisjoint(
        {"x", "turned", "c"}
    )  # `c` is an answer: what a gate makes of it is not all


def test_what_only_a_hard_swish_reads_matters_from_where_it_begins() -> None:
    program = net()
    assert floors(program)["a"] == -3.0
    given = 20 * pictures(32, 4, 6, 6)
    seen = values(program, given, "a", "hard")
    assert seen["a"].min() < -6
    y = np.maximum(seen["a"], -3.0)
    np.testing.assert_allclose(y * np.clip(y + 3, 0, 6) / 6, seen["hard"], atol=1e-4)


def test_a_hard_swish_with_other_arguments_is_another_function() -> None:
    n = Net(4, 6, 6)
    n.op("hard_swish", {"X": n.conv("a", "x", 4, 8)}, {**SWISH, "offset": 5.0}, out="hard")
    assert floors(n.done("hard")) == {}


@pytest.mark.parametrize("floor", [0.0, -0.375, -3.0, -7.0, None])
def test_a_grid_reaches_from_the_floor_to_the_threshold(floor: float | None) -> None:
    scale, zero = grid(8.0, floor)
    low, high = -zero * scale, (255 - zero) * scale
    assert high == pytest.approx(8.0, abs=scale / 2 + 1e-9)
    assert low == pytest.approx(-8.0 if floor is None else floor, abs=scale * (1.01 if zero == 128 else 0.51))
    assert scale == pytest.approx((8 - low) / 255, rel=0.01)
