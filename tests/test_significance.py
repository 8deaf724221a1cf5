"""Intervals and tests against textbook figures, scipy-free formulas by hand, and pycocotools itself."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit import significance
from edgekit.significance import Ratio, difference, interval, mcnemar, wilson
from edgekit.tasks.detection import Detections, agreement_outcomes, coco_ap


def share(right: int, n: int) -> Ratio:
    return Ratio(np.arange(n) < right, np.ones(n))  # type: ignore[arg-type]


def test_wilson_of_the_textbook() -> None:
    # Newcombe 1998, table I, method 3 (Wilson's score, no continuity correction).
    for right, n, low, high in (
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)
    ):  # fmt: skip
        assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)


def test_newcombe_of_the_textbook() -> None:
    # Newcombe 1998 (differences), table II, method 10, first contrast: 56/70 and 48/80.
    first, second = interval(share(56, 70)), interval(share(48, 80))
    assert first is not None and second is not None
    found = significance.apart(48 / 80, second, 56 / 70, first)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert found.is_better("top1") and not found.is_worse("top1")
    assert found.is_worse("cer")


def test_mcnemar_by_hand() -> None:
    # Lost on five pictures, won on one: p = 2 (1 + 6) / 64.
    before = np.array([1, 1, 1, 1, 1, 0, 1, 0], bool)
    after = np.array([0, 0, 0, 0, 0, 1, 1, 0], bool)
    assert mcnemar(before, after) == pytest.approx(14 / 64)
    assert mcnemar(before, before) == 1
    assert mcnemar(np.ones(2000, bool), np.zeros(2000, bool)) == pytest.approx(0, abs=1e-300)


def test_a_few_lost_pictures_are_noise_and_many_are_not() -> None:
    before = share(180, 200)
    for lost, worse in ((0, False), (3, False), (6, False), (8, True), (40, True)):
        found = difference(before, share(180 - lost, 200))
        assert found is not None and found.value == pytest.approx(-lost / 200)
        assert found.is_worse("top1") == worse, lost
        assert not found.is_better("top1")


def test_paired_sees_what_two_intervals_do_not() -> None:
    before, after = share(186, 200), share(176, 200)
    paired, first, second = difference(before, after), interval(before), interval(after)
    assert paired is not None and first is not None and second is not None
    assert paired.method == "McNemar" and paired.is_worse("top1")
    assert not significance.apart(0.93, first, 0.88, second).is_worse("top1")


def test_no_model_that_differs_by_chance_alone_is_red() -> None:
    """Of 200 pairs of equally good models about one in a hundred may be taken for worse."""
    random = np.random.default_rng(3)
    hard = random.random(200)
    red = 0
    for _ in range(200):
        first, second = ((random.normal(hard, 0.15) < 0.9).astype(float) for _ in range(2))
        found = difference(Ratio(first, np.ones(200)), Ratio(second, np.ones(200)))
        red += found is not None and found.is_worse("top1")
    assert red <= 4


def test_a_rate_of_errors_has_a_bootstrap_that_covers_the_truth() -> None:
    """CER: sums over sums of unequal lines. 95 % of the intervals should hold the true rate."""
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        length = random.integers(2, 30, 150).astype(float)
        wrong = random.binomial(length.astype(int), 0.03).astype(float)
        found = interval(Ratio(wrong, length))
        assert found is not None and found.method == "bootstrap" and found.n == 150
        covered += found.low <= 0.03 <= found.high
    assert 180 <= covered <= 198


def test_nothing_counted_is_not_measurable() -> None:
    nothing = Ratio(np.zeros(5), np.zeros(5))
    assert significance.value(nothing) is None and interval(nothing) is None
    assert difference(nothing, nothing) is None
    with pytest.raises(ValueError):
        difference(share(1, 5), share(1, 6))


def scenes(seed: int, pictures: int, noise: float) -> tuple[list[Detections], list[Detections]]:
    """Boxes that a first model is sure of, and what a second one finds of them, with false ones besides."""
    random = np.random.default_rng(seed)
    first, second = [], []
    for _ in range(pictures):
        n = int(random.integers(0, 5))
        corner, side = random.uniform(0, 200, (n, 2)), random.uniform(20, 80, (n, 2))
        boxes = np.hstack([corner, corner + side]).astype(np.float32)
        classes = random.integers(0, 4, n)
        first.append(Detections(boxes, random.uniform(0.5, 1, n).astype(np.float32), classes))
        false = random.uniform(0, 200, (3, 2))
        found = np.vstack([boxes + random.normal(0, noise, (n, 4)), np.hstack([false, false + 30])])
        order = np.argsort(-(scores := random.uniform(0, 1, n + 3)))
        kinds = np.concatenate([classes, random.integers(0, 4, 3)])
        second.append(
            Detections(found[order].astype(np.float32), scores[order].astype(np.float32), kinds[order])
        )
    return first, second


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools_also_of_pictures_drawn_twice(seed: int) -> None:
    first, second = scenes(seed, 12, noise=4.0)
    outcomes = agreement_outcomes(first, second)
    weights = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12), 6).astype(float)
    weights[0] = 1
    for name, key in (("agreement_ap", "ap"), ("agreement_ap50", "ap50")):
        values = outcomes[name].values(weights)
        for row, found in zip(weights, values, strict=True):
            drawn = [k for k, count in enumerate(row) for _ in range(int(count))]
            wanted = coco_ap([(first[k].boxes, first[k].classes) for k in drawn], [second[k] for k in drawn])
            assert found == pytest.approx(wanted[key], abs=1e-9)


def test_the_first_pictures_alone_are_as_if_there_were_no_others() -> None:
    first, second = scenes(9, 30, noise=8.0)
    whole, part = agreement_outcomes(first, second), agreement_outcomes(first[:10], second[:10])
    for name, outcome in whole.items():
        found = difference(outcome.first(10), part[name])
        assert found is not None and found.method == "identical", name
