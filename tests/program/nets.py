"""Small seeded nets, exported by Paddle itself, and what the tests of several rooms do with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from edgekit.backends import child
from edgekit.backends import paddle as backend
from edgekit.calibration import histograms
from edgekit.program import edit, graph
from edgekit.program.graph import Program, outputs
from edgekit.quantization import rule
from edgekit.quantization.calibrated import fill
from edgekit.quantization.table import Table

Arrays = dict[str, npt.NDArray[np.float32]]
SIDE = 16


def conv_bn(i: int, o: int, k: int, stride: int = 1, groups: int = 1, bias: Any = False) -> nn.Sequential:
    conv = nn.Conv2D(i, o, k, stride, padding=k // 2, groups=groups, bias_attr=bias)
    return nn.Sequential(conv, nn.BatchNorm2D(o))


class Mixed(nn.Layer):  # type: ignore[misc]
    """Hard swish, depthwise, SE, residual, ReLU, concat, flatten, linear, softmax.

    Convolutions in order: stem, depthwise, pointwise, squeeze, excite, left, right (grouped).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 16, 3, stride=2), nn.Hardswish())
        self.depthwise = nn.Sequential(conv_bn(16, 16, 3, groups=16), nn.ReLU())
        self.pointwise = conv_bn(16, 16, 1)
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.squeeze, self.excite = nn.Conv2D(16, 8, 1), nn.Conv2D(8, 16, 1)
        self.relu, self.gate = nn.ReLU(), nn.Hardsigmoid()
        self.left = nn.Sequential(conv_bn(16, 16, 1, bias=None), nn.ReLU())
        self.right = nn.Sequential(conv_bn(16, 16, 3, groups=2), nn.Hardswish())
        self.head = nn.Linear(32 * (SIDE // 4) ** 2, 20)
        self.shrink = nn.AvgPool2D(2)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        x = x + self.pointwise(self.depthwise(x))
        x = x * self.gate(self.excite(self.relu(self.squeeze(self.pool(x)))))
        x = self.shrink(paddle.concat([self.left(x), self.right(x)], axis=1))
        return nn.functional.softmax(self.head(paddle.flatten(x, 1)), axis=-1)


class Plain(nn.Layer):  # type: ignore[misc]
    """One convolution with padding and stride, without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, stride=2, padding=1, bias_attr=False)

    def forward(self, x: Any) -> Any:
        return self.conv(x)


class Uneven(nn.Layer):  # type: ignore[misc]
    """A convolution whose output channels differ three-hundredfold and go on into float ops."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, padding=1)
        self.conv.weight.set_value(
            self.conv.weight
            * paddle.to_tensor(np.logspace(-2.5, 0, 8, dtype=np.float32)).reshape([8, 1, 1, 1])
        )
        self.conv.bias.set_value(paddle.zeros([8]))
        self.act = nn.LeakyReLU(0.3)

    def forward(self, x: Any) -> Any:
        return self.act(self.conv(x))


class Squeezed(Uneven):
    """The same with squeeze and excitation behind it: a pooled output that goes into a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2D(8, 8, 1)

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        return y * nn.functional.sigmoid(self.gate(nn.functional.adaptive_avg_pool2d(y, 1)))


class Twice(nn.Layer):  # type: ignore[misc]
    """One convolution used twice, with a batch norm of its own each time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 3, 3, padding=1)
        self.one, self.two = nn.BatchNorm2D(3), nn.BatchNorm2D(3)

    def forward(self, x: Any) -> Any:
        return self.two(self.conv(self.one(self.conv(x))))


class Matmuls(nn.Layer):  # type: ignore[misc]
    """A small matmul (box decoding), one that reads a softmax, a transposed one, and one for int8."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.soft, self.int8 = nn.Linear(32, 8), nn.Linear(32, 16), nn.Linear(32, 16)
        self.turned = self.create_parameter([16, 32])

    def forward(self, x: Any) -> Any:
        soft = self.soft(nn.functional.softmax(x, axis=-1))
        turned = paddle.matmul(x, self.turned, transpose_y=True)
        return paddle.concat([self.small(x), soft, turned, self.int8(x)], axis=-1)


def make(kind: Callable[[], Any], seed: int = 3) -> Any:
    """A net in evaluation mode with random weights and batch norm statistics, and Paddle's names from 0."""
    paddle.disable_static()
    paddle.seed(seed)
    rng = np.random.default_rng(seed)
    with paddle.utils.unique_name.guard():
        net = kind()
    for layer in net.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            count = layer.weight.shape[0]
            for tensor, low, high in (
                (layer.weight, 0.5, 1.5),
                (layer.bias, -0.5, 0.5),
                (layer._mean, -0.5, 0.5),
                (layer._variance, 0.3, 2.0),
            ):
                tensor.set_value(rng.uniform(low, high, count).astype(np.float32))
    net.eval()
    return net


def export(net: Any, folder: Path, shape: tuple[int | None, ...] = (None, 3, SIDE, SIDE)) -> Path:
    """Save with paddle.jit.save as `folder/inference.*`."""
    spec = paddle.static.InputSpec([*shape], "float32", "x")
    with paddle.utils.unique_name.guard():
        paddle.jit.save(net, str(folder / "inference"), input_spec=[spec])
    return folder


def pictures(count: int, seed: int = 5, shape: tuple[int, ...] = (3, SIDE, SIDE)) -> list[Arrays]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, *shape)).astype(np.float32)} for _ in range(count)]


def run(program: Program, folder: Path, feeds: list[Arrays], *, optimise: bool = False) -> list[Arrays]:
    """What Paddle answers for a program that edgekit writes into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    graph.write(program, folder)
    opened = backend.load(
        folder / "inference.pdmodel", folder / "inference.pdiparams", optimise=optimise, threads=1
    )
    return [opened(feed) for feed in feeds]


def calibrated(
    program: Program, folder: Path, feeds: list[Arrays], keep_float: list[str] | None = None
) -> Table:
    """The table of a program with folded batch norms."""
    layers = rule.layers(program, keep_float or [])
    names = {layer.input for layer in layers} | {layer.relu or layer.output for layer in layers}
    inner = sorted(names - set(program.feeds))
    folder.mkdir(parents=True, exist_ok=True)
    graph.write(edit.cut(program, {name: name for name in inner}), folder)
    opened = backend.load(folder / "inference.pdmodel", folder / "inference.pdiparams", threads=1)
    found = histograms.collect(opened, lambda: feeds, dict.fromkeys(sorted(names), 1))
    return fill(program, layers, found, len(feeds), "kl")


def to_onnx(program: Program, folder: Path) -> Path:
    """The float ONNX, by paddle2onnx."""
    folder.mkdir(parents=True, exist_ok=True)
    graph.write(program, folder)
    target = folder / "float.onnx"
    files = [str(folder / "inference.pdmodel"), str(folder / "inference.pdiparams"), str(target)]
    child.run("edgekit.backends.paddle2onnx_child", [json.dumps([*files, 13])], "paddle2onnx")
    return target


def first(program: Program, kind: str) -> Any:
    return next(op for op in program.ops if op.type == kind)


def output_of(program: Program, kind: str, index: int = 0) -> str:
    return outputs([op for op in program.ops if op.type == kind][index])[0]


def cosine(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def sqnr(reference: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    """dB"""
    noise = np.square(reference.astype(np.float64) - got).mean()
    return float(10 * np.log10(np.square(reference.astype(np.float64)).mean() / max(noise, 1e-30)))
