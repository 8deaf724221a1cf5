"""Weights rounded so that a layer's answers change least, not each weight by itself.

Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
section 3: column by column, the error of each rounding pushed onto the columns not yet rounded, through the
inverse of the second moments of what the layer reads.
"""

from __future__ import annotations

import numpy as np

from edgekit.calibration.readers import Doubles
from edgekit.quantization.table import LEVELS

_DAMPING = 0.01  # of the mean diagonal
_BLOCK = 64  # columns whose errors reach the columns behind them in one product


def rounded(weights: Doubles, moments: Doubles, scales: Doubles, rows: int) -> Doubles:
    """`weights` [out, k] as multiples of `scales` [out], from -127 to 127 of them.

    moments: E[x x'] of the layer's inputs, [k, k], over so many `rows`. A column that is never fed is rounded
    to nearest.
    """
    k = len(moments)
    diagonal = np.diag(moments)
    # Few rows know little of how inputs go together: a classifier after a pooling, rounded for the few dozen
    # pictures it saw, forgets all others. Shrunk towards the diagonal, rounding goes towards nearest.
    share = k / (k + rows)
    moments = (1 - share) * moments + share * np.diag(diagonal)
    order = np.argsort(-diagonal, kind="stable")  # what matters most first: the others make up for it
    damped = moments[np.ix_(order, order)] + np.eye(k) * max(_DAMPING * float(diagonal.mean()), 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, made = weights[:, order].copy(), np.empty_like(weights)
    for start in range(0, k, _BLOCK):
        end = min(start + _BLOCK, k)
        errors = np.empty((len(weights), end - start))
        for j in range(start, end):
            made[:, j] = np.clip(np.rint(left[:, j] / scales), -LEVELS, LEVELS) * scales
            errors[:, j - start] = (left[:, j] - made[:, j]) / upper[j, j]
            left[:, j + 1 : end] -= np.outer(errors[:, j - start], upper[j, j + 1 : end])
        left[:, end:] -= errors @ upper[start:end, end:]
    result = np.empty_like(made)
    result[:, order] = made
    return result
