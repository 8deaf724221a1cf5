"""Rendered pages, with the stand-ins of conftest.py."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.data import corpus, cutouts, debian, degrade, fonts, layouts, pages
from edgekit.data.files import is_intact
from edgekit.data.images import read_image
from edgekit.data.prepare import DataSpec, is_ready, prepare
from edgekit.data.scenes import SPLITS
from edgekit.errors import EdgekitError
from edgekit.tasks.text_detection import read_labels

SPEC = DataSpec(kind="rendered_pages")


@pytest.fixture
def stock(cache: Path) -> fonts.FontStock:
    return fonts.open_fonts(cache, True, print)


def desk(stock: fonts.FontStock, seed: int, split: Any = "evaluation") -> layouts.Desk:
    rng = np.random.default_rng(seed)
    chinese, latin = fonts.fonts_of(split, True), fonts.fonts_of(split, False)
    return layouts.Desk(rng, corpus.corpus(split), stock, chinese, latin)


def test_the_corpus_is_large_and_its_splits_share_no_line() -> None:
    for name in corpus.Corpus.__dataclass_fields__:
        lines = corpus.read(name)
        parts = [set(getattr(corpus.corpus(split), name)) for split in SPLITS]
        assert sum(map(len, parts)) == len(lines) == len(set.union(*parts))
        assert min(map(len, parts)) >= len(lines) // 3
        assert all(line == line.strip() and line for line in lines)
    assert len(corpus.read("chinese")) >= 150 <= len(corpus.read("english"))
    assert all(line.isascii() for name in ("english", "english_labels") for line in corpus.read(name))


def test_every_slot_is_filled() -> None:
    rng = np.random.default_rng(0)
    texts = [corpus.fill(line, rng) for line in corpus.read("mixed") for _ in range(20)]
    assert not [text for text in texts if "{" in text]
    assert len(set(texts)) > 900
    assert re.fullmatch(r"\d+\.\d\d \d+", corpus.fill("{price} {number}", rng))
    with pytest.raises(KeyError):
        corpus.fill("{prize}", rng)


def test_evaluation_has_fonts_of_its_own() -> None:
    used = {
        split: {font.path for c in (True, False) for font in fonts.fonts_of(split, c)} for split in SPLITS
    }
    assert used["calibration"] == used["training"] and not used["training"] & used["evaluation"]
    for split in SPLITS:
        assert min(len(fonts.fonts_of(split, chinese)) for chinese in (True, False)) >= 3
    assert len({font.sha256 for font in fonts.FONTS}) == len({Path(font.path).name for font in fonts.FONTS})


def test_ink_is_tight_and_where_the_pen_puts_it(stock: fonts.FontStock) -> None:
    face = fonts.load(stock.file(fonts.FONTS[-1]), 0, 60)
    letters = fonts.ink(face, "Hg")
    inked = letters.alpha >= fonts.INKED
    assert inked[0].any() and inked[-1].any() and inked[:, 0].any() and inked[:, -1].any()
    assert letters.alpha.max() == 255
    # H stands on the baseline, g hangs below it.
    assert fonts.ink(face, "H").alpha.shape[0] == pytest.approx(-fonts.ink(face, "H").top, abs=1)
    assert letters.top + letters.alpha.shape[0] > 5
    with pytest.raises(ValueError, match="no mark"):
        fonts.ink(face, "  ")


def test_lines_are_wrapped_at_the_width_and_lose_nothing(stock: fonts.FontStock) -> None:
    face = fonts.load(stock.file(fonts.FONTS[-1]), 0, 20)
    text = " ".join(corpus.read("english")[:5])
    lines = layouts.wrap(text, face, 300, chinese=False)
    assert " ".join(lines) == text and len(lines) > 5
    assert all(face.getlength(line) <= 300 for line in lines)
    text = "".join(corpus.read("chinese")[:5])
    lines = layouts.wrap(text, face, 200, chinese=True)
    assert "".join(lines) == text and len(lines) > 5
    assert not [line for line in lines if line[0] in "，。"]
    assert layouts.wrap("incomprehensibilities", face, 10, chinese=False) == ["incomprehensibilities"]


LAYOUTS = (layouts.paragraphs, layouts.receipt, layouts.table, layouts.sign)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sheet_has_lines_that_lie_on_it_and_apart(layout: Any, stock: fonts.FontStock) -> None:
    n = 0
    for seed in range(6):
        sheet = layout(desk(stock, seed))
        height, width = sheet.size
        assert height <= layouts.TALLEST and width <= 1600 and sheet.color.dtype == np.float32
        boxes = np.array([(*line.corners[0], *line.corners[2]) for line in sheet.lines])
        # The letters lie on the sheet, the margin around them may stick out.
        more = layouts.MARGIN / (1 + 2 * layouts.MARGIN) * (boxes[:, 3] - boxes[:, 1])
        inner = boxes + np.stack([more, more, -more, -more], axis=1)
        assert (
            inner.min() > -1e-6 and inner[:, 2].max() <= width + 1e-6 and inner[:, 3].max() <= height + 1e-6
        )
        for k, a in enumerate(inner):
            for b in inner[:k]:
                assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])
        n += len(sheet.lines)
    assert n >= 12


def test_the_box_of_a_line_holds_its_letters_through_every_perspective(
    stock: fonts.FontStock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pixels are the judge: on black, what is bright lies in the box, and reaches its edge."""
    monkeypatch.setattr(layouts, "MARGIN", 0)
    face = fonts.load(stock.file(fonts.FONTS[-1]), 0, 60)
    black, white = np.zeros(3, np.float32), np.full(3, 255, np.float32)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sheet = layouts.blank(200, 400, black)
        # Squares: their corners are corners of the box, which those of letters are not.
        square = fonts.Ink(np.full((60, 250), 255, np.float32), 0, -60)
        assert sheet.write("x", square if seed % 2 else fonts.ink(face, "HEMH"), 70, 130, white)
        height, width = pages.SHAPES[seed % 3]
        canvas = np.zeros((height, width, 3), np.float32)
        (line,) = pages.place(canvas, sheet, pages.perspective(sheet, rng, (height, width), 0.4, 0.2, 0.9))
        assert line.corners.min() >= 0 and (line.corners.max(axis=0) <= (width, height)).all()
        # Coverage of each pixel by the quad, on a grid four times as fine.
        fine = np.zeros((height * 4, width * 4), np.uint8)
        cv2.fillPoly(fine, [np.rint(line.corners * 4 - 0.5).astype(np.int32)], 1)
        inside = fine.reshape(height, 4, width, 4).mean(axis=(1, 3))
        bright = canvas[..., 0] / 255
        assert bright[inside == 0].max() < 0.5
        if seed % 2:
            assert np.abs(bright - inside).max() < 0.5, "no pixel is on the wrong side"
            assert np.abs(bright.sum() - inside.sum()) / inside.sum() < 0.01


def test_pages_obey_their_rules(cache: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    got = prepare(SPEC, "evaluation", 10, 3, cache, True, print, lambda *args: seen.append(args))
    assert seen[-1][1:] == (10, 10) and len(got.paths) == 10 and got.name == "rendered pages"
    sizes = [read_image(path).shape[:2] for path in got.paths]
    assert sizes[:4] == [(960, 960), (960, 720), (720, 960), (960, 960)]
    assert got.annotations is not None
    labels = read_labels(got.annotations)
    assert set(labels) == {path.name for path in got.paths}
    assert min(map(len, labels.values())) >= 1 and sum(map(len, labels.values())) > 60
    for path, (height, width) in zip(got.paths, sizes, strict=True):
        corners = np.concatenate(labels[path.name])
        assert corners.min() >= -10, "but for the margin"
        assert (corners.max(axis=0) <= (width + 10, height + 10)).all()
    text = got.annotations.read_text(encoding="utf-8")
    assert re.search("[\u4e00-\u9fff]", text), "Chinese is written as such"
    other = corpus.corpus("training")
    assert not [line for line in (*other.chinese_labels, *other.english_labels) if f'"{line}"' in text]
    origin = json.loads((got.annotations.parent / "origin.json").read_text())
    assert set(origin["packages"]) >= {*cutouts.BACKGROUNDS, *(font.package for font in fonts.FONTS)}
    assert "NotoSerifCJK-Regular" in origin["fonts"] and "NotoSansCJK-Regular" not in origin["fonts"]
    assert "not the fonts that the figures were made with" in got.origin, "the stand-in is another font"


def test_the_same_seed_gives_the_same_pixels(cache: Path) -> None:
    def make(split: Any, seed: int, count: int = 2) -> Any:
        return prepare(SPEC, split, count, seed, cache, True, print)

    first = make("calibration", 1)
    pixels = [path.read_bytes() for path in first.paths]
    shutil.rmtree(first.paths[0].parents[1])
    assert make("calibration", 1) == first
    assert make("calibration", 2).digest != first.digest
    assert [path.read_bytes() for path in make("calibration", 1, 3).paths[:2]] == pixels
    assert make("training", 1).digest != first.digest


def test_pages_are_made_once_and_damage_is_repaired(cache: Path) -> None:
    assert not is_ready(SPEC, "evaluation", 2, 0, cache)
    first = prepare(SPEC, "evaluation", 2, 0, cache, True, print)
    assert is_ready(SPEC, "evaluation", 2, 0, cache)
    first.paths[0].write_bytes(b"damaged")
    assert not is_ready(SPEC, "evaluation", 2, 0, cache)
    assert prepare(SPEC, "evaluation", 2, 0, cache, True, print) == first
    assert is_intact(first.paths[0].parents[1])


def test_without_packages_there_are_no_pages_and_no_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise EdgekitError("EK403", "Debian packages could not be had: apt-get cannot be started.")

    monkeypatch.setattr(debian, "unpack", none)
    for offline, words in ((False, "apt-get cannot be started"), (True, "offline")):
        with pytest.raises(EdgekitError, match=rf"No evaluation pages.*{words}.*--data") as caught:
            prepare(SPEC, "evaluation", 2, 0, tmp_path, offline, print)
        assert caught.value.code == "EK403"


def test_a_missing_font_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(wanted: Any, scratch: Path, take: Any, log: Any) -> dict[str, str]:
        for package, paths in wanted.items():
            for path in paths:
                if "ukai" not in path:
                    take(package, path, b"font")
        return dict.fromkeys(wanted, "1")

    monkeypatch.setattr(debian, "unpack", lacking)
    with pytest.raises(EdgekitError, match="ukai") as caught:
        fonts.open_fonts(tmp_path, False, print)
    assert caught.value.code == "EK403"


def test_what_degrades_changes_pixels_and_not_places() -> None:
    """A white square on black stays where it is, whatever happens to it."""
    image = np.zeros((200, 240, 3), np.float32)
    image[60:100, 80:160] = 255
    for seed in range(30):
        got = degrade.degrade(image.copy(), np.random.default_rng(seed))
        assert got.dtype == np.uint8 and got.shape == image.shape
        grey = cv2.GaussianBlur(got, (0, 0), 1).astype(float).mean(axis=2)
        inside = (grey > (grey[50:110, 70:170].min() + grey[50:110, 70:170].max()) / 2)[50:110, 70:170]
        rows, columns = np.nonzero(inside)
        assert (rows.mean() + 50, columns.mean() + 70) == pytest.approx((79.5, 119.5), abs=4)
    for length in (3, 8):
        blurred = degrade.motion(image, length, 0.7)
        assert blurred.sum() == pytest.approx(image.sum(), rel=1e-3)
