"""GPTQ against rounding to nearest, and against every choice there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.calibration.readers import Doubles
from edgekit.quantization import gptq


def inputs(k: int, n: int = 4000, seed: int = 0) -> Doubles:
    """Correlated, of unequal size."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, k)) @ rng.normal(size=(k, k))
    return np.asarray(mixed * np.geomspace(0.1, 3, k))


def nearest(weights: Doubles, scales: Doubles) -> Doubles:
    return np.asarray(np.clip(np.rint(weights / scales[:, None]), -127, 127) * scales[:, None])


def error(x: Doubles, weights: Doubles, made: Doubles) -> float:
    return float(np.square(x @ (weights - made).T).mean())


@pytest.mark.parametrize("k", [3, 64, 150])
def test_answers_change_less_than_by_nearest(k: int) -> None:
    x, weights = inputs(k), np.random.default_rng(1).normal(size=(20, k))
    scales = np.abs(weights).max(1) / 20  # coarse: rounding matters
    made = gptq.rounded(weights, x.T @ x / len(x), scales, len(x))
    whole = made / scales[:, None]
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    assert error(x, weights, made) < 0.8 * error(x, weights, nearest(weights, scales))


def test_near_the_best_of_all_roundings() -> None:
    x, weights = inputs(4, seed=3), np.random.default_rng(4).normal(size=(8, 4))
    scales, h = np.abs(weights).max(1) / 9, x.T @ x / len(x)
    made = gptq.rounded(weights, h, scales, len(x))
    choices = np.asarray(list(itertools.product(range(-9, 10), repeat=4)))
    best = []
    for row, scale in zip(weights, scales, strict=True):
        off = choices * scale - row
        best.append(float(np.einsum("ni,ij,nj->n", off, h, off).min()) / len(weights))
    assert sum(best) <= error(x, weights, made) * (1 + 1e-9)
    assert error(x, weights, made) < 5 * sum(best)
    assert error(x, weights, made) < 0.5 * error(x, weights, nearest(weights, scales))


def test_layers_side_by_side_are_as_one_by_one() -> None:
    """The channels of a depthwise layer."""
    xs = [inputs(9, seed=seed) for seed in range(4)]
    second = np.stack([x.T @ x / len(x) for x in xs])
    weights = np.random.default_rng(9).normal(size=(4, 2, 9))
    scales = np.abs(weights).max(2) / 20
    made = gptq.rounded(weights, second, scales, 4000)
    for k in range(4):
        np.testing.assert_allclose(made[k], gptq.rounded(weights[k], second[k], scales[k], 4000), atol=1e-12)


def test_without_correlation_it_is_nearest() -> None:
    weights, scales = np.random.default_rng(5).normal(size=(4, 70)), np.full(4, 0.05)
    made = gptq.rounded(weights, np.eye(70), scales, 1000)
    np.testing.assert_allclose(made, nearest(weights, scales), atol=1e-12)


def test_what_is_whole_stays_and_clips() -> None:
    x = inputs(5)
    weights = np.random.default_rng(6).integers(-127, 128, (3, 5)) * 0.25
    np.testing.assert_allclose(
        gptq.rounded(weights, x.T @ x / len(x), np.full(3, 0.25), len(x)), weights, atol=1e-9
    )
    small = gptq.rounded(weights, x.T @ x / len(x), np.full(3, 0.1), len(x))
    assert np.abs(small).max() <= 12.7 + 1e-9


def test_columns_that_are_never_fed() -> None:
    x = inputs(4)
    x[:, 1] = 0
    weights, scales = np.random.default_rng(7).normal(size=(6, 4)), np.full(6, 0.1)
    made = gptq.rounded(weights, x.T @ x / len(x), scales, len(x))
    assert np.isfinite(made).all()
    np.testing.assert_allclose(made[:, 1], nearest(weights, scales)[:, 1], atol=1e-9)


def test_few_rows_do_not_spoil_what_was_not_seen() -> None:
    """Twenty rows of a hundred columns: rounding for these alone would cost all others dearly."""
    x = inputs(100, n=4020, seed=8)
    weights = np.random.default_rng(9).normal(size=(20, 100))
    scales, few = np.abs(weights).max(1) / 20, x[:20]
    made = gptq.rounded(weights, few.T @ few / len(few), scales, len(few))
    assert error(x[20:], weights, made) < 1.1 * error(x[20:], weights, nearest(weights, scales))
    trusted = gptq.rounded(weights, few.T @ few / len(few), scales, 10**9)
    assert error(x[20:], weights, trusted) > 1.1 * error(x[20:], weights, nearest(weights, scales))
