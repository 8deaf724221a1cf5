"""Threshold and channel factors of an activation, by what its rounding does to the layers that read it.

One scale for a tensor whose channels differ thirtyfold leaves most channels three or four levels, and no
threshold can mend that. A factor per channel, x[c] / s[c] before rounding and w[c] * s[c] in the layers
behind, evens the channels out (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction"; Xiao et al. 2023, "SmoothQuant", for factors that weights pay for, too). Too much of it
makes the weights uneven. So each candidate is judged by the error of what the layers answer, to first order:
roundings of different channels do not know of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgekit.calibration.readers import Doubles, Floats
from edgekit.quantization.table import LEVELS, grid

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # s = range ** strength
FRACTIONS = tuple(np.geomspace(1.0, 0.2, 12).tolist())  # of the largest value: thresholds that are tried
# Thresholds that are tried where calibration shows little, of the largest value. PP-LCNetV2's last pooling,
# evened out and without headroom: of other pictures 6 % reached beyond, a third of the KL divergence.
_HEADROOM = (1.0, 1.25, 1.5, 2.0)
_FOLDS = 4  # of the pictures, each of which is left out once
_LEAST = 1e-3  # of the largest channel: a dead channel's factor would only magnify noise
# Few rows hold a channel's largest value, but other pictures have such values, too: it counts as a tenth of a
# row. Found on training pictures, by the error of the outputs without, with a tenth, with a whole row:
# PicoDet-S .0073, .0053, .0056; PP-OCRv3 rec .0101, .0088, .0167; PP-LCNetV2 .0092, .0081, .0088.
LARGEST = 0.1
CUTS = (0.0, 0.1, 0.2, 0.3, 0.4)  # of the way from the lowest to the highest value, from either end
PAYS = 0.5  # where factors cost a multiplication they must leave less than this of the error


Ends = tuple[Floats, Floats]


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
    candidates: Sequence[Doubles | None],
    pays: float = PAYS,
    fractions: Sequence[float] = FRACTIONS,
    floor: float | None = None,
    before: Callable[[Doubles | None], Doubles] | None = None,
) -> Grid:
    """The grid with the least predicted error; factors only where they leave less than `pays` of it.

    values: [n, channels], a sample of the tensor; ranges: max |x| per channel, of all values; candidates:
    factors that are tried, None (no factors) among them; fractions: thresholds that are tried, of the
    largest value; floor: levels begin there (`table.grid`); with factors it must be 0; before: for given
    factors, what roundings have already added to the tensor, mean square [channels].
    """
    return _least(_tried(values, ranges, consumers, candidates, fractions, floor, before), pays)


def unseen(
    values: Floats,
    ranges: Floats,
    consumers: Sequence[Consumer],
    strengths: Sequence[float],
    pays: float = PAYS,
) -> Grid:
    """As `best`, for a tensor of which calibration shows little: by the error on rows that had no part in the
    ranges, and with headroom above the largest value where that is less.

    strengths: of the factors, 0 among them. Rows of one picture must be neighbours in `values`.
    """

    def tried(rows: Floats, known: Floats) -> list[Grid]:
        return _tried(rows, known, consumers, spread(known, strengths), _HEADROOM, None, None)

    found = tried(values, ranges)
    folds = np.array_split(np.arange(len(values)), min(_FOLDS, len(values)))
    if len(folds) > 1:
        errors = np.zeros(len(found))
        for fold in folds:
            known = np.abs(np.delete(values, fold, axis=0)).max(0)
            errors += [each.error for each in tried(values[fold], known)]
        # A picture that no row is of may have made the ranges wide: what that costs counts, too.
        errors = np.maximum(errors / len(folds), [each.error for each in found])
        found = [replace(each, error=float(error)) for each, error in zip(found, errors, strict=True)]
    return _least(found, pays)


def _least(found: Sequence[Grid], pays: float) -> Grid:
    plain = min((each for each in found if each.factors is None), key=lambda each: each.error)
    evened = min(found, key=lambda each: each.error)
    return evened if evened.error < pays * plain.error else plain


def _tried(
    values: Floats,
    ranges: Floats,
    consumers: Sequence[Consumer],
    candidates: Sequence[Doubles | None],
    fractions: Sequence[float],
    floor: float | None,
    before: Callable[[Doubles | None], Doubles] | None,
) -> list[Grid]:
    """A grid for each of `candidates` and `fractions`, as `best` describes them."""
    x = values.astype(np.float64)
    if floor is not None:
        x = np.maximum(x, floor)
    peak = _reach(ranges)
    power = (x**2).mean(0)
    totals = [_total(each, x) for each in consumers]
    importance = _importance(consumers, totals)
    found: list[Grid] = []
    for candidate in candidates:
        factors = np.ones(len(peak)) if candidate is None else candidate
        fixed = 0.0 if before is None else float((before(candidate) * importance).sum())
        for each, total in zip(consumers, totals, strict=True):
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
            noise = (off**2).mean(0) + LARGEST * beyond**2 / len(x)
            error = float((noise * factors**2 * importance).sum()) + fixed
            found.append(Grid(top, float(threshold), candidate, error))
    return found


def ends(values: Floats, low: Floats, high: Floats, answer: Callable[[Doubles], Doubles]) -> Ends:
    """Where levels of each channel begin and end, with the least error in what is answered to them.

    values: [n, channels], a sample; low, high: [channels], the lowest and the highest of all values.
    """
    x = values.astype(np.float64)
    first, width = low.astype(np.float64), (high - low).astype(np.float64)
    wanted, outermost = answer(x), (answer(first), answer(first + width))
    best, found = np.full(len(first), np.inf), (first, first + width)
    for below in CUTS:
        for above in CUTS:
            start, end = first + below * width, first + (1 - above) * width
            step = np.maximum(end - start, 1e-30) / (2 * LEVELS + 1)
            rounded = np.clip(np.rint((x - start) / step), 0, 2 * LEVELS + 1) * step + start
            error = ((answer(rounded) - wanted) ** 2).mean(0)
            for at, reached in zip((start, end), outermost, strict=True):
                error += LARGEST * (answer(at) - reached) ** 2 / len(x)
            better = error < best
            best = np.where(better, error, best)
            found = np.where(better, start, found[0]), np.where(better, end, found[1])
    return found[0].astype(np.float32), found[1].astype(np.float32)


def spread(ranges: Floats, strengths: Sequence[float]) -> list[Doubles | None]:
    """Candidates for `best`: factors range ** strength, the largest 1; None for strength 0."""
    peak = _reach(ranges)
    return [(peak / peak.max()) ** strength if strength else None for strength in strengths]


def seen(noise: Doubles, values: Floats, consumers: Sequence[Consumer]) -> float:
    """What `noise`, mean square [channels], of a tensor is in what its readers answer, as in `Grid.error`."""
    totals = [_total(each, values.astype(np.float64)) for each in consumers]
    return float((noise * _importance(consumers, totals)).sum())


def _reach(ranges: Floats) -> Doubles:
    reach = ranges.astype(np.float64)
    return np.maximum(reach, max(_LEAST * float(reach.max(initial=0.0)), 1e-12))


def _total(consumer: Consumer, x: Doubles) -> float:
    """The variance of all that the layer answers."""
    return float(np.maximum((consumer.squares * x.var(0)).sum(1), 1e-12).sum())


def _importance(consumers: Sequence[Consumer], totals: Sequence[float]) -> Doubles:
    parts = [each.squares.sum(0) / total for each, total in zip(consumers, totals, strict=True)]
    return np.asarray(sum(parts), np.float64)
