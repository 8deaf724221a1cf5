"""Answers and metrics of a classifier; probabilities are float [N, C], already softmax.

Every metric answers None for zero pictures: not measurable is not zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.significance import Outcome, Ratio

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]


def topk(probabilities: Floats, k: int) -> tuple[Indices, Floats]:
    """Classes int64 [N, min(k, C)], best first, and their probabilities; of equals the lower class wins."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return order.astype(np.int64), np.take_along_axis(probabilities, order, axis=1)


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if hits.size else None


def _outcome(hits: NDArray[np.bool_]) -> Ratio:
    return Ratio(hits.astype(float), np.ones(len(hits)))


def top1_agreement(reference: Floats, got: Floats) -> float | None:
    """Share of pictures where both have the same best class."""
    return _share(np.asarray(topk(reference, 1)[0][:, 0] == topk(got, 1)[0][:, 0]))


def top1_agreement_sure(reference: Floats, got: Floats, threshold: float = 0.5) -> tuple[float | None, int]:
    """`top1_agreement` where the reference's best probability is >= threshold, and the number of those.

    Where the reference hesitates, another best class is no loss.
    """
    sure = reference.max(axis=1) >= threshold
    return top1_agreement(reference[sure], got[sure]), int(sure.sum())


def top5_agreement(reference: Floats, got: Floats) -> float | None:
    """Share of pictures where the reference's best class is among the five best of `got`."""
    return topk_accuracy(got, topk(reference, 1)[0][:, 0], 5)


def kl_divergence(reference: Floats, got: Floats, eps: float = 1e-10) -> float | None:
    """Mean over pictures of KL(reference || got) = sum p log(p / q), in nats (Kullback and Leibler, 1951).

    Probabilities are raised to at least eps and normalised again, so the answer is finite and >= 0.
    """
    if len(reference) == 0:
        return None
    # Rounding can leave -1e-17 for two equal rows.
    return max(0.0, float(_divergences(reference, got, eps).mean()))


def _divergences(reference: Floats, got: Floats, eps: float = 1e-10) -> NDArray[np.float64]:
    p, q = (np.maximum(values.astype(np.float64), eps) for values in (reference, got))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return np.asarray((p * np.log(p / q)).sum(axis=1))


def agreement_outcomes(reference: Floats, got: Floats, threshold: float = 0.5) -> dict[str, Outcome]:
    """What each picture contributes to the agreement with the reference; see the functions above."""
    best = topk(reference, 1)[0][:, 0]
    same = np.asarray(best == topk(got, 1)[0][:, 0])
    sure = reference.max(axis=1, initial=0) >= threshold
    return {
        "top1_agreement": _outcome(same),
        "top1_agreement_sure": Ratio((same & sure).astype(float), sure.astype(float)),
        "top5_agreement": _outcome((topk(got, 5)[0] == best[:, None]).any(axis=1)),
        "kl_divergence": Ratio(_divergences(reference, got), np.ones(len(got))),
    }


def truth_outcomes(probabilities: Floats, labels: Indices) -> dict[str, Outcome]:
    """What each picture contributes to top1 and top5."""
    return {f"top{k}": _outcome((topk(probabilities, k)[0] == labels[:, None]).any(axis=1)) for k in (1, 5)}


def topk_accuracy(probabilities: Floats, labels: Indices, k: int) -> float | None:
    """Share of pictures whose true class (int [N]) is among the k best."""
    return _share((topk(probabilities, k)[0] == labels[:, None]).any(axis=1))
