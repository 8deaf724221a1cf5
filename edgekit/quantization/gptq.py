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
    """`weights` [..., out, k] as multiples of `scales` [..., out], from -127 to 127 of them.

    moments: E[x x'] of the layer's inputs, [..., k, k], over so many `rows`; leading axes are layers side by
    side, as the channels of a depthwise one are. A column that is never fed is rounded to nearest.
    """
    k = moments.shape[-1]
    diagonal = np.diagonal(moments, axis1=-2, axis2=-1)
    # Few rows know little of how inputs go together: a classifier after a pooling, rounded for the few dozen
    # pictures it saw, forgets all others. Shrunk towards the diagonal, rounding goes towards nearest.
    share, unit = k / (k + rows), np.eye(k)
    moments = (1 - share) * moments + share * diagonal[..., None] * unit
    # What matters most first: the others make up for it.
    order = np.argsort(-diagonal, axis=-1, kind="stable")
    across = np.broadcast_to(order[..., None, :], weights.shape)
    damping = np.maximum(_DAMPING * diagonal.mean(-1), 1e-12)[..., None, None] * unit
    ordered = np.take_along_axis(np.take_along_axis(moments, order[..., None], -2), order[..., None, :], -1)
    upper = np.swapaxes(np.linalg.cholesky(np.linalg.inv(ordered + damping)), -2, -1)
    left = np.take_along_axis(weights, across, -1)
    made = np.empty_like(left)
    for start in range(0, k, _BLOCK):
        end = min(start + _BLOCK, k)
        errors = np.empty((*left.shape[:-1], end - start))
        for j in range(start, end):
            made[..., j] = np.clip(np.rint(left[..., j] / scales), -LEVELS, LEVELS) * scales
            errors[..., j - start] = (left[..., j] - made[..., j]) / upper[..., j, j, None]
            left[..., j + 1 : end] -= errors[..., j - start, None] * upper[..., None, j, j + 1 : end]
        left[..., end:] -= errors @ upper[..., start:end, end:]
    result = np.empty_like(made)
    np.put_along_axis(result, across, made, -1)
    return result
