"""The quantization table: the one place that says which layer is int8, and with which scales.

Both writers (the quantized Paddle program for Paddle Lite, QDQ for ONNX) read it, so that `.nb` and
`.onnx` answer alike. It lies in a model folder as `quantization.json`, to be read, compared and edited.

Quantization is symmetric: real = scale * q. Activations: one scale per tensor, threshold / 127; in ONNX,
where uint8 need not be symmetric, levels go from the lowest value that is possible to the threshold.
Weights: one scale per output channel, max |w| / 127 (PaddleSlim's channel_wise_abs_max).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from edgekit.errors import EdgekitError
from edgekit.folder import Strict

FILE = "quantization.json"
INT8 = "int8"  # the folder beside it with the quantized Paddle program
LEVELS = 127
ZERO_POINT = 128  # in uint8, of a grid that is symmetric to zero
_LARGEST_BIAS = 2.0**24
_LOW = 0.9  # of the threshold: a floor below hardly spares any level

Target = Literal["onnx", "lite"]
FILES: dict[Target, str] = {"onnx": "ONNX", "lite": "Paddle Lite"}
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Layer(Strict):
    """A convolution or matmul with constant weights; `name` is its weight without Paddle's `.w_0`."""

    name: str
    type: str
    input: str  # activation tensor, Paddle's name
    output: str  # what follows the bias
    weight: str
    bias: str | None
    relu: str | None  # the output of a ReLU that alone reads `output`
    axis: int  # output channel axis of the weight
    macs: int
    params: int
    int8: bool
    reason: str
    # The one file in which it is int8, None for both: levels in Lite are symmetric to zero, and only ONNX has
    # int8 outputs, so what int8 costs a layer differs.
    only: Target | None = None
    fan_in: int = 1  # of a convolution: multiply-accumulates for one value
    stride: int = 1
    pooled: bool = False  # a convolution of 1 x 1 on one pixel, as behind a global pooling

    @property
    def int8_output(self) -> bool:
        """Whether ONNX Runtime has an integer kernel for it only with its answers in int8, too. Not for
        products of matrices, as which a convolution on one pixel is written."""
        return self.type != "matmul" and not self.pooled


class Activation(Strict):
    """`threshold`: the largest representable magnitude; `maximum`: the largest seen in calibration.

    `factors`: the tensor is another one divided by these, channel by channel (`equalise`). `floor`: no value
    is less, or none less makes a difference (`floors`); None where that is not known. `high`: the threshold
    of a grid that begins at the floor, where it is another one: with finer levels less has to be clipped.
    """

    threshold: Positive
    maximum: float
    factors: list[Positive] | None = None
    floor: Annotated[float, Field(le=0, allow_inf_nan=False)] | None = None
    high: Positive | None = None

    @property
    def scale(self) -> float:
        return self.threshold / LEVELS

    @property
    def grid(self) -> tuple[float, int]:
        """Scale and zero point in uint8, for ONNX: from `floor` to `high`, or symmetric to zero."""
        return grid(self.high or self.threshold, self.floor)


class Channels(Strict):
    """How far each channel of a convolution's output reaches, for ONNX. Without `lows` all channels have one
    zero point: levels go down to zero behind a ReLU, else as far as up."""

    highs: list[float]
    lows: list[float] | None = None

    @model_validator(mode="after")
    def _wide(self) -> Channels:
        lows = self.lows if self.lows is not None else [0.0] * len(self.highs)
        if len(lows) != len(self.highs) or not all(
            low < high for low, high in zip(lows, self.highs, strict=True)
        ):
            raise ValueError("each channel needs a high above its low")
        return self


class Product(Strict):
    """Levels of what a convolution answers, from which a hard swish is computed (`products`): channel c is
    step * s[c] * (level - zero_point), with the factors s of `tensor`, which int8 layers read; 1 without."""

    tensor: str
    step: Positive
    zero_point: Annotated[int, Field(ge=0, le=2 * LEVELS + 1)]


class Table(Strict):
    schema_version: int = 1
    method: str
    pictures: int
    layers: list[Layer]
    activations: dict[str, Activation]
    outputs: dict[str, Channels]  # of convolutions, where channels have levels of their own; see write_onnx
    products: dict[str, Product] = {}  # of convolutions, too; for ONNX
    weights: dict[str, list[Positive]]  # weight name -> scale per output channel

    @model_validator(mode="after")
    def _complete(self) -> Table:
        for layer in self.quantized:
            if layer.weight not in self.weights or layer.input not in self.activations:
                raise ValueError(f"the int8 layer {layer.name} lacks the scales of its weight or input")
        for name, product in self.products.items():
            if product.tensor not in self.activations:
                raise ValueError(f"the hard swish of {name} lacks the scale of what it makes")
        return self

    @property
    def quantized(self) -> list[Layer]:
        return [layer for layer in self.layers if layer.int8]

    def of(self, target: Target) -> Table:
        """The table as one of the two files has it."""
        return self.model_copy(update={"layers": layers_of(self.layers, target)})

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(self.model_dump(), indent=1) + "\n")


def layers_of(layers: Sequence[Layer], target: Target) -> list[Layer]:
    """`layers` as one of the two files has them."""
    return [
        layer.model_copy(update={"int8": layer.int8 and layer.only in (None, target), "only": None})
        for layer in layers
    ]


def load(folder: Path) -> Table:
    """Raises EK401 when the folder has no table, EK409 when it cannot be used."""
    path = folder / FILE
    if not path.is_file():
        raise EdgekitError(
            "EK401", f"{folder} has no {FILE}: it has not been quantized. Run edgekit quantize first."
        )
    try:
        return Table.model_validate_json(path.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        count = error.error_count()
        others = f" ({count - 1} more like this)" if count > 1 else ""
        raise EdgekitError("EK409", f"{path} cannot be used: {where}: {first['msg']}{others}.") from error
    except ValueError as error:
        raise EdgekitError("EK409", f"{path} cannot be used: {error}") from error


def grid(threshold: float, floor: float | None) -> tuple[float, int]:
    """`Activation.grid`."""
    if floor is None or floor <= -_LOW * threshold:
        return threshold / LEVELS, ZERO_POINT
    step = (threshold - floor) / (2 * LEVELS + 1)
    return step, round(-floor / step)


def output_grid(table: Table, layer: Layer) -> tuple[npt.NDArray[np.float32], int]:
    """Scales [1] or [channels] and zero point in uint8, for ONNX, of what a layer (and its ReLU) answers,
    less its `middles`."""
    product = table.products.get(layer.output)
    if product is not None:
        factors = table.activations[product.tensor].factors or [1.0]
        return np.float32(product.step) * np.asarray(factors, np.float32), product.zero_point
    reach = table.outputs.get(layer.output)
    if reach is None:
        step, zero = table.activations[layer.relu or layer.output].grid
        return np.array([step], np.float32), zero
    highs = np.asarray(reach.highs, np.float32)
    if reach.lows is not None:
        return (highs - np.asarray(reach.lows, np.float32)) / (2 * LEVELS + 1), ZERO_POINT
    step, zero = grid(1.0, 0.0 if layer.relu else None)
    return np.float32(step) * highs, zero


def middles(table: Table, layer: Layer) -> npt.NDArray[np.float32] | None:
    """What is taken from each channel [channels] of a layer's answer before it is rounded for ONNX, so that
    its levels lie where its values are; None where nothing is."""
    reach = table.outputs.get(layer.output)
    if reach is None or reach.lows is None:
        return None
    return np.asarray(reach.lows, np.float32) + ZERO_POINT * output_grid(table, layer)[0]


def weight_scales(
    weight: npt.NDArray[np.generic],
    axis: int,
    bias: npt.NDArray[np.generic] | None = None,
    input_scale: float = 1.0,
) -> list[float]:
    """max |w| / 127 per output channel, float32.

    A channel whose weights are all zero gets the layer's median scale: any scale represents zeros, but
    zero would divide by zero. The bias is int32 in units of the input's scale times the weight's: a channel
    that is all but constant gets a scale for which its bias is no more than 2 ** 24, and a level of its
    weights still a millionth of it.
    """
    others = tuple(a for a in range(weight.ndim) if a != axis)
    peak = np.abs(weight.astype(np.float64)).max(axis=others)
    alive = peak > 1e-30
    peak[~alive] = np.median(peak[alive]) if alive.any() else 1.0
    scales = peak / LEVELS
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias.astype(np.float64)).ravel() / (input_scale * _LARGEST_BIAS))
    return [float(np.float32(scale)) for scale in scales]


def quantize_weight(weight: npt.NDArray[np.generic], scales: list[float], axis: int) -> npt.NDArray[np.int8]:
    """int8 in [-127, 127], round half to even. Raises EK409 when the scales are not one per channel."""
    if len(scales) != weight.shape[axis]:
        raise EdgekitError(
            "EK409",
            f"{FILE} has {len(scales)} scales for a weight with {weight.shape[axis]} channels: it belongs to "
            "another program, or was edited wrongly.",
        )
    shape = [1] * weight.ndim
    shape[axis] = -1
    scaled = weight.astype(np.float64) / np.asarray(scales, np.float64).reshape(shape)
    return np.clip(np.rint(scaled), -LEVELS, LEVELS).astype(np.int8)


def dequantized(weight: npt.NDArray[np.generic], scales: list[float], axis: int) -> npt.NDArray[np.float32]:
    """The weight as int8 has it: `quantize_weight` times the scales."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    steps = np.asarray(scales, np.float32).reshape(shape)
    return np.asarray(quantize_weight(weight, scales, axis) * steps, np.float32)
