"""Class-wise NMS outside the model, with the semantics of Paddle's multiclass_nms3.

The semantics (background_label -1, nms_eta 1, normalized) are those of the CPU kernel in Paddle 2.6,
paddle/phi/kernels/cpu/multiclass_nms3_kernel.cc; tests/tasks/test_nms.py
compares with that operator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


def paired_iou(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """IoU of boxes x1 y1 x2 y2, broadcast over the leading dimensions; sides are x2 - x1, no +1.

    Disjoint boxes give 0; two boxes without area that touch give nan, as in Paddle.
    """
    # Asked of the corners and not of the sign of `sides`: Paddle does, and a box inside out tells them apart.
    apart = ((second[..., :2] > first[..., 2:]) | (second[..., 2:] < first[..., :2])).any(axis=-1)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    together = sides[..., 0] * sides[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = together / (area(first) + area(second) - together)
    return np.where(apart, np.float32(0), ratio).astype(np.float32)


def area(boxes: Boxes) -> NDArray[np.float32]:
    """Area of boxes [..., 4]; 0 for a box whose corners are the wrong way round."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.where((sides < 0).any(axis=-1), np.float32(0), sides[..., 0] * sides[..., 1]).astype(np.float32)


def multiclass_nms(
    boxes: Boxes,
    scores: NDArray[np.float32],
    score_threshold: float,
    nms_threshold: float,
    nms_top_k: int,
    keep_top_k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Anchors and classes (int64 [n] each) that survive, by falling score (ties: lower class first).

    boxes [A,4], scores [C,A]. Per class: score > score_threshold, the nms_top_k best, and greedily a
    box goes when its IoU with a better kept one is > nms_threshold; then the keep_top_k best over all
    classes. A top_k of -1 means all.
    """
    classes, anchors = np.nonzero(scores > np.float32(score_threshold))
    values = scores[classes, anchors]
    order = np.lexsort((-values, classes))
    classes, anchors, values = classes[order], anchors[order], values[order]
    if nms_top_k > -1:
        rank = np.arange(len(classes)) - np.searchsorted(classes, classes)
        best = rank < nms_top_k
        classes, anchors, values = classes[best], anchors[best], values[best]
    survivors = _greedy(boxes[anchors], classes, values, nms_threshold, keep_top_k)
    survivors = survivors[np.lexsort((classes[survivors], -values[survivors]))]
    if keep_top_k > -1:
        survivors = survivors[:keep_top_k]
    return anchors[survivors].astype(np.int64), classes[survivors].astype(np.int64)


def _greedy(
    boxes: Boxes,
    classes: NDArray[np.int64],
    values: NDArray[np.float32],
    threshold: float,
    keep_top_k: int,
) -> NDArray[np.int64]:
    """Rows kept by greedy NMS; rows are sorted by class, then by falling score.

    All classes go at once: in each round the best box left of every class is kept and what it
    covers is dropped. That is the greedy order within each class, with as many rounds as the class
    with the most boxes keeps, instead of a Python loop over every candidate. What scores below the
    keep_top_k-th best box kept so far cannot be among the answers and is dropped early.
    """
    left = np.arange(len(classes))
    kept = left[:0]
    while left.size:
        leads = np.ones(left.size, dtype=bool)
        leads[1:] = classes[left[1:]] != classes[left[:-1]]
        leaders = left[leads]
        kept = np.concatenate([kept, leaders])
        overlap = paired_iou(boxes[left], boxes[leaders[np.cumsum(leads) - 1]])
        left = left[~leads & (overlap <= np.float32(threshold))]
        if 0 < keep_top_k < len(kept):
            left = left[values[left] >= np.partition(values[kept], -keep_top_k)[-keep_top_k]]
    return kept
