"""What rounding to int8 does to a tensor, in figures: squared errors, what is clipped, what becomes zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgekit.calibration import histograms
from edgekit.calibration.readers import Floats
from edgekit.quantization.table import LEVELS

BINS = 64  # of a histogram that is shown


@dataclass
class Noise:
    """Sums of squares of a signal and of what was added to it."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, wanted: Floats, got: Floats) -> None:
        self.signal += float(np.square(wanted).sum(dtype=np.float64))
        self.noise += float(np.square(got - wanted).sum(dtype=np.float64))

    @property
    def sqnr_db(self) -> float | None:
        """10 log10(signal / noise); None where nothing differs, or there is no signal."""
        if self.noise == 0 or self.signal == 0:
            return None
        return 10 * math.log10(self.signal / self.noise)


class Reading:
    """What an int8 layer reads, rounded with one scale; gathered batch by batch.

    Channels are on axis 1 of what a convolution reads; a matmul reads rows of `width` of them.
    """

    def __init__(self, threshold: float, maximum: float, width: int | None) -> None:
        self.threshold, self.maximum, self.width = threshold, maximum, width
        self.values = 0
        self.clipped = 0  # values beyond the threshold
        self.zeroed = 0  # values that become zero
        self.counts = np.zeros(BINS, np.int64)  # of |x| in equal bins over [0, maximum]
        # Per channel: max |x|, and sums of squares, of x, of its error, and of that beyond the threshold.
        self.ranges = np.zeros(1, np.float32)
        self.signal, self.noise, self.clipping = np.zeros(1), np.zeros(1), np.zeros(1)

    def add(self, x: Floats) -> Floats:
        """x as the layer reads it."""
        made = rounded(x, self.threshold)
        by_channel = x if self.width is None else x.reshape(-1, self.width)
        size = np.abs(by_channel)
        off = np.square(made.reshape(by_channel.shape) - by_channel)
        beyond = size > self.threshold
        others = (0, *range(2, size.ndim))
        self.values += x.size
        self.clipped += int(np.count_nonzero(beyond))
        self.zeroed += int(np.count_nonzero(x)) - int(np.count_nonzero(made))
        self.ranges = np.maximum(self.ranges, size.max(axis=others))
        self.signal = self.signal + np.square(size).sum(axis=others, dtype=np.float64)
        self.noise = self.noise + off.sum(axis=others, dtype=np.float64)
        self.clipping = self.clipping + np.sum(off, axis=others, dtype=np.float64, where=beyond)
        if self.maximum > 0:
            # Pictures that calibration has not seen may reach further: into the last bin.
            fine = histograms.count(np.minimum(size, np.float32(self.maximum)), self.maximum)
            self.counts += fine.reshape(BINS, -1).sum(1)
        return made

    @property
    def sqnr_db(self) -> float | None:
        return Noise(float(self.signal.sum()), float(self.noise.sum())).sqnr_db


def rounded(x: Floats, threshold: float) -> Floats:
    """x as int8 with one scale has it, float32."""
    step = np.float32(threshold / LEVELS)
    return np.asarray(np.clip(np.rint(x / step), -LEVELS, LEVELS) * step, np.float32)
