"""How long a run takes, and how fast it learns when."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def rate(done: float, peak: float, warmup: float) -> float:
    """The learning rate at the share `done` of a run: linear to `peak` in `warmup`, then a cosine to 0."""
    if done < warmup:
        return peak * done / warmup
    rest = (done - warmup) / max(1 - warmup, 1e-9)
    return peak * 0.5 * (1 + math.cos(math.pi * min(rest, 1)))


def rows(step: int, count: int, batch: int, seed: int) -> NDArray[np.int64]:
    """Which of `count` pictures step number `step` takes (from 0).

    Every epoch is a new permutation and a function of seed and epoch alone, so a resumed run needs no
    state of a generator; pictures that fill no batch wait for another epoch.
    """
    batch = min(batch, count)
    steps = count // batch
    epoch, at = divmod(step, steps)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return order[at * batch : (at + 1) * batch]


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of pictures to train on and to hold out (at least one of each from two pictures on)."""
    order = np.random.default_rng([seed, count]).permutation(count).tolist()
    held_out = min(max(1, round(count * share)), count - 1)
    return sorted(order[held_out:]), sorted(order[:held_out])
