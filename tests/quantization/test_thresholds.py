"""Thresholds and channel factors against errors that are really measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgekit.calibration.readers import Doubles, Floats
from edgekit.quantization import mse, thresholds
from edgekit.quantization.table import LEVELS, dequantized, weight_scales
from edgekit.quantization.thresholds import STRENGTHS, Grid, consumer


def tensor(spread: float, channels: int = 16, n: int = 3000, seed: int = 0) -> Floats:
    """Channels from 1 / spread to 1 in size."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, channels)) * np.geomspace(1 / spread, 1, channels)).astype(np.float32)


def weight(x: Floats, out: int = 24, seed: int = 1) -> Floats:
    """[out, channels, 1, 1] that listens to all channels alike, the small ones too."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(out, x.shape[1])) / x.std(0)).astype(np.float32)[:, :, None, None]


def best(x: Floats, w: npt.NDArray[np.float32], strengths: tuple[float, ...] = STRENGTHS) -> Grid:
    found = consumer(w, "conv2d", 1)
    assert found is not None
    top = np.abs(x).max(0)
    return thresholds.best(x, top, [found], thresholds.spread(top, strengths))


def measured(x: Floats, w: Floats, grid: Grid) -> float:
    """The error of the layer's answers over their variance, with int8 inputs and weights."""
    factors = np.ones(x.shape[1]) if grid.factors is None else grid.factors
    scaled = (w[:, :, 0, 0] * factors).astype(np.float32)
    int8 = dequantized(scaled, weight_scales(scaled, 0), 0)
    step = grid.threshold / LEVELS
    rounded = np.clip(np.rint(x / factors / step), -LEVELS, LEVELS) * step
    answers = x.astype(np.float64) @ w[:, :, 0, 0].T.astype(np.float64)
    return float(
        np.square(rounded @ int8.T.astype(np.float64) - answers).sum() / (answers.var(0).sum() * len(x))
    )


@pytest.mark.parametrize("spread", [1.0, 10.0, 100.0])
def test_the_prediction_is_what_happens(spread: float) -> None:
    x = tensor(spread)
    grid = best(x, weight(x))
    assert grid.error == pytest.approx(measured(x, weight(x), grid), rel=0.15)


@pytest.mark.parametrize("tail", [0.3, 1.0, 1.5])
def test_few_rows_with_tails_get_headroom(tail: float) -> None:
    """Rows that nobody has seen lose less than with the range of those that were, evened out by it."""
    careful, careless = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = (rng.lognormal(0, tail, (2000, 64)) * np.geomspace(1, 30, 64)).astype(np.float32)
        w = weight(x, seed=seed)
        found = consumer(w, "conv2d", 1)
        assert found is not None
        some, top = x[:48], x[:48].max(0)
        strengths = (0.0, 0.25, 0.5)
        grid = thresholds.unseen(some, top, [found], strengths)
        assert grid.threshold >= grid.maximum
        careful.append(measured(x[48:], w, grid))
        evened = thresholds.best(some, top, [found], thresholds.spread(top, strengths), fractions=[1.0])
        careless.append(measured(x[48:], w, evened))
    assert np.mean(careful) < (0.7 if tail > 0.5 else 1.05) * np.mean(careless)


def test_factors_where_they_pay_and_only_there() -> None:
    even, uneven = tensor(1.0), tensor(100.0)
    assert best(even, weight(even)).factors is None
    grid, plain = best(uneven, weight(uneven)), best(uneven, weight(uneven), (0.0,))
    assert grid.factors is not None and plain.factors is None
    assert measured(uneven, weight(uneven), grid) < 0.2 * measured(uneven, weight(uneven), plain)


def test_a_depthwise_layer_pays_nothing_for_factors() -> None:
    """Each of its channels has a weight scale of its own: the evened tensor is as even as can be."""
    x = tensor(50.0)
    found = consumer(np.ones((16, 1, 3, 3), np.float32), "depthwise_conv2d", 16)
    assert found is not None
    scaled = consumer(
        (1 / x.std(0)).reshape(16, 1, 1, 1).repeat(9, 1).reshape(16, 1, 3, 3), "depthwise_conv2d", 16
    )
    assert scaled is not None
    top = np.abs(x).max(0)
    grid = thresholds.best(x, top, [scaled], thresholds.spread(top, STRENGTHS))
    assert grid.factors is not None
    ranges = np.abs(x).max(0) / grid.factors
    assert ranges.max() / ranges.min() < 1.01


def test_a_plain_threshold_is_the_one_of_least_squared_error() -> None:
    """For channels that count alike it is the MSE threshold, found on another way."""
    rng = np.random.default_rng(3)
    x = rng.standard_t(4, size=(20000, 4)).astype(np.float32)
    w = np.ones((2, 4, 1, 1), np.float32)
    grid = best(x, w, (0.0,))
    counts, edges = np.histogram(np.abs(x), 2048, (0, float(np.abs(x).max())))
    wanted = mse.threshold(counts.astype(np.int64), float(edges[1]))
    off: list[Doubles] = []
    for threshold in (grid.threshold, wanted):
        step = threshold / LEVELS
        off.append(np.square(np.clip(np.rint(x / step), -LEVELS, LEVELS) * step - x))
    assert grid.threshold < 0.9 * float(np.abs(x).max())
    assert off[0].mean() < 1.1 * off[1].mean()


def test_a_dead_channel_and_grouped_layers() -> None:
    x = tensor(30.0)
    x[:, 3] = 0
    grid = best(x, np.ones((4, 16, 1, 1), np.float32))
    assert np.isfinite(grid.threshold) and np.isfinite(grid.error)
    assert consumer(np.ones((8, 4, 3, 3), np.float32), "conv2d", 2) is None


def test_the_largest_value_counts_though_the_sample_lacks_it() -> None:
    """One row of ten thousand reaches far; the sample is a tenth of the others."""
    x = tensor(1.0, n=10000)
    x[-1] = 12 * np.sign(x[-1])
    w = weight(x[:-1])
    found = consumer(w, "conv2d", 1)
    assert found is not None
    grid = thresholds.best(x[:1000], np.abs(x).max(0), [found], [None])
    blind = thresholds.best(x[:1000], np.abs(x[:1000]).max(0), [found], [None])
    assert measured(x, w, grid) < 0.5 * measured(x, w, blind)
    near = min(measured(x, w, Grid(12.0, 12.0 * fraction, None, 0.0)) for fraction in thresholds.FRACTIONS)
    assert measured(x, w, grid) < 1.1 * near


def test_finer_levels_clip_less() -> None:
    """Values from a floor on, heavy above: with twice the levels the best threshold is further up, and the
    error is what it is on that grid."""
    rng = np.random.default_rng(5)
    x = np.maximum(rng.standard_t(3, size=(20000, 4)), -0.375).astype(np.float32)
    w = np.ones((2, 4, 1, 1), np.float32)
    found = consumer(w, "conv2d", 1)
    assert found is not None
    some = np.linspace(0.05, 1, 96)
    plain = thresholds.best(x, np.abs(x).max(0), [found], [None], fractions=some)
    finer = thresholds.best(x, np.abs(x).max(0), [found], [None], fractions=some, floor=-0.375)
    assert finer.threshold > plain.threshold
    step = (finer.threshold + 0.375) / 255
    bins = np.clip(np.rint((x + 0.375) / step), 0, 255) * step - 0.375
    plainly = plain.threshold / LEVELS
    coarse = np.clip(np.rint(x / plainly), -LEVELS, LEVELS) * plainly
    assert np.square(bins - x).mean() < 0.6 * np.square(coarse - x).mean()
    assert finer.error < 0.6 * plain.error


def test_levels_of_a_channel_end_where_they_leave_the_least_error() -> None:
    """A largest value a little beyond all others is not worth coarser levels; one far beyond holds the end
    out, and so does a channel that is as likely at its ends as elsewhere."""
    rng = np.random.default_rng(4)
    x = rng.uniform(0, 1, (20000, 3)).astype(np.float32)
    low, high = np.zeros(3, np.float32), np.array([1.2, 1.0, 400.0], np.float32)
    starts, stops = thresholds.ends(x, low, high, lambda y: y)
    assert starts.tolist() == [0, 0, 0]
    np.testing.assert_allclose(stops[:2], [1.08, 1.0], rtol=1e-6)
    assert stops[2] > 200


def test_ends_are_judged_behind_what_reads_them() -> None:
    """Where a ReLU reads the channel its negative values need no levels."""
    rng = np.random.default_rng(6)
    x = rng.uniform(-4, 6, (5000, 1)).astype(np.float32)
    plain, _ = thresholds.ends(x, x.min(0), x.max(0), lambda y: y)
    spared, _ = thresholds.ends(x, x.min(0), x.max(0), lambda y: np.maximum(y, 0.0))
    assert plain[0] == x.min() and spared[0] > -1
