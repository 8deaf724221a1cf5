"""Layers as linear maps: which rows of numbers a layer multiplies by its weights, and what comes out.

A convolution is a matrix product over patches: rows [n, k] of its input times weights [k, out]. Pruning
refits these weights, and rounding them needs the same rows.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgekit.program.graph import CONVOLUTIONS, Op, Program, attr, inputs, outputs
from edgekit.program.parameters import Array

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reader:
    """A layer with weights that reads all channels of one tensor, or (depthwise) each its own."""

    kind: Literal["conv", "depthwise", "transposed", "matmul"]
    input: str
    weight: str
    output: str  # before the bias
    bias: str | None  # parameter [out] that is added right after, read by nobody else
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    dilation: tuple[int, int] = (1, 1)
    flipped: bool = False  # a matmul whose weight is [out, k]

    @property
    def taps(self) -> int:
        """Columns of a row per input channel."""
        return self.kernel[0] * self.kernel[1] if self.is_conv else 1

    @property
    def is_conv(self) -> bool:
        return self.kind in ("conv", "depthwise")

    def channels(self, weight: Array) -> int:
        """How many output channels a weight has."""
        return int(weight.shape[0 if self.is_conv or self.flipped else 1])

    def matrix(self, weight: Array) -> Doubles:
        """The weight as [rows of outputs, k]; `restore` turns it back."""
        value = weight.astype(np.float64)
        if self.is_conv:
            return value.reshape(len(value), -1)
        if self.kind == "transposed":
            return value.reshape(len(value), -1).T
        return value if self.flipped else value.T

    def restore(self, matrix: Doubles, shape: tuple[int, ...]) -> Floats:
        """[rows of outputs, k] as a weight of `shape`."""
        value = matrix if self.is_conv or self.flipped else matrix.T
        return np.ascontiguousarray(value.reshape(shape), np.float32)


def readers(program: Program, *, depthwise: bool = False) -> list[Reader]:
    """Convolutions over all channels, transposed ones without overlap, and products with a weight matrix;
    where these are wanted, depthwise convolutions with one output per channel, too.

    In the order of the program. Layers that share a weight or compute it are left out.
    """
    used: dict[str, int] = {}
    for op in program.block.ops:
        for name in inputs(op):
            used[name] = used.get(name, 0) + 1
    consumers, fetched = program.consumers(), set(program.fetches)
    found = []
    for op in program.block.ops:
        made = _conv(program, op) or _matmul(op)
        if made is not None and made.kind == "depthwise" and not depthwise:
            continue
        if made is None or made.weight not in program.params or used[made.weight] > 1:
            continue
        if made.kind == "matmul" and program.params[made.weight].ndim != 2:
            continue
        after = consumers.get(made.output, [])
        bias = None
        if len(after) == 1 and after[0].type == "elementwise_add" and made.output not in fetched:
            name = inputs(after[0], "Y")[0]
            if name in program.params and used[name] == 1 and _is_bias(program, made, after[0]):
                bias = name
        found.append(replace(made, bias=bias))
    return found


def _is_bias(program: Program, reader: Reader, add: Op) -> bool:
    """Whether each row of outputs gets a number of its own: a transposed convolution's taps share one."""
    weight, value = program.params[reader.weight], program.params[inputs(add, "Y")[0]]
    width = reader.channels(weight)
    if reader.kind == "transposed" or not value.size == width == max(value.shape, default=0):
        return False
    rank, axis = len(program.shape(reader.output)), attr(add, "axis", -1)
    start = axis if axis >= 0 and value.ndim < rank else rank - value.ndim
    along = start + int(np.argmax(value.shape))
    return width == 1 or along == (1 if reader.is_conv else rank - 1)


def _conv(program: Program, op: Op) -> Reader | None:
    if op.type not in (*CONVOLUTIONS, "conv2d_transpose") or inputs(op, "Bias"):
        return None
    weight = inputs(op, "Filter")[0]
    if weight not in program.params:
        return None
    groups = int(attr(op, "groups", 1))
    if groups > 1 and (op.type not in CONVOLUTIONS or program.params[weight].shape[:2] != (groups, 1)):
        return None
    if attr(op, "padding_algorithm", "EXPLICIT") not in ("EXPLICIT", "VALID"):
        return None
    if attr(op, "data_format", "NCHW") not in ("NCHW", "AnyLayout"):
        return None
    if any(attr(op, "output_padding", [])) or attr(op, "output_size", []) or inputs(op, "OutputSizeTensor"):
        return None  # it answers more than its taps
    height, width = program.params[weight].shape[2:]
    pads = attr(op, "paddings", [0, 0])
    if attr(op, "padding_algorithm", "EXPLICIT") == "VALID":
        pads = [0, 0]
    pads = [pads[0], pads[0], pads[1], pads[1]] if len(pads) == 2 else pads
    strides, dilations = attr(op, "strides", [1, 1]), attr(op, "dilations", [1, 1])
    if op.type == "conv2d_transpose" and (strides != [height, width] or any(pads) or dilations != [1, 1]):
        return None  # its taps overlap
    return Reader(
        kind="transposed" if op.type == "conv2d_transpose" else ("depthwise" if groups > 1 else "conv"),
        input=inputs(op, "Input")[0],
        weight=weight,
        output=outputs(op, "Output")[0],
        bias=None,
        kernel=(height, width),
        stride=(strides[0], strides[1]),
        padding=(pads[0], pads[1], pads[2], pads[3]),
        dilation=(dilations[0], dilations[1]),
    )


def _matmul(op: Op) -> Reader | None:
    if op.type not in ("matmul_v2", "mul") or attr(op, "trans_x", False):
        return None
    x, y, out = inputs(op, "X")[0], inputs(op, "Y")[0], outputs(op, "Out")[0]
    return Reader("matmul", x, y, out, None, flipped=bool(attr(op, "trans_y", False)))


def with_bias(program: Program, reader: Reader) -> Doubles:
    """A layer's weights [out, k + 1], the bias in the last column (0 where it has none)."""
    matrix = reader.matrix(program.params[reader.weight])
    bias = np.zeros(len(matrix))
    if reader.bias is not None:
        bias = program.params[reader.bias].reshape(-1).astype(np.float64)
    return np.concatenate([matrix, bias[:, None]], axis=1)


def set_weights(program: Program, reader: Reader, weights: Doubles) -> None:
    """The reverse of `with_bias`, in place; the last column is dropped where there is no bias."""
    shape = program.params[reader.weight].shape
    program.params[reader.weight] = reader.restore(weights[:, :-1], shape)
    if reader.bias is not None:
        old = program.params[reader.bias]
        program.params[reader.bias] = weights[:, -1].reshape(old.shape).astype(old.dtype)


def rows(reader: Reader, x: Floats, k: int, most: int, first: int) -> Floats:
    """What the layer multiplies by its weights, [n, k] (depthwise: [n, channels * k]), at up to `most` places
    of each picture.

    x: the layer's input [pictures, ...]; k: columns of a row; first: the number of the first picture.
    The places depend on the layer's name and the picture's number alone, so that two programs of the same
    layer, one of them pruned, are looked at in the same places.
    """
    if reader.kind == "matmul":
        flat = x.reshape(len(x), -1, k)
        places = _places(reader, flat.shape[1], most, len(x), first)
        return np.concatenate([picture[where] for picture, where in zip(flat, places, strict=True)])
    if reader.kind == "transposed":
        places = _places(reader, x.shape[2] * x.shape[3], most, len(x), first)
        return np.concatenate([p.reshape(len(p), -1)[:, where].T for p, where in zip(x, places, strict=True)])
    (kh, kw), (sy, sx), (dy, dx) = reader.kernel, reader.stride, reader.dilation
    top, bottom, left, right = reader.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(reader.padding) else x
    height = (padded.shape[2] - dy * (kh - 1) - 1) // sy + 1
    width = (padded.shape[3] - dx * (kw - 1) - 1) // sx + 1
    found = []
    places = _places(reader, height * width, most, len(x), first)
    for picture, where in zip(padded, places, strict=True):
        y, left_edge = where // width * sy, where % width * sx
        ys = y[:, None] + np.repeat(np.arange(kh) * dy, kw)
        xs = left_edge[:, None] + np.tile(np.arange(kw) * dx, kh)
        found.append(picture[:, ys, xs].transpose(1, 0, 2).reshape(len(where), -1))
    return np.concatenate(found)


def answers(reader: Reader, y: Floats, most: int, first: int) -> Floats:
    """The layer's outputs before the bias, [n, rows of outputs], in the places that `rows` looks at."""
    if reader.kind == "matmul":
        flat = y.reshape(len(y), -1, y.shape[-1])
        places = _places(reader, flat.shape[1], most, len(y), first)
        return np.concatenate([picture[where] for picture, where in zip(flat, places, strict=True)])
    kh, kw = reader.stride if reader.kind == "transposed" else (1, 1)
    pictures, channels, height, width = y.shape
    taps = y.reshape(pictures, channels, height // kh, kh, width // kw, kw).transpose(0, 1, 3, 5, 2, 4)
    flat = taps.reshape(pictures, channels * kh * kw, -1)
    places = _places(reader, flat.shape[2], most, pictures, first)
    return np.concatenate([picture[:, where].T for picture, where in zip(flat, places, strict=True)])


def _places(reader: Reader, count: int, most: int, pictures: int, first: int) -> list[npt.NDArray[np.int64]]:
    name = zlib.crc32(reader.weight.encode())
    if count <= most:
        return [np.arange(count)] * pictures
    return [
        np.random.Generator(np.random.PCG64([name, first + k])).choice(count, most, replace=False)
        for k in range(pictures)
    ]
