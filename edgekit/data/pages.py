"""Rendered pages: detection of text with truth, without people.

A page is one sheet (`layouts`) seen at an angle before a photograph, or a photograph with signs. Corners of
lines go through the same perspective as the pixels, so their places are exact; what follows (`degrade`)
changes pixels only. Everything random comes from PCG64 seeded by (seed, kind, split, index of the page).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgekit.data import corpus, degrade, layouts
from edgekit.data.cutouts import Split, background_splits
from edgekit.data.files import write_bytes
from edgekit.data.fonts import FontStock, fonts_of
from edgekit.data.images import Image, read_image
from edgekit.data.layouts import Desk, Float, Line, Sheet
from edgekit.data.scenes import Progress, crop_square, generator, overlap
from edgekit.data.stock import Stock

# Raise it when a page of the same seed looks different.
RULE, TURNED_RULE = 2, 1
SIDE = 960  # pixels, of a square page and of the longer side of others
SHAPES = ((SIDE, SIDE), (SIDE, 720), (720, SIDE))  # height and width of pages, in turn
LABELS = "labels.txt"
SIGNS = (2, 6)  # per photograph, both inclusive
TRIES = 20
Matrix = NDArray[np.float64]

# The layouts of a page with one sheet, and how often they come; the rest are photographs with signs.
_SHEETS: tuple[tuple[Callable[[Desk], Sheet], float], ...] = (
    (layouts.paragraphs, 0.3),
    (layouts.receipt, 0.22),
    (layouts.table, 0.22),
)


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
    """`count` JPEGs of `SHAPES` in `into/images`, `into/labels.txt` in PaddleOCR's format and
    `into/origin.json`.

    `turned`: square ones, each by 0, 1, 2 or 3 quarters clockwise, in turn; the labels are that number, in
    PaddleClas's format.
    """
    kind = "turned_pages" if turned else "rendered_pages"
    backgrounds = sorted(
        file for file, of in background_splits().items() if of == split and stock.background(file).is_file()
    )
    read = lru_cache(None)(lambda file: read_image(stock.background(file)))
    rows: list[str] = []
    for index in range(count):
        rng = generator(seed, kind, split, index)
        desk = Desk(rng, corpus.corpus(split), fonts, fonts_of(split, True), fonts_of(split, False))
        photograph = crop_square(read(backgrounds[int(rng.integers(len(backgrounds)))]), rng, SIDE, 0.5)
        height, width = (SIDE, SIDE) if turned else SHAPES[index % len(SHAPES)]
        canvas, lines = page(desk, photograph[:height, :width])
        name = f"images/{index:06d}.jpg"
        seen = degrade.degrade(canvas, rng)
        if turned:
            quarters = index % 4
            seen = np.ascontiguousarray(np.rot90(seen, -quarters))
            rows.append(f"{name} {quarters}\n")
        else:
            rows.append(f"{name}\t{json.dumps([_entry(line) for line in lines], ensure_ascii=False)}\n")
        write_bytes(into / name, degrade.jpeg(seen, rng))
        if progress:
            progress(f"render {split} pages", index + 1, count)
    write_bytes(into / LABELS, "".join(rows).encode())
    origin = {
        "kind": kind,
        "split": split,
        "count": count,
        "seed": seed,
        "rule": TURNED_RULE if turned else RULE,
        "fonts": [font.name for chinese in (True, False) for font in fonts_of(split, chinese)],
        "strangers": fonts.strangers,
        "packages": {**fonts.versions, **{name: stock.versions[name] for name in stock.versions}},
    }
    write_bytes(into / "origin.json", json.dumps(origin, indent=1).encode())


def _entry(line: Line) -> dict[str, object]:
    return {"transcription": line.text, "points": [[round(x, 2), round(y, 2)] for x, y in line.corners]}


def page(desk: Desk, photograph: Image) -> tuple[Float, list[Line]]:
    """float32 [h,w,3], 0..255, as large as the photograph, and the lines on it, in pixels of the page."""
    rng = desk.rng
    canvas = photograph.astype(np.float32)
    size = canvas.shape[:2]
    choice = rng.random()
    for layout, share in _SHEETS:
        if choice < share:
            sheet = layout(desk)
            if desk.chance(0.3):  # a scan: nothing but paper, and hardly askew
                canvas[...] = sheet.color[0, 0]
                return canvas, place(canvas, sheet, perspective(sheet, rng, size, 0.03, 0.0, 1.0))
            return canvas, place(canvas, sheet, perspective(sheet, rng, size, 0.3, 0.12, 1.0))
        choice -= share
    return canvas, _signs(canvas, desk)


def _signs(canvas: Float, desk: Desk) -> list[Line]:
    lines: list[Line] = []
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(int(desk.rng.integers(SIGNS[0], SIGNS[1] + 1))):
        sheet = layouts.sign(desk)
        for _ in range(TRIES):
            matrix = perspective(sheet, desk.rng, canvas.shape[:2], 0.35, 0.15, 0.6)
            spot = cv2.boundingRect(_seen(_corners(sheet), matrix).astype(np.float32))
            if all(overlap(spot, other) == 0 for other in taken):
                taken.append(spot)
                lines += place(canvas, sheet, matrix)
                break
    return lines


def _corners(sheet: Sheet) -> NDArray[np.float64]:
    height, width = sheet.size
    return np.asarray([(0, 0), (width, 0), (width, height), (0, height)], np.float64)


def _seen(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    seen: NDArray[np.float64] = cv2.perspectiveTransform(points[None], matrix)[0]
    return seen


def perspective(
    sheet: Sheet, rng: np.random.Generator, page: tuple[int, ...], turn: float, skew: float, widest: float
) -> Matrix:
    """A map from the sheet to a place on the page, of (height, width) pixels, that holds all of it.

    Turned by up to `turn` radians (mostly less), corners moved by up to `skew` of the shorter side, never
    enlarged, and at most `widest` of the page's sides large.
    """
    sides = np.asarray(page[::-1])
    corners = _corners(sheet)
    angle = turn * float(rng.uniform(-1, 1)) ** 3
    rotation = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen = corners @ rotation.T + rng.uniform(-skew, skew, (4, 2)) * min(sheet.size) / 2
    extent = np.ptp(seen, axis=0)
    seen = (seen - seen.min(axis=0)) * min(1.0, float((widest * sides / extent).min()))
    seen += rng.uniform(0, 1, 2) * (sides - np.ptp(seen, axis=0))
    matrix: Matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))
    return matrix


def place(canvas: Float, sheet: Sheet, matrix: Matrix) -> list[Line]:
    """Blend the sheet into the canvas (in place) through `matrix`; its lines in pixels of the canvas."""
    # OpenCV means the middle of a pixel by its number, we mean its corner.
    half = np.asarray([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    centred = np.linalg.inv(half) @ matrix @ half
    size = (canvas.shape[1], canvas.shape[0])
    color = cv2.warpPerspective(sheet.color, centred, size, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.warpPerspective(sheet.alpha, centred, size)[..., None] / 255
    canvas[...] = canvas * (1 - weight) + color * weight
    return [Line(line.text, _seen(line.corners, matrix)) for line in sheet.lines]
