"""Threshold and channel factors of an activation, by what its rounding does to the layers that read it.

One scale for a tensor whose channels differ thirtyfold leaves most channels three or four levels, and no
threshold can mend that. A factor per channel, x[c] / s[c] before rounding and w[c] * s[c] in the layers
behind, evens the channels out (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction"; Xiao et al. 2023, "SmoothQuant", for factors that weights pay for, too). Too much of it
makes the weights uneven. So each candidate is judged by the error of what the layers answer, to first order:
roundings of different channels do not know of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.calibration.readers import Doubles, Floats
from edgekit.quantization.table import LEVELS, grid

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # s = range ** strength
FRACTIONS = tuple(np.geomspace(1.0, 0.2, 12).tolist())  # of the largest value: thresholds that are tried
_LEAST = 1e-3  # of the largest channel: a dead channel's factor would only magnify noise
# Few rows hold a channel's largest value, but other pictures have such values, too: it counts as a tenth of a
# row. Found on training pictures, by the error of the outputs without, with a tenth, with a whole row:
# PicoDet-S .0073, .0053, .0056; PP-OCRv3 rec .0101, .0088, .0167; PP-LCNetV2 .0092, .0081, .0088.
_LARGEST = 0.1
PAYS = 0.5  # where factors cost a multiplication they must leave less than this of the error


@dataclass(frozen=True)
class Consumer:
    """How a layer weighs the channels of the tensor it reads.

    rows: |w| [out, channels], the largest of each output's weights for an input channel; squares: the sum of
    their squares [out, channels]; `own`: a depthwise layer, whose channels have weight scales of their own.
    """

    rows: Doubles
    squares: Doubles
    taps: int  # weights per output and input channel
    own: bool


@dataclass(frozen=True)
class Grid:
    """Of x / factors: its largest value and the threshold. `factors` is [channels] or None; `error` is
    predicted, over the variance of what the layers answer."""

    maximum: float
    threshold: float
    factors: Doubles | None
    error: float


def consumer(weight: npt.NDArray[np.generic], kind: str, groups: int) -> Consumer | None:
    """Of a layer, as `table.Layer` names its kind. None for grouped convolutions, where each output weighs
    some channels only."""
    value = weight.astype(np.float64)
    if kind == "matmul":
        return Consumer(np.abs(value).T, (value**2).T, 1, own=False)
    flat = value.reshape(*value.shape[:2], -1)
    if kind == "depthwise_conv2d":
        channels = groups
        rows = np.abs(flat).max(2).reshape(channels, -1).max(1)[None]
        squares = (flat**2).sum((1, 2)).reshape(channels, -1).sum(1)[None]
        return Consumer(rows, squares, flat.shape[2], own=True)
    if groups > 1:
        return None
    return Consumer(np.abs(flat).max(2), (flat**2).sum(2), flat.shape[2], own=False)


def alike(channels: int) -> Consumer:
    """A reader of which nothing is known: every channel counts by its own variance."""
    return Consumer(np.eye(channels), np.eye(channels), 1, own=True)


def best(
    values: Floats,
    ranges: Floats,
    consumers: Sequence[Consumer],
    strengths: Sequence[float],
    pays: float = PAYS,
    fractions: Sequence[float] = FRACTIONS,
    floor: float | None = None,
) -> Grid:
    """The grid with the least predicted error; factors only where they leave less than `pays` of it.

    values: [n, channels], a sample of the tensor; ranges: max |x| per channel, of all values; fractions:
    thresholds that are tried, of the largest value; floor: levels begin there (`table.grid`); with factors it
    must be 0.
    """
    x = values.astype(np.float64)
    if floor is not None:
        x = np.maximum(x, floor)
    peak = np.maximum(ranges.astype(np.float64), max(_LEAST * float(ranges.max(initial=0.0)), 1e-12))
    variance = x.var(0)
    power = (x**2).mean(0)
    found: list[Grid] = []
    for strength in strengths:
        factors = (peak / peak.max()) ** strength
        importance = np.zeros(len(peak))
        fixed = 0.0
        for each in consumers:
            total = float(np.maximum((each.squares * variance).sum(1), 1e-12).sum())
            importance += each.squares.sum(0) / total
            if not each.own:
                steps = (each.rows * factors).max(1) / LEVELS
                fixed += float((steps**2).sum() / 12 * (power / factors**2).sum() * each.taps / total)
        even = x / factors
        top = float((peak / factors).max())
        for threshold in top * np.asarray(fractions):
            step, zero = grid(float(threshold), floor)
            low = -LEVELS if floor is None else -zero
            off = np.clip(np.rint(even / step), low, 2 * LEVELS + 1 - zero) * step - even
            beyond = np.maximum(peak / factors - threshold, 0.0)
            noise = (off**2).mean(0) + _LARGEST * beyond**2 / len(x)
            error = float((noise * factors**2 * importance).sum()) + fixed
            found.append(Grid(top, float(threshold), factors if strength else None, error))
    plain = min((each for each in found if each.factors is None), key=lambda each: each.error)
    evened = min(found, key=lambda each: each.error)
    return evened if evened.error < pays * plain.error else plain
