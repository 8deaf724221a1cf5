"""Histograms against np.histogram."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgekit.calibration import histograms
from edgekit.calibration.histograms import BINS
from edgekit.errors import EdgekitError

Values = npt.NDArray[np.float32]


def compare(found: npt.NDArray[np.int64], values: Values, maximum: float) -> None:
    """Equal up to values that lie on an edge between two bins, where float32 and float64 may differ."""
    size = np.abs(values.astype(np.float64)).ravel()
    wanted = np.histogram(size, BINS, (0, maximum))[0]
    assert found.dtype == np.int64 and found.shape == (BINS,)
    assert found.sum() == size.size
    at = size / maximum * BINS
    doubtful = int((np.abs(at - np.rint(at)) < 1e-3).sum())
    assert np.abs(np.cumsum(found - wanted)).max() <= doubtful
    assert np.abs(found - wanted).sum() <= 2 * doubtful


@pytest.mark.parametrize(("seed", "scale"), [(0, 1.0), (1, 1e-6), (2, 1e6), (3, 37.0)])
def test_counts(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(1, 8, 50, 50)) * scale).astype(np.float32)
    maximum = float(np.abs(values).max())
    compare(histograms.count(values, maximum), values, maximum)


@pytest.mark.parametrize("maximum", [1.0, 3.0, 0.1, 1e-30, 1e30, float(np.float32(255 / 0.225))])
def test_the_largest_value_is_in_the_last_bin(maximum: float) -> None:
    values = np.array([0.0, maximum, -maximum, maximum / 3], np.float32)
    found = histograms.count(values, float(np.abs(values).max()))
    assert found[0] == 1 and found[-1] == 2 and found.sum() == 4


def test_more_values_than_float32_counts() -> None:
    """2**24 + 3 of one value: OpenCV counts in float32, which stops there."""
    values = np.full(2**24 + 3, 0.3, np.float32)
    values[0] = 1.0
    found = histograms.count(values, 1.0)
    assert found.sum() == values.size and found[int(0.3 * BINS)] == values.size - 1


def collect(feeds: list[dict[str, Values]], names: list[str], axis: int = 1) -> Any:
    tensors = dict.fromkeys(names, axis)
    return histograms.collect(lambda feed: {"y": feed["x"] * 2 - 1}, lambda: feeds, tensors)


def test_collect() -> None:
    rng = np.random.default_rng(4)
    # The largest value comes late: the counts of the first pictures must already be in its bins.
    feeds = [{"x": (rng.normal(size=(1, 4, 9, 9)) * k).astype(np.float32)} for k in (1, 2, 30)]
    found = collect(feeds, ["x", "y"])
    for name, values in (
        ("x", np.concatenate([f["x"] for f in feeds])),
        ("y", np.concatenate([f["x"] * 2 - 1 for f in feeds])),
    ):
        histogram = found[name]
        assert histogram.maximum == np.abs(values).max()
        assert histogram.bin_width == histogram.maximum / BINS
        np.testing.assert_array_equal(histogram.channels, np.abs(values).max(axis=(0, 2, 3)))
        compare(histogram.counts, values, histogram.maximum)


def test_channels_of_a_matmul_input() -> None:
    found = collect(
        [{"x": np.array([[1, -5, 0]], np.float32)}, {"x": np.array([[-2, 3, 0]], np.float32)}], ["x"]
    )
    assert found["x"].channels.tolist() == [2, 5, 0]


def test_steps_of_lines_of_different_lengths() -> None:
    """[1, steps, channels], as a matmul reads it."""
    feeds = [{"x": np.array([[[1, -5], [3, 0]]], np.float32)}, {"x": np.array([[[-2, 3]]], np.float32)}]
    found = collect(feeds, ["x"], axis=-1)["x"]
    assert found.channels.tolist() == [3, 5] and found.counts.sum() == 6


def test_a_tensor_of_zeros() -> None:
    found = collect([{"x": np.zeros((1, 2, 3, 3), np.float32)}], ["x"])["x"]
    assert found.maximum == 0 and found.counts.sum() == 0 and found.channels.tolist() == [0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad: float) -> None:
    feeds = [{"x": np.ones((1, 2, 3, 3), np.float32)} for _ in range(2)]
    feeds[1]["x"][0, 1, 2, 0] = bad
    with pytest.raises(EdgekitError, match="y holds values that are not finite") as caught:
        collect(feeds, ["y"])
    assert caught.value.code == "EK501"
