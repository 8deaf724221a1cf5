"""Our NMS against Paddle's own operator, multiclass_nms3, and the properties that any NMS has."""

import time

import numpy as np
import pytest

from edgekit.tasks.nms import area, multiclass_nms, paired_iou

NO_LIMIT = {"score_threshold": 0.0, "nms_threshold": 0.5, "nms_top_k": -1, "keep_top_k": -1}


def random_case(seed, anchors=300, classes=6, rare=False):
    """Boxes in clusters, so that much overlaps, and scores without ties."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(20, 300, (12, 2))[rng.integers(0, 12, anchors)] + rng.normal(0, 6, (anchors, 2))
    half = rng.uniform(4, 50, (anchors, 2))
    boxes = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    scores = ((rng.permutation(classes * anchors) + 0.5) / (classes * anchors)).reshape(classes, anchors)
    return boxes, (scores**6 if rare else scores).astype(np.float32)


def paddle_nms(boxes, scores, score_threshold, nms_threshold, nms_top_k, keep_top_k):
    paddle = pytest.importorskip("paddle")
    out, index, _ = paddle._C_ops.multiclass_nms3(
        paddle.to_tensor(boxes[None]), paddle.to_tensor(scores[None]), None,
        score_threshold, nms_top_k, keep_top_k, nms_threshold, True, 1.0, -1,
    )  # fmt: skip
    return np.asarray(index)[:, 0], np.asarray(out)[:, 0].astype(int), np.asarray(out)[:, 1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "settings",
    [
        NO_LIMIT,
        {"score_threshold": 0.025, "nms_threshold": 0.6, "nms_top_k": 1000, "keep_top_k": 100},
        {"score_threshold": 0.3, "nms_threshold": 0.45, "nms_top_k": 40, "keep_top_k": 30},
        {"score_threshold": 0.9, "nms_threshold": 0.1, "nms_top_k": 5, "keep_top_k": 3},
    ],
)
def test_it_keeps_what_paddle_keeps(seed, settings):
    boxes, scores = random_case(seed)
    anchors, classes = multiclass_nms(boxes, scores, **settings)
    expected_anchors, expected_classes, expected_scores = paddle_nms(boxes, scores, **settings)
    assert len(anchors) > 0
    order = np.argsort(-expected_scores, kind="stable")
    assert anchors.tolist() == expected_anchors[order].tolist()
    assert classes.tolist() == expected_classes[order].tolist()


def test_boxes_without_area_or_inside_out_are_treated_as_paddle_does():
    boxes = np.array([[0, 0, 9, 9], [5, 5, 5, 5], [5, 5, 5, 5], [9, 9, 0, 0], [20, 20, 20, 30]], np.float32)
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]], np.float32)
    anchors, _ = multiclass_nms(boxes, scores, **NO_LIMIT)
    assert sorted(anchors) == sorted(paddle_nms(boxes, scores, **NO_LIMIT)[0])


def test_by_hand():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 4], [50, 50, 60, 60]], np.float32)
    scores = np.array([[0.9, 0.8, 0.7, 0.01], [0.1, 0.95, 0.02, 0.01]], np.float32)
    anchors, classes = multiclass_nms(boxes, scores, 0.05, 0.5, -1, -1)
    # Class 0: box 1 (IoU .8) goes; box 2 (IoU .4 with box 0, .5 with box 1) stays. Class 1: box 0 goes.
    assert list(zip(anchors, classes, strict=True)) == [(1, 1), (0, 0), (2, 0)]


def test_nothing_above_the_threshold():
    boxes, scores = random_case(0)
    anchors, classes = multiclass_nms(boxes, scores, 1.0, 0.5, 10, 10)
    assert anchors.shape == classes.shape == (0,)
    assert multiclass_nms(boxes[:0], scores[:, :0], 0.1, 0.5, 10, 10)[0].size == 0


def test_of_equal_scores_the_lower_anchor_wins():
    boxes = np.tile(np.array([[0, 0, 5, 5]], np.float32), (4, 1))
    anchors, classes = multiclass_nms(boxes, np.full((2, 4), 0.5, np.float32), **NO_LIMIT)
    assert anchors.tolist() == [0, 0] and classes.tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_no_survivor_covers_another_and_all_that_went_was_covered(seed):
    boxes, scores = random_case(seed, anchors=120, classes=3)
    anchors, classes = multiclass_nms(boxes, scores, **NO_LIMIT)
    for label in range(3):
        kept = anchors[classes == label]
        overlap = paired_iou(boxes[kept][:, None], boxes[kept][None])
        assert (overlap - np.eye(len(kept)) <= 0.5 + 1e-6).all()
        better = scores[label, kept][None] >= scores[label][:, None]
        covered = (paired_iou(boxes[:, None], boxes[kept][None]) > 0.5) & better
        gone = np.setdiff1d(np.arange(len(boxes)), kept)
        assert covered[gone].any(axis=1).all()


def test_iou_by_hand():
    a, b = np.array([0, 0, 10, 10], np.float32), np.array([5, 0, 15, 10], np.float32)
    assert paired_iou(a, b) == pytest.approx(50 / 150)
    assert paired_iou(a, a) == 1 and paired_iou(a, b + 100) == 0
    assert area(a) == 100 and area(a[::-1]) == 0


def test_a_real_sized_case_is_fast():
    boxes, scores = random_case(1, anchors=3598, classes=80)
    scores = np.where(scores > 0.995, scores, 0.001).astype(
        np.float32
    )  # ~1400 candidates, as a busy street has
    times = []
    for _ in range(5):
        start = time.perf_counter()
        multiclass_nms(boxes, scores, 0.025, 0.6, 1000, 100)
        times.append(time.perf_counter() - start)
    # ~5 ms on a desktop; the bound only catches a return to a loop over candidates on a busy CI machine.
    assert min(times) < 0.1
