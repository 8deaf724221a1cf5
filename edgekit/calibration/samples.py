"""A few values of each channel of a tensor: enough to say what rounding and clipping do to it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Sequence

import numpy as np

from edgekit.calibration.moments import passes
from edgekit.calibration.readers import Floats
from edgekit.program.graph import Program

ROWS = 1024  # of a tensor, over all pictures


def collect(
    program: Program,
    tensors: Sequence[str],
    pictures: Sequence[Floats],
    advance: Callable[[], None],
    last: Collection[str] = (),
) -> dict[str, Floats]:
    """[n, channels] of each tensor, at places drawn for each picture; n is about `ROWS`.

    Channels are on axis 1, of those in `last` on the last; a tensor of two axes is [pictures, channels].
    """
    most = max(1, ROWS // len(pictures))
    found: dict[str, list[Floats]] = {name: [] for name in tensors}
    for start, values in passes(program, tensors, pictures):
        for name in tensors:
            for k, picture in enumerate(values[name]):
                flat = picture.reshape(-1, picture.shape[-1]).T if name in last else picture
                flat = flat.reshape(len(flat), -1)
                rng = np.random.Generator(np.random.PCG64([zlib.crc32(name.encode()), start + k]))
                where = rng.choice(flat.shape[1], min(most, flat.shape[1]), replace=False)
                found[name].append(flat[:, where].T)
        for _ in range(len(values[program.feeds[0]])):
            advance()
    return {name: np.concatenate(rows) for name, rows in found.items()}
