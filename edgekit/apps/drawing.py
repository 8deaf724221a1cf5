"""Answers drawn for a person: the picture with outlines, a sheet with texts at their places, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from edgekit.data import fonts
from edgekit.data.files import write_bytes
from edgekit.data.images import SUFFIXES, Image
from edgekit.data.sources import Log
from edgekit.errors import EdgekitError

Face = Callable[[int], ImageFont.FreeTypeFont]  # of a size in pixels
Color = tuple[int, int, int]  # red, green, blue

INK, PLAIN, DIFFERS = (30, 30, 30), (0, 140, 60), (220, 30, 30)
LONGEST, SHORTEST = 1600, 700  # pixels: pictures are scaled so that their longer side lies between
_GAP = 8
_LATIN = 0x250  # letters below it are in DejaVu
_CHINESE = next(font for font in fonts.FONTS if font.name == "NotoSansCJK-Regular")


@dataclass(frozen=True)
class Mark:
    """Something found: an outline [4,2] in pixels of the picture, and what is said about it."""

    quad: NDArray[np.float32]
    caption: str
    differs: bool = False

    @property
    def color(self) -> Color:
        return DIFFERS if self.differs else PLAIN


def check_name(out: Path) -> None:
    """Raises EK107 when `out` is not the name of a picture."""
    if out.suffix.lower() not in SUFFIXES:
        raise EdgekitError(
            "EK107", f"--out {out}: a picture's name, please, ending in {', '.join(SUFFIXES)}."
        )


def face_for(texts: Sequence[str], cache: Path, offline: bool, log: Log) -> Face:
    """A font that has the letters of the texts. Chinese ones come with the fonts for rendered pages.

    Raises EK403 when these are neither in the cache nor to be had.
    """
    if max((ord(letter) for text in texts for letter in text), default=0) < _LATIN:
        import matplotlib

        file, face = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", 0
    else:
        file, face = fonts.open_fonts(cache, offline, log).file(_CHINESE), _CHINESE.face
    return lambda size: fonts.load(file, face, size)


def scaled(image: Image, marks: Sequence[Mark]) -> tuple[Image, list[Mark]]:
    """A picture and its marks at a size that fits a screen."""
    longer = max(image.shape[:2])
    factor = min(LONGEST / longer, max(1.0, SHORTEST / longer))
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    seen = cv2.resize(image, (width, height), interpolation=how)
    return seen, [Mark(mark.quad * np.float32(factor), mark.caption, mark.differs) for mark in marks]


def outlined(image: Image, marks: Sequence[Mark], face: Face, *, numbered: bool) -> Image:
    """The picture with each mark's outline, and its number (from 1) or caption at the upper left corner."""
    canvas = Pillow.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    draw = ImageDraw.Draw(canvas)
    font = face(max(12, max(image.shape[:2]) // 60))
    for number, mark in enumerate(marks, 1):
        corners = [(float(x), float(y)) for x, y in mark.quad]
        draw.polygon(corners, outline=mark.color, width=2)
        text = str(number) if numbered else mark.caption
        x, y = corners[0]
        # Above the outline, or just inside where there is no room above.
        place = (max(0.0, x), y - font.size - 4 if y >= font.size + 4 else y + 2)
        draw.rectangle(draw.textbbox(place, text, font=font), fill=mark.color)
        draw.text(place, text, fill="white", font=font)
    return np.ascontiguousarray(np.asarray(canvas)[:, :, ::-1])


def written(size: tuple[int, int], marks: Sequence[Mark], face: Face) -> Image:
    """A white sheet of (height, width) with each caption where it was read, as large as its outline."""
    canvas = Pillow.new("RGB", (size[1], size[0]), "white")
    draw = ImageDraw.Draw(canvas)
    for mark in marks:
        sides = np.linalg.norm(mark.quad - np.roll(mark.quad, -1, axis=0), axis=1)
        long, short = max(sides[0], sides[1]), min(sides[0], sides[1])
        font = face(max(8, int(0.8 * short)))
        if (length := font.getlength(mark.caption)) > long:
            font = face(max(8, int(font.size * long / length)))
        (left, top), (_, bottom) = mark.quad.min(axis=0), mark.quad.max(axis=0)
        color = mark.color if mark.differs else INK
        if sides[1] > sides[0]:  # a line from top to bottom: letter below letter
            for row, letter in enumerate(mark.caption):
                draw.text((float(left), float(top) + row * font.size), letter, fill=color, font=font)
        else:
            draw.text(
                (float(left), float(top + bottom) / 2), mark.caption, fill=color, font=font, anchor="lm"
            )
    return np.ascontiguousarray(np.asarray(canvas)[:, :, ::-1])


def titled(image: Image, lines: Sequence[str], face: Face) -> Image:
    """The picture below lines of text."""
    font = face(18)
    height = 26 * len(lines) + _GAP
    width = max(image.shape[1], *(math.ceil(font.getlength(line)) + 2 * _GAP for line in lines))
    head = Pillow.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(head)
    for row, line in enumerate(lines):
        draw.text((_GAP, _GAP // 2 + 26 * row), line, fill=INK, font=font)
    return stacked([np.asarray(head)[:, :, ::-1], image])


def beside(images: Sequence[Image]) -> Image:
    """Pictures in a row, upper edges level."""
    tall = max(image.shape[0] for image in images)
    return np.hstack(
        [np.pad(image, ((0, tall - len(image)), (0, _GAP), (0, 0)), constant_values=255) for image in images]
    )


def stacked(images: Sequence[Image]) -> Image:
    """Pictures one below the other, left edges level."""
    wide = max(image.shape[1] for image in images)
    return np.vstack(
        [np.pad(image, ((0, 0), (0, wide - image.shape[1]), (0, 0)), constant_values=255) for image in images]
    )


def save(image: Image, out: Path) -> None:
    """Raises EK410 when the disk is full."""
    write_bytes(out, cv2.imencode(out.suffix.lower(), image)[1].tobytes())
