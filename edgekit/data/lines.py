"""Rendered lines of text with known truth, as a detector cuts them out of a picture.

A line on paper, at times with a photograph showing through. A quad around it, never quite where the line is,
is straightened to a rectangle, as an OCR pipeline does before it reads; then come the degradations of pages.
Everything random comes from PCG64 seeded by (seed, kind, split, index of the line).
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgekit.data import corpus, degrade, layouts
from edgekit.data.cutouts import Split, background_splits
from edgekit.data.files import write_bytes
from edgekit.data.fonts import FontStock, fonts_of, ink
from edgekit.data.images import Image, read_image
from edgekit.data.layouts import Desk, Float
from edgekit.data.pages import LABELS
from edgekit.data.scenes import Progress, crop_square, generator
from edgekit.data.stock import Stock

RULE = 1  # raise it when a line of the same seed looks different
DEGRADED = 0.7  # the share of lines that suffered
LETTERS = (24, 64)  # pixels to the em
CHINESE, ENGLISH = (2, 20), (1, 9)  # characters, words of a sentence that make a line, both inclusive
_NEVER_FIRST = "，。、：；！？"
_JITTER = 0.035  # of a line's height: how far a corner of the quad lies off, one standard deviation


def render(
    stock: Stock,
    fonts: FontStock,
    split: Split,
    count: int,
    seed: int,
    into: Path,
    progress: Progress | None = None,
    *,
    turned: bool = False,
) -> None:
    """`count` JPEGs in `into/images`, `into/labels.txt` in PaddleOCR's format for recognition, and
    `into/origin.json`.

    `turned`: every other one upside down; the labels are 0 and 1, in PaddleClas's format.
    """
    kind = "turned_lines" if turned else "rendered_lines"
    backgrounds = sorted(
        file for file, of in background_splits().items() if of == split and stock.background(file).is_file()
    )
    read = lru_cache(None)(lambda file: read_image(stock.background(file)))
    rows: list[str] = []
    for index in range(count):
        rng = generator(seed, kind, split, index)
        desk = Desk(rng, corpus.corpus(split), fonts, fonts_of(split, True), fonts_of(split, False))
        picture, text = line(desk, read(backgrounds[int(rng.integers(len(backgrounds)))]))
        name = f"images/{index:06d}.jpg"
        seen = degrade.degrade(picture, rng) if desk.chance(DEGRADED) else degrade.as_seen(picture)
        if turned:
            halves = index % 2
            seen = np.ascontiguousarray(seen[::-1, ::-1]) if halves else seen
            rows.append(f"{name} {halves}\n")
        else:
            rows.append(f"{name}\t{text}\n")
        write_bytes(into / name, degrade.jpeg(seen, rng))
        if progress:
            progress(f"render {split} lines", index + 1, count)
    write_bytes(into / LABELS, "".join(rows).encode())
    origin = {
        "kind": kind,
        "split": split,
        "count": count,
        "seed": seed,
        "rule": RULE,
        "fonts": [font.name for chinese in (True, False) for font in fonts_of(split, chinese)],
        "strangers": fonts.strangers,
        "packages": {**fonts.versions, **stock.versions},
    }
    write_bytes(into / "origin.json", json.dumps(origin, indent=1).encode())


def write(desk: Desk) -> tuple[str, bool]:
    """A line's text, and whether it needs a Chinese font: a part of a sentence, a label, or numbers."""
    choice = float(desk.rng.random())
    if choice < 0.3:
        return _part(desk.pick(desk.corpus.chinese), desk, CHINESE, ""), True
    if choice < 0.55:
        return _part(desk.pick(desk.corpus.english), desk, ENGLISH, " "), False
    if choice < 0.75:
        chinese = desk.chance(0.6)
        return desk.pick(desk.corpus.chinese_labels if chinese else desk.corpus.english_labels), chinese
    text = corpus.fill(desk.pick(desk.corpus.mixed), desk.rng)
    return text, not text.isascii() or desk.chance(0.3)


def _part(sentence: str, desk: Desk, sizes: tuple[int, int], space: str) -> str:
    pieces = sentence.split() if space else list(sentence)
    count = min(len(pieces), int(desk.rng.integers(sizes[0], sizes[1] + 1)))
    start = int(desk.rng.integers(len(pieces) - count + 1))
    return space.join(pieces[start : start + count]).lstrip(_NEVER_FIRST) or sentence


def line(desk: Desk, photograph: Image) -> tuple[Float, str]:
    """float32 [h,w,3], 0..255, and the text on it."""
    rng = desk.rng
    text, chinese = write(desk)
    size = round(float(np.exp(rng.uniform(*np.log(LETTERS)))))
    letters = ink(desk.face(chinese, size), text)
    height, width = letters.alpha.shape
    room = round(0.6 * height) + 4
    colors = desk.colors(0.25)
    sheet = layouts.blank(height + 2 * room, width + 2 * room, colors.paper)
    if desk.chance(0.35):
        under = crop_square(photograph, rng, max(sheet.size), 0.3)[: sheet.size[0], : sheet.size[1]]
        share = np.float32(rng.uniform(0.1, 0.35))
        sheet.color = sheet.color * (1 - share) + under.astype(np.float32) * share
    sheet.write(text, letters, room, room - letters.top, colors.ink)
    (written,) = sheet.lines
    return straightened(sheet.color, _quad(written.corners, height, rng)), text


def _quad(corners: NDArray[np.float64], height: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Corners [4,2] as a detector would give them: some way outside, each a little off."""
    outwards = np.asarray([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64)
    more = rng.uniform(0, 0.12, 2) * height
    return corners + outwards * more + rng.normal(0, _JITTER * height, (4, 2))


def straightened(image: Float, quad: NDArray[np.float64]) -> Float:
    """What lies in the quad [4,2], x y from the upper left corner clockwise, as an upright rectangle.

    As PaddleOCR's get_rotate_crop_image: as wide as the longer of the upper and the lower side, as high as
    the longer of the other two.
    """
    sides = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    width, height = max(1, round(max(sides[0], sides[2]))), max(1, round(max(sides[1], sides[3])))
    corners = np.asarray([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), corners)
    straight: Float = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return straight
