"""Answers as rows, and what one answer has that another lacks."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.folder import ModelInfo
from edgekit.tasks import evaluate, shown
from edgekit.tasks.detection import Detections
from edgekit.tasks.shown import Row
from edgekit.tasks.text_detection import Regions
from edgekit.tasks.text_recognition import Reading

POSTS = {
    "classification": {"kind": "classification", "probabilities": "p", "top_k": 2},
    "detection": {"kind": "detection", "boxes": "b", "scores": "s"},
    "text_detection": {"kind": "text_detection", "map": "m"},
    "text_recognition": {"kind": "text_recognition", "probabilities": "p"},
}


def info(task: str) -> ModelInfo:
    resize = {"kind": "exact", "height": 100, "width": 200, "interpolation": "linear"}
    return ModelInfo.model_validate(
        {
            "name": "m", "task": task, "inputs": [], "outputs": [], "postprocess": POSTS[task],
            "labels": ["cat", "dog"],
            "preprocess": {"resize": resize, "mean": (0, 0, 0), "std": (1, 1, 1)},
        }
    )  # fmt: skip


def detections(*found: tuple[int, float, tuple[float, ...]]) -> Detections:
    return Detections(
        np.asarray([box for *_, box in found], np.float32).reshape(-1, 4),
        np.asarray([score for _, score, _ in found], np.float32),
        np.asarray([index for index, *_ in found], np.int64),
    )


def row(label: str, score: float, x: float) -> Row:
    """A box of 10 x 10 at x."""
    return Row(label, score, np.asarray([(x, 0), (x + 10, 0), (x + 10, 10), (x, 10)], np.float32))


def test_rows_of_every_task() -> None:
    (found,) = shown.rows(info("text_recognition"), Reading("ab c", 0.5))
    assert (found.label, found.score, found.quad) == ("ab c", 0.5, None)
    (found,) = shown.rows(info("text_recognition"), Reading("", 0.0))
    assert found.label == ""
    labels = [r.label for r in shown.rows(info("classification"), np.asarray([0.25, 0.75], np.float32))]
    assert labels == ["dog", "cat"]
    (found,) = shown.rows(info("detection"), detections((1, 0.5, (1, 2, 3, 4))))
    assert found.label == "dog" and found.quad is not None
    assert found.quad.tolist() == [[1, 2], [3, 2], [3, 4], [1, 4]]
    quads = np.zeros((2, 4, 2), np.float32)
    scores = [r.score for r in shown.rows(info("text_detection"), Regions(quads, np.float32([0.25, 0.5])))]
    assert scores == [0.5, 0.25]


def test_faint_guesses_are_not_shown() -> None:
    answer = detections((0, 0.25, (0, 0, 1, 1)), (1, 0.24, (0, 0, 1, 1)))
    seen = shown.visible(answer)
    assert isinstance(seen, Detections) and seen.classes.tolist() == [0]


@pytest.mark.parametrize(
    ("other", "lacks"),
    [
        (row("cat", 0.8, 0), False),
        (row("cat", 0.4, 3), False),  # IoU 7 / 13, half as sure
        (row("cat", 0.39, 0), True),  # less than half as sure
        (row("dog", 0.8, 0), True),
        (row("cat", 0.8, 4), True),  # IoU 6 / 14
    ],
)
def test_what_another_answer_lacks(other: Row, lacks: bool) -> None:
    assert shown.unmatched([row("cat", 0.8, 0)], [row("dog", 0.9, 50), other]) == [lacks]


def test_answers_without_anything() -> None:
    assert shown.unmatched([row("cat", 0.8, 0)], []) == [True]
    assert shown.unmatched([], [row("cat", 0.8, 0)]) == []


def test_of_rows_without_a_place_the_first_is_the_answer() -> None:
    cat, dog, cow = (Row(name, 0.3, None) for name in ("cat", "dog", "cow"))
    assert shown.unmatched([cat, dog], [cat, cow]) == [False, False]
    assert shown.unmatched([cat, dog], [dog, cat]) == [True, False]


def test_the_worst_pictures_come_first() -> None:
    one = (0, 0.9, (0.0, 0.0, 10.0, 10.0))
    sure = detections(one)
    unsure = detections((0, 0.3, (0.0, 0.0, 10.0, 10.0)))
    reference = [sure, unsure, sure, sure]
    got = [sure, sure, detections(), detections((0, 0.9, (0.0, 0.0, 10.0, 8.0)))]
    # Where float is sure of nothing, nothing can be lost. IoU .8: right at 7 of COCO's 10 thresholds.
    assert evaluate.worst(info("detection"), reference, got) == [(2, 0), (3, pytest.approx(0.7)), (0, 1)]
    texts = [Reading("abcd", 1.0)] * 3
    read = [Reading("abcd", 1.0), Reading("abxx", 1.0), Reading("abc", 1.0)]
    assert evaluate.worst(info("text_recognition"), texts, read) == [(1, 0.5), (2, 0.25), (0, 0)]
