"""Rendered lines, with the stand-ins of conftest.py."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.data import corpus, fonts, layouts, lines
from edgekit.data.images import read_image
from edgekit.data.prepare import DataSpec, is_ready, prepare
from edgekit.data.scenes import SPLITS
from edgekit.tasks.text_recognition import read_labels

SPEC = DataSpec(kind="rendered_lines")


def desk(cache: Path, seed: int, split: Any = "evaluation") -> layouts.Desk:
    stock = fonts.open_fonts(cache, True, print)
    chinese, latin = fonts.fonts_of(split, True), fonts.fonts_of(split, False)
    return layouts.Desk(np.random.default_rng(seed), corpus.corpus(split), stock, chinese, latin)


def test_what_lines_say(cache: Path) -> None:
    table = desk(cache, 0)
    found = [lines.write(table) for _ in range(600)]
    texts = [text for text, _ in found]
    assert all(text == text.strip() and text and "{" not in text for text in texts)
    assert not [text for text in texts if text[0] in "，。、：；！？"]
    assert all(chinese for text, chinese in found if not text.isascii())
    kinds = Counter(
        "digits" if any(c.isdigit() for c in text) else "english" if text.isascii() else "chinese"
        for text in texts
    )
    assert min(kinds[kind] for kind in ("digits", "english", "chinese")) > 100
    assert {len(text) for text in texts} >= set(range(2, 20)), "short ones and long ones"
    # A part of a sentence is a part of it.
    known = [
        getattr(table.corpus, name) for name in ("chinese", "english", "chinese_labels", "english_labels")
    ]
    everything = "\n".join(line for group in known for line in group)
    assert all(text in everything for text in texts if not any(c.isdigit() for c in text))


def test_no_text_serves_two_splits(cache: Path) -> None:
    said = {
        split: {text for text, _ in (lines.write(table) for _ in range(300)) if len(text) > 7}
        for split in SPLITS
        for table in [desk(cache, 1, split)]
    }
    assert min(map(len, said.values())) > 100
    assert not said["evaluation"] & (said["calibration"] | said["training"])
    assert not said["calibration"] & said["training"]


def test_a_quad_is_straightened() -> None:
    """A marked rectangle, seen at an angle, comes back upright, at its own size."""
    flat = np.zeros((40, 120, 3), np.float32)
    flat[:20, :60], flat[20:, 60:] = 255, 128
    quad = np.array([(30, 40), (145.91, 71.06), (135.56, 109.7), (19.65, 78.64)])  # turned by 15 degrees
    corners = np.array([(0, 0), (120, 0), (120, 40), (0, 40)], np.float32)
    seen = cv2.warpPerspective(
        flat, cv2.getPerspectiveTransform(corners, quad.astype(np.float32)), (200, 150)
    )
    got = lines.straightened(seen, quad)
    assert got.shape == flat.shape and got.dtype == np.float32
    inner = np.s_[4:16, 4:56], np.s_[24:36, 64:116], np.s_[4:16, 64:116]
    for part, value in zip(inner, (255, 128, 0), strict=True):
        assert np.abs(got[part] - value).max() < 5


def test_the_quad_holds_nearly_all_of_the_line() -> None:
    corners = np.array([(10, 20), (210, 20), (210, 60), (10, 60)], np.float64)
    quads = [lines._quad(corners, 40, np.random.default_rng(seed)) for seed in range(200)]
    off = np.stack(quads) - corners
    assert np.abs(off).max() < 0.35 * 40
    mean = off.mean(axis=0)
    assert (np.sign(mean) == [(-1, -1), (1, -1), (1, 1), (-1, 1)]).all(), "outwards"
    assert off.std(axis=0).min() > 0.5, "and each corner by itself"


def test_lines_obey_their_rules(cache: Path) -> None:
    got = prepare(SPEC, "evaluation", 24, 3, cache, True, print)
    assert got.name == "rendered lines" and "24 rendered lines" in got.origin and got.annotations is not None
    labels = read_labels(got.annotations)
    assert list(labels) == [path.name for path in got.paths]
    shapes = [read_image(path).shape for path in got.paths]
    assert all(10 <= height <= 120 and width >= height / 2 for height, width, _ in shapes)
    assert len({round(width / height) for height, width, _ in shapes}) > 6, "of many lengths"
    origin = json.loads((got.annotations.parent / "origin.json").read_text())
    assert "NotoSerifCJK-Regular" in origin["fonts"] and "NotoSansCJK-Regular" not in origin["fonts"]


def test_the_same_seed_gives_the_same_pixels(cache: Path) -> None:
    def make(split: Any, seed: int, count: int = 3) -> Any:
        return prepare(SPEC, split, count, seed, cache, True, print)

    first = make("calibration", 1)
    assert is_ready(SPEC, "calibration", 3, 1, cache) and not is_ready(SPEC, "calibration", 3, 9, cache)
    pixels = [path.read_bytes() for path in first.paths]
    shutil.rmtree(first.paths[0].parents[1])
    assert make("calibration", 1) == first
    assert [path.read_bytes() for path in make("calibration", 1, 4).paths[:3]] == pixels
    assert len({make(split, seed).digest for split in SPLITS for seed in (1, 2)}) == 6


def test_without_packages_there_are_no_lines(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"No evaluation lines.*offline.*--data"):
        prepare(SPEC, "evaluation", 2, 0, tmp_path, True, print)
