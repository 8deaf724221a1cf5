"""Multiply-accumulates against a count by hand and against paddle.flops on the dygraph net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from edgekit.program import cost, edit, graph
from edgekit.program.graph import Program
from tests.program import nets

S = nets.SIDE


def export(net: Any, folder: Path, shape: tuple[int | None, ...] = (None, 3, S, S)) -> Program:
    return graph.load(nets.export(net, folder, shape))


@pytest.mark.parametrize(
    ("make", "macs"),
    [
        (lambda: nn.Conv2D(3, 8, 3, padding=1), S * S * 8 * 3 * 9),
        (lambda: nn.Conv2D(3, 8, 3, stride=2, padding=1), (S // 2) ** 2 * 8 * 3 * 9),
        (lambda: nn.Conv2D(3, 8, (1, 5)), S * (S - 4) * 8 * 3 * 5),
        (lambda: nn.Conv2D(3, 8, 3, dilation=2), (S - 4) ** 2 * 8 * 3 * 9),
        (lambda: nn.Conv2D(3, 6, 3, padding=1, groups=3), S * S * 6 * 9),
        (lambda: nn.Conv2D(3, 3, 5, padding=2, groups=3), S * S * 3 * 25),
        (lambda: nn.Conv2DTranspose(3, 8, 4, stride=2, padding=1), S * S * 3 * 8 * 16),
        (lambda: nn.Conv2DTranspose(3, 6, 4, stride=2, padding=1, groups=3), S * S * 6 * 16),
        (lambda: nn.Linear(S, 7), 3 * S * S * 7),
    ],
    ids=[
        "plain",
        "strided",
        "oblong",
        "dilated",
        "grouped",
        "depthwise",
        "turned",
        "turned grouped",
        "linear",
    ],
)
def test_one_layer_by_hand(make: Any, macs: int, tmp_path: Path) -> None:
    program = export(nn.Sequential(nets.make(make)), tmp_path)
    costs = cost.layer_costs(program)
    assert list(costs.values()) == [macs]
    assert cost.layer_costs(edit.fold_batch_norm(program)) == costs


def test_a_net_against_paddle(tmp_path: Path) -> None:
    """paddle.flops also counts biases and other layers: those are taken off here."""
    net = nets.make(nets.Mixed)
    program = export(net, tmp_path)

    def nothing(layer: Any, given: Any, result: Any) -> None:
        layer.total_ops += 0

    others = (nn.BatchNorm2D, nn.Hardswish, nn.ReLU, nn.Hardsigmoid, nn.AdaptiveAvgPool2D, nn.AvgPool2D)
    counted = paddle.flops(net, [1, 3, S, S], custom_ops=dict.fromkeys(others, nothing))
    biases = 8 + 16 + 16 * (S // 2) ** 2  # squeeze, excite, left
    costs = cost.layer_costs(program)
    assert len(costs) == 8
    assert sum(costs.values()) == counted - biases


def test_costs_know_the_layer(tmp_path: Path) -> None:
    program = export(nets.make(nets.Mixed), tmp_path)
    half = (S // 2) ** 2
    by_hand = [half * 16 * 27, half * 16 * 9, half * 16 * 16, 16 * 8, 8 * 16, half * 256, half * 16 * 8 * 9]
    assert list(cost.layer_costs(program).values()) == [*by_hand, 32 * (S // 4) ** 2 * 20]


def test_shapes_are_paddles_own(tmp_path: Path) -> None:
    program = export(nets.make(nets.Mixed), tmp_path)
    names = [nets.output_of(program, kind) for kind in ("hard_swish", "pool2d", "concat", "softmax")]
    feed = nets.pictures(1)[0]["x"].repeat(3, axis=0)
    (got,) = nets.run(edit.cut(program, {n: n for n in names}), tmp_path, [{"x": feed}])
    known = cost.shapes(program, batch=3)
    assert {name: list(value.shape) for name, value in got.items()} == {n: known[n] for n in names}
    assert program.shape("x")[0] == -1  # the program itself stays free


def test_free_sides_are_given(tmp_path: Path) -> None:
    program = export(nn.Sequential(nets.make(lambda: nn.Conv2D(3, 8, 3))), tmp_path, (None, 3, None, None))
    costs = cost.layer_costs(program, inputs_at={"x": [1, 3, 10, 20]})
    assert list(costs.values()) == [8 * 18 * 8 * 27]


def test_parameter_count(tmp_path: Path) -> None:
    net = nets.make(nets.Mixed)
    program = export(net, tmp_path)
    wanted = sum(int(np.prod(p.shape)) for p in (*net.parameters(), *net.buffers()))
    assert cost.parameter_count(program) == wanted
