"""MSE thresholds against brute force on the samples themselves."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.calibration.histograms import BINS, count
from edgekit.quantization import mse


def error(samples: np.ndarray, clip: float) -> float:
    step = clip / 127
    return float(((np.clip(np.rint(samples / step), -127, 127) * step - samples) ** 2).mean())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["normal", "laplace", "standard_t"])
def test_no_other_clip_loses_noticeably_less(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    draw = {
        "normal": lambda: rng.normal(0, 3, 200_000),
        "laplace": lambda: rng.laplace(0, 1, 200_000),
        "standard_t": lambda: rng.standard_t(3, 200_000),
    }[kind]
    samples = draw().astype(np.float32)
    top = float(np.abs(samples).max())
    found = mse.threshold(count(samples, top), top / BINS)
    best = min(error(samples, clip) for clip in np.linspace(top / 50, top, 400))
    # Centres of bins stand for samples, so the last percent is not to be had.
    assert error(samples, found) <= 1.03 * best


def test_without_outliers_nothing_is_clipped() -> None:
    samples = np.linspace(-2, 2, 100_001).astype(np.float32)
    assert mse.threshold(count(samples, 2.0), 2.0 / BINS) == pytest.approx(2.0, rel=0.02)


def test_one_huge_value_is_clipped_off() -> None:
    rng = np.random.default_rng(0)
    samples = np.append(rng.uniform(-1, 1, 10**6), 40.0).astype(np.float32)
    clip = mse.threshold(count(samples, 40.0), 40.0 / BINS)
    assert error(samples, clip) < error(samples, 40.0) / 2
