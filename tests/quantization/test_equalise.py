"""Channel factors in a program: float answers stay, and where they can they cost no op."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from edgekit.program import edit, graph
from edgekit.program.graph import Program, inputs
from edgekit.quantization import equalise, repair, rule
from tests.program import nets
from tests.program.nets import conv_bn


class Chain(nn.Layer):  # type: ignore[misc]
    """A convolution, a ReLU or another activation, and a pointwise and a depthwise convolution behind it."""

    def __init__(self, act: type[nn.Layer] | None = nn.ReLU, pooled: bool = False) -> None:
        super().__init__()
        self.first, self.depthwise, self.point = (
            conv_bn(3, 8, 3),
            conv_bn(8, 8, 3, groups=8),
            conv_bn(8, 8, 1),
        )
        self.act = act() if act else None
        self.pooled = pooled

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.first(x)
        y = self.act(y) if self.act else y
        z = self.depthwise(y) + self.point(y)
        return z + y.mean([2, 3], keepdim=True) if self.pooled else z


def evened(folder: Path, **how: Any) -> tuple[Program, Program, str]:
    """The program, the same with factors for what the depthwise layer reads, and that tensor."""
    paddle.disable_static()
    made = nets.export(nets.make(lambda: Chain(**how)), folder / "net")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(made)))
    layers = rule.layers(program, [])
    (read,) = {layer.input for layer in layers if layer.type == "depthwise_conv2d"}
    factors = {read: np.geomspace(0.01, 1, 8)}
    return program, equalise.apply(program, factors, layers), read


def multiplications(program: Program) -> int:
    return sum(op.type == "elementwise_mul" for op in program.block.ops)


@pytest.mark.parametrize("act", [nn.ReLU, None])
def test_a_division_goes_into_the_convolution_before(act: type[nn.Layer] | None, tmp_path: Path) -> None:
    program, made, read = evened(tmp_path, act=act)
    assert len(made.block.ops) == len(program.block.ops) and multiplications(made) == 0
    feeds = nets.pictures(3, seed=1)
    for before, after in zip(
        nets.run(program, tmp_path / "a", feeds), nets.run(made, tmp_path / "b", feeds), strict=True
    ):
        for name, wanted in before.items():
            np.testing.assert_allclose(after[name], wanted, atol=1e-5)
    # The tensor between is the one that was, divided.
    (was,) = nets.run(edit.cut(program, {read: read}), tmp_path / "c", feeds[:1])
    even = f"{read}{equalise.EVEN}"
    (now,) = nets.run(edit.cut(made, {even: even}), tmp_path / "d", feeds[:1])
    np.testing.assert_allclose(
        now[even], was[read] / np.geomspace(0.01, 1, 8).reshape(1, 8, 1, 1), rtol=1e-4, atol=1e-5
    )
    # Layers know their tensors by the new names.
    known = rule.renamed(rule.layers(program, []), made)
    assert known == rule.layers(made, [])


@pytest.mark.parametrize("how", [{"act": nn.Hardswish}, {"pooled": True}])
def test_elsewhere_it_is_an_op(how: dict[str, Any], tmp_path: Path) -> None:
    program, made, read = evened(tmp_path, **how)
    assert multiplications(made) == multiplications(program) + 1
    even = [op for op in made.block.ops if f"{read}{equalise.EVEN}" in inputs(op)]
    assert len(even) == 2
    feeds = nets.pictures(3, seed=1)
    for before, after in zip(
        nets.run(program, tmp_path / "a", feeds), nets.run(made, tmp_path / "b", feeds), strict=True
    ):
        for name, wanted in before.items():
            np.testing.assert_allclose(after[name], wanted, atol=1e-5)


class Words(nn.Layer):  # type: ignore[misc]
    """A convolution, its places as rows, a layer norm and two products behind it; one more behind a swish."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.act = nn.Conv2D(3, 24, 3, stride=4), nn.LayerNorm(24), nn.Swish()
        self.left, self.right, self.last = nn.Linear(24, 16), nn.Linear(24, 16), nn.Linear(16, 16)
        self.norm.weight.set_value(paddle.to_tensor(np.geomspace(0.02, 2, 24).astype(np.float32)))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.norm(self.first(x).flatten(2).transpose([0, 2, 1]))
        return self.last(self.act(self.left(y))) + self.right(y)


def test_products_read_evened_tensors(tmp_path: Path) -> None:
    """The channels are last; into a layer norm the division goes, behind a swish it is an op."""
    paddle.disable_static()
    made = nets.export(nets.make(Words), tmp_path / "net")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(made)))
    layers = rule.layers(program, [])
    tensors = list(dict.fromkeys(layer.input for layer in layers if layer.type == "matmul"))
    assert len(tensors) == 2
    sizes = [
        program.params[next(each.weight for each in layers if each.input == name)].shape[0]
        for name in tensors
    ]
    factors = {name: np.geomspace(0.01, 1, n) for name, n in zip(tensors, sizes, strict=True)}
    even = equalise.apply(program, factors, layers)
    assert multiplications(even) == multiplications(program) + 1
    feeds = nets.pictures(3, seed=1)
    for before, after in zip(
        nets.run(program, tmp_path / "a", feeds), nets.run(even, tmp_path / "b", feeds), strict=True
    ):
        for name, wanted in before.items():
            np.testing.assert_allclose(after[name], wanted, atol=1e-4)


def test_factors_of_what_products_read_are_found_and_pay(tmp_path: Path) -> None:
    """A layer norm whose channels are a hundredfold apart."""
    paddle.disable_static()
    made = nets.export(nets.make(Words), tmp_path / "net")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(made)))
    layers = rule.layers(program, [])
    normed = next(layer.input for layer in layers if layer.type == "matmul")
    feeds = nets.pictures(24, seed=11)
    seen = np.concatenate(
        [one[normed] for one in nets.run(edit.cut(program, {normed: normed}), tmp_path / "r", feeds)]
    )
    peaks = np.abs(seen).max((0, 1))
    pictures = [feed["x"][0] for feed in feeds]
    ranges = {layer.input: peaks if layer.input == normed else np.ones(1) for layer in layers}
    found, _ = repair.grids(program, layers, ranges, pictures, lambda: None, factors=True, outputs={})
    grid = found[normed].grid
    assert grid.factors is not None
    some = peaks < peaks.max()
    strength = np.log(grid.factors[some]) / np.log(peaks[some] / peaks.max())
    np.testing.assert_allclose(strength, strength[0], atol=1e-3)
    assert strength[0] > 0.2
