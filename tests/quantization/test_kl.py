"""KL thresholds against Paddle's own search, which walks over the histogram in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgekit.quantization import kl

BINS = 2048
Counts = npt.NDArray[np.int64]


def _of(values: npt.NDArray[Any]) -> Counts:
    return np.histogram(np.abs(values), BINS, (0, np.abs(values).max()))[0].astype(np.int64)


def _sparse(rng: np.random.Generator) -> Counts:
    counts = _of(rng.normal(size=100_000))
    return counts * (rng.random(BINS) < 0.2)


def _spikes(rng: np.random.Generator) -> Counts:
    counts = np.zeros(BINS, np.int64)
    counts[rng.integers(0, BINS, 12)] = rng.integers(1, 10_000, 12)
    return counts


def _one(index: int) -> Counts:
    counts = np.zeros(BINS, np.int64)
    counts[index] = 1000
    return counts


# What ReLU, hard swish and the like leave: much at zero, a tail, sometimes lone outliers.
CASES: dict[str, Callable[[np.random.Generator], Counts]] = {
    "normal": lambda rng: _of(rng.normal(size=200_000)),
    "few values": lambda rng: _of(rng.normal(size=700)),
    "half at zero": lambda rng: _of(np.maximum(rng.normal(size=200_000), 0)),
    "laplace": lambda rng: _of(rng.laplace(size=100_000)),
    "heavy tail": lambda rng: _of(rng.standard_t(3, size=100_000)),
    "outliers": lambda rng: _of(np.append(rng.normal(size=50_000), [30, 31, 50])),
    "uniform": lambda rng: _of(rng.uniform(size=100_000)),
    "sparse": _sparse,
    "spikes": _spikes,
}


def _paddle(counts: Counts, width: float) -> float:
    from paddle.static.quantization.cal_kl_threshold import cal_kl_threshold

    return float(cal_kl_threshold(counts, width, 8))


# Paddle takes seconds where all bins are filled.
@pytest.mark.parametrize(
    ("name", "seed"),
    [
        (name, seed)
        for name in CASES
        for seed in range(1 if name in ("uniform", "normal", "half at zero") else 3)
    ],
)
def test_equals_paddle(name: str, seed: int) -> None:
    counts, width = CASES[name](np.random.default_rng(seed)), 0.013
    assert abs(kl.threshold(counts, width) - _paddle(counts, width)) <= 1.001 * width


@pytest.mark.parametrize("index", [0, 1, 1022, 1023, 1024, 2046, 2047])
def test_one_bin_equals_paddle(index: int) -> None:
    counts = _one(index)
    assert kl.threshold(counts, 0.5) == _paddle(counts, 0.5)


def test_the_unit_is_the_bin_width() -> None:
    counts = CASES["laplace"](np.random.default_rng(7))
    assert kl.threshold(counts, 3.0) == pytest.approx(3 * kl.threshold(counts, 1.0))
    # A threshold lies in the upper half of the histogram.
    assert BINS / 2 - 1 <= kl.threshold(counts, 1.0) <= BINS


def test_does_not_change_the_histogram() -> None:
    counts = CASES["normal"](np.random.default_rng(7))
    before = counts.copy()
    kl.threshold(counts, 1.0)
    np.testing.assert_array_equal(counts, before)


@pytest.mark.parametrize("counts", [np.zeros(BINS, np.int64), np.ones(100, np.int64)], ids=["empty", "short"])
def test_refuses(counts: Counts) -> None:
    with pytest.raises(ValueError, match="at least 254 bins"):
        kl.threshold(counts, 1.0)
