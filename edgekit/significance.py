"""What a figure that was measured on so many pictures says: its interval, and whether another one differs.

A figure is kept as what each picture contributes to it. Pictures are drawn again with replacement (the
bootstrap, Efron 1979), the same ones for both of two models (paired), and the figure is computed anew from
the contributions. A share of pictures has Wilson's interval instead (1927), which is right also where every
picture was answered alike, and two shares of the same pictures are told apart by McNemar's exact test (1947).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95  # of the interval of one figure
STRICT = 0.99  # of the difference of two, where a dozen are asked about at once
RESAMPLES = 500
_SEED = 20_240_601
_AT_ONCE = 50  # resamples: bounds the memory of a ranking

Floats = NDArray[np.float64]
Method = Literal["Wilson", "bootstrap", "paired bootstrap", "McNemar", "identical", "Newcombe"]

# Of all other figures more is better.
LESS_IS_BETTER = frozenset({"cer", "agreement_cer", "kl_divergence"})


@dataclass(frozen=True)
class Ratio:
    """A figure that is a sum over a sum: of `part` over `whole`, both float64 [pictures]."""

    part: Floats
    whole: Floats

    @property
    def n(self) -> int:
        return len(self.part)

    @property
    def is_share(self) -> bool:
        """Whether each picture either counts or not, and is either right or wrong."""
        return bool(np.isin(self.part, (0, 1)).all() and np.isin(self.whole, (0, 1)).all()) and bool(
            (self.part <= self.whole).all()
        )

    def first(self, n: int) -> Ratio:
        """The same on the first n pictures alone."""
        return Ratio(self.part[:n], self.whole[:n])

    def values(self, weights: Floats) -> Floats:
        """The figure when picture k counts weights[r, k] times: [r]; nan where nothing counts."""
        whole = weights @ self.whole
        return np.divide(weights @ self.part, whole, out=np.full(len(weights), np.nan), where=whole > 0)


@dataclass(frozen=True)
class Ranking:
    """COCO's average precision: detections by category and within it by falling score, and the true boxes.

    `hit` and `ignored` bool [detections, IoU thresholds]. `pictures`: how many there are.
    """

    pictures: int
    picture: NDArray[np.int32]  # [detections]
    category: NDArray[np.int32]  # [detections], ascending
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    true_picture: NDArray[np.int32]  # [true boxes]
    true_category: NDArray[np.int32]  # [true boxes]

    @property
    def n(self) -> int:
        return self.pictures

    @property
    def at50(self) -> Ranking:
        """The same at IoU .5 alone."""
        return Ranking(
            self.pictures, self.picture, self.category, self.hit[:, :1], self.ignored[:, :1],
            self.true_picture, self.true_category,
        )  # fmt: skip

    def first(self, n: int) -> Ranking:
        """The same on the first n pictures alone; detections behind a category's last hit stay away."""
        kept = self.picture < n
        hits = (self.hit & ~self.ignored).any(axis=1) & kept
        for category in np.unique(self.category):
            here = self.category == category
            last = np.flatnonzero(hits & here)
            kept &= ~here | (np.arange(len(kept)) <= (last[-1] if len(last) else -1))
        true = self.true_picture < n
        return Ranking(
            min(n, self.pictures), self.picture[kept], self.category[kept], self.hit[kept],
            self.ignored[kept], self.true_picture[true], self.true_category[true],
        )  # fmt: skip

    def values(self, weights: Floats) -> Floats:
        """AP when picture k counts weights[r, k] times: [r]; nan where no true box counts."""
        return np.concatenate(
            [self._values(weights[k : k + _AT_ONCE]) for k in range(0, len(weights), _AT_ONCE)]
        )

    def _values(self, weights: Floats) -> Floats:
        recalls = np.linspace(0, 1, 101)
        total, categories = np.zeros(len(weights)), np.zeros(len(weights))
        for category in np.unique(self.true_category):
            true = weights[:, self.true_picture[self.true_category == category]].sum(axis=1)
            first, last = np.searchsorted(self.category, [category, category + 1])
            weight = weights[:, self.picture[first:last], None]
            counted = ~self.ignored[first:last]
            hits = np.cumsum(weight * (self.hit[first:last] & counted), axis=1)
            misses = np.cumsum(weight * (~self.hit[first:last] & counted), axis=1)
            precision = hits / (hits + misses + np.spacing(1))
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            # How many of the 101 recalls each detection is the first to reach.
            reached = np.searchsorted(recalls, hits / np.maximum(true, 1e-9)[:, None, None], side="right")
            new = np.diff(reached, axis=1, prepend=0)
            average = (envelope * new).sum(axis=1).mean(axis=1) / len(recalls)
            there = true > 0
            total += np.where(there, average, 0)
            categories += there
        return np.divide(total, categories, out=np.full(len(weights), np.nan), where=categories > 0)


Outcome = Ratio | Ranking


@dataclass(frozen=True)
class Interval:
    """Where the figure lies with the probability `level`, for pictures like the `n` that were seen."""

    low: float
    high: float
    level: float
    n: int
    method: Method


@dataclass(frozen=True)
class Difference:
    """`value`: after minus before, on the same pictures unless the method is Newcombe's."""

    value: float
    low: float
    high: float
    level: float
    n: int
    method: Method
    p: float | None = None  # of McNemar's test, two-sided

    def is_worse(self, figure: str) -> bool:
        """Whether `figure` got worse beyond what the choice of the pictures explains."""
        return self._beyond(1 if figure in LESS_IS_BETTER else -1)

    def is_better(self, figure: str) -> bool:
        return self._beyond(-1 if figure in LESS_IS_BETTER else 1)

    def _beyond(self, sign: int) -> bool:
        if self.p is not None:
            return sign * self.value > 0 and self.p < 1 - self.level
        return self.low > 0 if sign > 0 else self.high < 0


def value(outcome: Outcome) -> float | None:
    """The figure itself; None when it is not measurable."""
    found = float(outcome.values(np.ones((1, outcome.n)))[0]) if outcome.n else math.nan
    return None if math.isnan(found) else found


def interval(outcome: Outcome, level: float = LEVEL) -> Interval | None:
    """None when the figure is not measurable."""
    found = value(outcome)
    if found is None:
        return None
    if isinstance(outcome, Ratio) and outcome.is_share:
        counted = int(outcome.whole.sum())
        low, high = wilson(int(outcome.part.sum()), counted, level)
        return Interval(low, high, level, counted, "Wilson")
    low, high = _middle(outcome.values(_weights(outcome.n)), found, level)
    return Interval(low, high, level, outcome.n, "bootstrap")


def difference(before: Outcome, after: Outcome, level: float = STRICT) -> Difference | None:
    """Of two models on the same pictures; None when one of them is not measurable."""
    if before.n != after.n:
        raise ValueError(f"{before.n} and {after.n} pictures")
    first, second = value(before), value(after)
    if first is None or second is None:
        return None
    if _same(before, after):
        return Difference(0.0, 0.0, 0.0, level, before.n, "identical")
    weights = _weights(before.n)
    low, high = _middle(after.values(weights) - before.values(weights), second - first, level)
    p: float | None = None
    method: Method = "paired bootstrap"
    if isinstance(before, Ratio) and isinstance(after, Ratio) and before.is_share and after.is_share:
        both = (before.whole > 0) & (after.whole > 0)
        p, method = mcnemar(before.part[both] > 0, after.part[both] > 0), "McNemar"
    return Difference(second - first, low, high, level, before.n, method, p)


def loss(before: Outcome, after: Outcome, sign: int, level: float = LEVEL) -> Interval | None:
    """The interval of sign * (after - before), on the same pictures; None when that is not measurable."""
    found = difference(before, after, level)
    if found is None:
        return None
    low, high = sorted((sign * found.low + 0.0, sign * found.high + 0.0))  # no -0
    method: Method = "identical" if found.method == "identical" else "paired bootstrap"
    return Interval(low, high, level, found.n, method)


def apart(before: float, of_before: Interval, after: float, of_after: Interval) -> Difference:
    """The difference of two figures of which only the intervals are known (Newcombe 1998, method 10).

    It takes the pictures of both for different ones; where they are the same, the interval is too wide.
    """
    change = after - before
    low = change - math.hypot(after - of_after.low, of_before.high - before)
    high = change + math.hypot(of_after.high - after, before - of_before.low)
    return Difference(change, low, high, of_after.level, min(of_before.n, of_after.n), "Newcombe")


def wilson(right: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of right / n."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # The formula gives 1 and 0 there, but for rounding.
    return (0.0 if right == 0 else centre - half), (1.0 if right == n else centre + half)


def mcnemar(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """The two-sided p of as many or more pictures of one kind among those answered differently, were both
    kinds as likely: exact, from the binomial distribution."""
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    n, k = lost + won, min(lost, won)
    return float(min(1, 2 * sum(math.comb(n, i) for i in range(k + 1)) / (1 << n)))


def _same(first: Outcome, second: Outcome) -> bool:
    if type(first) is not type(second):
        return False
    return all(np.array_equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))


def _weights(n: int) -> Floats:
    """How often each of n pictures is drawn, [RESAMPLES, n]; the same at each call."""
    generator = np.random.default_rng(_SEED)
    return generator.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)


def _middle(values: Floats, estimate: float, level: float) -> tuple[float, float]:
    """The bias-corrected percentile interval (Efron and Tibshirani 1993, section 14.3, without acceleration):
    of pictures drawn with replacement some are missing, which moves an average precision."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    below = ((known < estimate).sum() + 0.5 * (known == estimate).sum()) / len(known)
    normal, edge = NormalDist(), 0.5 / len(known)
    bias = normal.inv_cdf(min(max(float(below), edge), 1 - edge))
    ends = [normal.cdf(2 * bias + normal.inv_cdf((1 + side * level) / 2)) for side in (-1, 1)]
    low, high = np.quantile(known, ends)
    return float(low), float(high)
