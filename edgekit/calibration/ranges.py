"""The largest magnitude of each channel of chosen tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.calibration.histograms import channel_maxima
from edgekit.calibration.moments import passes
from edgekit.calibration.readers import Floats
from edgekit.program.graph import Program


def peaks(
    program: Program, tensors: Sequence[str], pictures: Sequence[Floats], advance: Callable[[], None]
) -> dict[str, Floats]:
    """max |x| per channel (axis 1) over all pictures, [channels] of each tensor."""
    found: dict[str, Floats] = {}
    for _, values in passes(program, tensors, pictures):
        for name in tensors:
            top = channel_maxima(values[name])
            found[name] = np.maximum(found[name], top) if name in found else top
        for _ in range(len(values[program.feeds[0]])):
            advance()
    return found
