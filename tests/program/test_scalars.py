"""Numbers between layers, folded into the layers: answers stay, ops go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from edgekit.program import edit, graph
from tests.program import nets


class Numbers(nn.Layer):  # type: ignore[misc]
    """s x + t with trained s and t, as PPLCNetV3 has it: the number stands first in one of the two ops."""

    def __init__(self, scale: float = 0.8, shift: float = -0.3) -> None:
        super().__init__()
        constant = nn.initializer.Constant
        self.scale = self.create_parameter([1], default_initializer=constant(scale))
        self.shift = self.create_parameter([1], default_initializer=constant(shift))

    def forward(self, x: Any) -> Any:
        return self.scale * x + self.shift


class Behind(nn.Layer):  # type: ignore[misc]
    """A convolution, with or without batch norm and bias, numbers, and an activation."""

    def __init__(self, bias: bool, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, padding=1, bias_attr=None if bias else False)
        self.norm = nn.BatchNorm2D(8) if norm else nn.Identity()
        self.numbers = Numbers()

    def forward(self, x: Any) -> Any:
        return nn.functional.hardswish(self.numbers(self.norm(self.conv(x))))


class Before(nn.Layer):  # type: ignore[misc]
    """An activation, numbers, and convolutions that read them."""

    def __init__(self, padding: int = 0, bias: bool = True, also: str = "") -> None:
        super().__init__()
        self.stem, self.numbers, self.also = nn.Conv2D(3, 8, 3), Numbers(), also
        kernel = 1 + 2 * padding
        self.one = nn.Conv2D(8, 8, kernel, padding=padding, groups=8, bias_attr=None if bias else False)
        self.two = nn.Conv2D(8, 8, 1)

    def forward(self, x: Any) -> Any:
        x = self.numbers(nn.functional.hardswish(self.stem(x)))
        y = nn.functional.relu(self.one(x)) + nn.functional.relu(self.two(x))
        return y + x if self.also == "shortcut" else y


def folded(make: Callable[[], Any], folder: Path) -> tuple[Counter[str], Any]:
    """Ops after folding; the answers are held against the net's own, at all places and the borders too."""
    net = nets.make(make)
    program = graph.load(nets.export(net, folder / "net"))
    made = edit.fold_batch_norm(program)
    feeds = nets.pictures(2)
    for feed, got in zip(feeds, nets.run(made, folder / "made", feeds), strict=True):
        wanted = net(paddle.to_tensor(feed["x"])).numpy()
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(got[made.fetches[0]], wanted, atol=1e-5)
    return Counter(op.type for op in made.ops), made


@pytest.mark.parametrize(("bias", "norm"), [(False, False), (True, False), (False, True), (True, True)])
def test_numbers_behind_a_convolution_go_into_it(tmp_path: Path, bias: bool, norm: bool) -> None:
    kinds, _ = folded(lambda: Behind(bias, norm), tmp_path)
    assert kinds["elementwise_add"] == 1 and not kinds["elementwise_mul"] and not kinds["batch_norm"]


def test_numbers_before_convolutions_go_into_them(tmp_path: Path) -> None:
    kinds, made = folded(Before, tmp_path)
    assert not kinds["elementwise_mul"]
    assert kinds["elementwise_add"] == 3 + 1, "three biases and the sum"
    assert not [name for name in made.params if name.endswith(".shift")]


def test_a_shift_before_padding_stays(tmp_path: Path) -> None:
    """The padding does not have it: at the borders the answers would be others."""
    kinds, made = folded(lambda: Before(padding=1), tmp_path)
    assert not kinds["elementwise_mul"]
    assert kinds["elementwise_add"] == 3 + 1 + 1
    (name,) = [name for name in made.params if name.endswith(".shift")]
    assert made.params[name] == pytest.approx(-0.3 / 0.8)


def test_a_shift_before_a_convolution_without_bias_stays(tmp_path: Path) -> None:
    kinds, _ = folded(lambda: Before(bias=False), tmp_path)
    assert not kinds["elementwise_mul"] and kinds["elementwise_add"] == 2 + 1 + 1


def test_numbers_that_others_read_stay(tmp_path: Path) -> None:
    kinds, _ = folded(lambda: Before(also="shortcut"), tmp_path)
    assert kinds["elementwise_mul"] == 1 and kinds["elementwise_add"] == 3 + 2 + 1
