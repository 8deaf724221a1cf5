"""KL threshold (entropy calibration): where to clip a tensor so that int8 tells least of a lie.

Migacz, "8-bit inference with TensorRT" (GTC 2017), in the variant of Paddle's `cal_kl_threshold`:
candidates are the upper half of the histogram's bins; for a candidate i the reference P is the first i
bins with everything beyond added to the last, the candidate Q is the same bins (without what lies
beyond) merged into 127 groups (the last takes the remainder) and spread evenly over each group's
non-empty bins; the i with the least KL(P || Q) wins. Prefix sums make a candidate cost 127 steps
instead of a walk over the histogram, all candidates at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEVELS = 127


def threshold(histogram: npt.NDArray[np.int64], bin_width: float) -> float:
    """The threshold, in the unit of `bin_width`, for a histogram of |x| that starts at 0.

    `histogram`: int [bins]. Raises ValueError when it is empty or has fewer than 2 * 127 bins.
    """
    counts = histogram.astype(np.float64)
    bins = counts.size
    total = counts.sum()
    if total <= 0 or bins < 2 * LEVELS:
        raise ValueError("a histogram of at least 254 bins with at least one count is needed")
    start = int((bins - 1) * 0.5)
    candidates = np.arange(start, bins)
    candidates = candidates[counts[candidates - 1] > 0]
    if candidates.size == 0:
        below = np.flatnonzero(counts[: start + 1])
        return (float(below[-1] if below.size else 0) + 0.5) * bin_width

    def prefix(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.concatenate([[0.0], np.cumsum(values)])

    mass = prefix(counts)
    filled = prefix((counts > 0).astype(np.float64))
    plogp = prefix(np.where(counts > 0, counts * np.log(np.maximum(counts, 1)), 0.0))

    beyond = total - mass[candidates]
    last = counts[candidates - 1] + beyond
    p_log_p = plogp[candidates - 1] + last * np.log(last)

    width = candidates // LEVELS
    edges = np.arange(LEVELS + 1)[None, :] * width[:, None]
    edges[:, -1] = candidates
    group = np.diff(mass[edges], axis=1)
    spread = np.diff(filled[edges], axis=1)
    reference = group.copy()
    reference[:, -1] += beyond
    level = np.divide(group, spread, out=np.ones_like(group), where=spread > 0)
    p_log_q = np.where(reference > 0, reference * np.log(np.maximum(level, 1e-300)), 0.0).sum(1)

    q_total = mass[candidates]
    divergence = (total * np.log(q_total) + p_log_p - total * np.log(total) - p_log_q) / total
    return (float(candidates[int(np.argmin(divergence))]) + 0.5) * bin_width
