"""Pages and lines that are turned, with the stand-ins of conftest.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.data import degrade, lines, pages
from edgekit.data.images import read_image
from edgekit.data.prepare import DataSpec, prepare
from edgekit.tasks.evaluate import class_labels


def marked(*_: object) -> tuple[np.ndarray, list[object]]:
    """A picture that is bright at its upper left."""
    picture = np.zeros((80, 160, 3), np.float32)
    picture[:30, :60] = 255
    return picture, []


def bright_corner(picture: np.ndarray) -> tuple[bool, bool]:
    """Whether the brightest quarter is at the bottom, and whether at the right."""
    rows, columns = np.nonzero(picture.mean(axis=2) > 128)
    return bool(rows.mean() > picture.shape[0] / 2), bool(columns.mean() > picture.shape[1] / 2)


def test_pages_are_turned_clockwise_by_their_label(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "page", marked)
    monkeypatch.setattr(degrade, "degrade", lambda image, rng: degrade.as_seen(image))
    got = prepare(DataSpec(kind="turned_pages"), "evaluation", 8, 21, cache, True, print)
    assert got.annotations is not None
    labels = class_labels(got.annotations, [path.name for path in got.paths])
    assert labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    found = [bright_corner(read_image(path)) for path in got.paths[:4]]
    assert found == [(False, False), (False, True), (True, True), (True, False)]


def test_every_other_line_stands_upside_down(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "line", lambda *_: (marked()[0], "text"))
    monkeypatch.setattr(lines, "DEGRADED", 0)
    got = prepare(DataSpec(kind="turned_lines"), "evaluation", 4, 21, cache, True, print)
    assert got.annotations is not None and "upside down" in got.name
    assert class_labels(got.annotations, [path.name for path in got.paths]).tolist() == [0, 1, 0, 1]
    found = [bright_corner(read_image(path)) for path in got.paths[:2]]
    assert found == [(False, False), (True, True)]


def test_they_are_not_the_pictures_of_the_other_tasks(cache: Path) -> None:
    kinds = ("rendered_pages", "turned_pages"), ("rendered_lines", "turned_lines")
    for pair in kinds:
        first = [prepare(DataSpec(kind=kind), "training", 1, 5, cache, True, print).digest for kind in pair]  # type: ignore[arg-type]
        assert len(set(first)) == 2
