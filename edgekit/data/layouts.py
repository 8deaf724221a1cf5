"""Flat sheets with lines of text on them, whose places are known: paragraphs, receipts, tables, signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from edgekit.data.corpus import Corpus, fill
from edgekit.data.fonts import Font, FontStock, Ink, ink, load

Float = NDArray[np.float32]
Face = ImageFont.FreeTypeFont

WIDEST, TALLEST = 900, 900  # pixels of a sheet
_NEVER_FIRST = "，。、：；！？"  # no line of Chinese begins with one of these
MARGIN = 0.1  # of the letters' height: people, too, draw boxes of lines a little wide
_FAINTEST = 90  # the least distance between the grey of ink and paper


@dataclass(frozen=True)
class Line:
    """A line of text and the corners of its box, float64 [4,2], clockwise from the upper left; pixel i covers
    i to i + 1. The box holds the letters and MARGIN around them."""

    text: str
    corners: NDArray[np.float64]


@dataclass
class Sheet:
    """`color` float32 [h,w,3] BGR and `alpha` float32 [h,w], both 0..255, with the lines on it."""

    color: Float
    alpha: Float
    lines: list[Line] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        return self.color.shape[0], self.color.shape[1]

    def write(self, text: str, letters: Ink, x: float, baseline: float, color: Float) -> bool:
        """Blend a line in, its letters beginning at `x`; False, and nothing done, where it does not fit."""
        left, top = round(x), round(baseline) + letters.top
        height, width = letters.alpha.shape
        if left < 0 or top < 0 or top + height > self.size[0] or left + width > self.size[1]:
            return False
        weight = letters.alpha[..., None] / 255
        part = self.color[top : top + height, left : left + width]
        part[...] = part * (1 - weight) + color * weight
        more = MARGIN * height
        x0, y0, x1, y1 = left - more, top - more, left + width + more, top + height + more
        self.lines.append(Line(text, np.asarray([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)))
        return True


@dataclass(frozen=True)
class Colors:
    paper: Float  # BGR
    ink: Float


@dataclass(frozen=True)
class Desk:
    """What a page is written with: random numbers, and the texts and fonts of one split."""

    rng: np.random.Generator
    corpus: Corpus
    stock: FontStock
    chinese: Sequence[Font]
    latin: Sequence[Font]

    def face(self, chinese: bool, size: int) -> Face:
        fonts = self.chinese if chinese else self.latin
        font = fonts[int(self.rng.integers(len(fonts)))]
        return load(self.stock.file(font), font.face, size)

    def pick(self, texts: Sequence[str]) -> str:
        return texts[int(self.rng.integers(len(texts)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def label(self, chinese: bool) -> str:
        """A few words, at times with a number in them."""
        if self.chance(0.25):
            # Templates with Chinese in them ask for a Chinese font.
            fitting = [text for text in self.corpus.mixed if chinese or text.isascii()]
            text = fill(self.pick(fitting), self.rng)
            if chinese or text.isascii():
                return text
        return self.pick(self.corpus.chinese_labels if chinese else self.corpus.english_labels)

    def colors(self, reversed_share: float) -> Colors:
        """Dark ink on light paper, or the reverse, a little tinted, with enough between them to read."""
        light = float(self.rng.uniform(185, 255))
        dark = float(self.rng.uniform(0, min(110, light - _FAINTEST)))
        tint = self.rng.uniform(-18, 18, (2, 3))
        paper, letters = np.clip(np.asarray([[light], [dark]]) + tint, 0, 255).astype(np.float32)
        return Colors(letters, paper) if self.chance(reversed_share) else Colors(paper, letters)


def blank(height: int, width: int, color: Float) -> Sheet:
    return Sheet(np.full((height, width, 3), color, np.float32), np.full((height, width), 255, np.float32))


def wrap(text: str, face: Face, width: float, chinese: bool) -> list[str]:
    """Lines of at most `width` pixels, save that a word or a Chinese punctuation mark may stick out."""
    pieces = list(text) if chinese else [f"{word} " for word in text.split()]
    lines = [""]
    for piece in pieces:
        fits = face.getlength((lines[-1] + piece).rstrip()) <= width
        if lines[-1] and not fits and piece not in _NEVER_FIRST:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines]


def paragraphs(desk: Desk) -> Sheet:
    """A title and running text in one or two columns."""
    rng = desk.rng
    height, width = int(rng.integers(520, TALLEST + 1)), int(rng.integers(560, WIDEST + 1))
    colors = desk.colors(0.08)
    sheet = blank(height, width, colors.paper)
    chinese = desk.chance(0.55)
    size = int(rng.integers(18, 35))
    body = desk.face(chinese, size)
    margin, leading = float(rng.uniform(24, 60)), size * float(rng.uniform(1.3, 1.8))
    top = margin + size
    if desk.chance(0.7):
        large = round(size * float(rng.uniform(1.3, 1.9)))
        title = desk.label(chinese)
        top += large
        sheet.write(title, ink(desk.face(chinese, large), title), margin, top, colors.ink)
        top += 2 * size
    columns = 2 if size <= 24 and width >= 760 and desk.chance(0.5) else 1
    gutter = 2.5 * size
    room = (width - 2 * margin - (columns - 1) * gutter) / columns
    for column in range(columns):
        left, y = margin + column * (room + gutter), top
        while y <= height - margin:
            sentences = [
                desk.pick(desk.corpus.chinese if chinese else desk.corpus.english)
                for _ in range(int(rng.integers(1, 4)))
            ]
            # A few pixels less than there are: punctuation may stick out.
            for line in wrap(("" if chinese else " ").join(sentences), body, room - size, chinese):
                if y > height - margin:
                    break
                letters = ink(body, line)
                sheet.write(line, letters, left + letters.left, y, colors.ink)
                y += leading
            y += float(rng.uniform(0.2, 0.8)) * size
    return sheet


def receipt(desk: Desk) -> Sheet:
    """A shop's name, what was bought with prices at the right edge, sums, and a few facts."""
    rng = desk.rng
    chinese = desk.chance(0.6)
    size = int(rng.integers(18, 30))
    width = round(size * float(rng.uniform(17, 22)))
    colors = desk.colors(0.03)
    sheet = blank(TALLEST, width, colors.paper)
    body = desk.face(chinese, size)
    margin, leading = 1.2 * size, size * float(rng.uniform(1.4, 1.9))

    def put(text: str, y: float, where: float, face: Face = body) -> None:
        """`where`: 0 at the left edge, 1 at the right one."""
        letters = ink(face, text)
        sheet.write(
            text, letters, margin + where * (width - 2 * margin - letters.alpha.shape[1]), y, colors.ink
        )

    def rule(y: float) -> None:
        step = max(3, size // 3)
        for x in range(int(margin), int(width - margin), 2 * step):
            cv2.line(sheet.color, (x, round(y)), (x + step, round(y)), colors.ink.tolist(), 1)

    labels = desk.corpus.chinese_labels if chinese else desk.corpus.english_labels
    large = round(1.5 * size)
    y = margin + large
    put(desk.pick(labels), y, 0.5, desk.face(chinese, large))
    y += 0.8 * leading
    rule(y)
    y += leading
    for _ in range(int(rng.integers(3, 11))):
        put(desk.pick(labels), y, 0)
        if desk.chance(0.4):
            put(fill("x{percent}", rng).rstrip("%"), y, 0.62)
        put(fill("{price}", rng), y, 1)
        y += leading
    rule(y - 0.4 * leading)
    y += 0.6 * leading
    for _ in range(int(rng.integers(1, 4))):
        put(desk.pick(labels), y, 0)
        put(fill("{price}", rng), y, 1)
        y += leading
    rule(y - 0.4 * leading)
    y += 0.6 * leading
    for _ in range(int(rng.integers(1, 4))):
        put(desk.label(chinese), y, float(rng.choice([0, 0.5])))
        y += leading
    height = min(TALLEST, round(y + margin))
    return Sheet(sheet.color[:height], sheet.alpha[:height], sheet.lines)


def table(desk: Desk) -> Sheet:
    """A grid of cells with a head; each cell is a line of text."""
    rng = desk.rng
    chinese = desk.chance(0.6)
    size = int(rng.integers(17, 28))
    colors = desk.colors(0.05)
    body, head = desk.face(chinese, size), desk.face(chinese, size)
    pad, leading = 0.8 * size, size * float(rng.uniform(1.6, 2.4))
    n_rows = int(rng.integers(4, 13))
    numbers = [text for text in desk.corpus.mixed if text.isascii()]
    columns: list[list[str]] = []
    widths: list[int] = []
    for column in range(int(rng.integers(2, 5))):
        texts = [desk.pick(desk.corpus.chinese_labels if chinese else desk.corpus.english_labels)]
        for _ in range(n_rows):
            text = fill(desk.pick(numbers), rng) if column and desk.chance(0.5) else ""
            texts.append(text if text and (chinese or text.isascii()) else desk.label(chinese))
        wide = max(head.getlength(texts[0]), *(body.getlength(text) for text in texts[1:]))
        if sum(widths) + wide + 2 * pad > WIDEST - 2 * size:
            break
        columns.append(texts)
        widths.append(round(wide + 2 * pad))
    height = min(TALLEST, round((n_rows + 1) * leading + 2 * size))
    sheet = blank(height, sum(widths) + 2 * size, colors.paper)
    line = (0.5 * colors.paper + 0.5 * colors.ink).tolist()
    bottom = round(min(height - size, size + (n_rows + 1) * leading))
    ruled, filled = desk.chance(0.75), desk.chance(0.5)
    if filled:
        shade = (0.85 * colors.paper + 0.15 * colors.ink).tolist()
        cv2.rectangle(sheet.color, (size, size), (size + sum(widths), round(size + leading)), shade, -1)
    x = float(size)
    for texts, width in zip(columns, widths, strict=True):
        where = float(rng.choice([0, 0.5]))
        for row, text in enumerate(texts):
            y = size + row * leading
            if y + leading > bottom + 1:
                break
            letters = ink(body if row else head, text)
            room = width - 2 * pad - letters.alpha.shape[1]
            sheet.write(text, letters, x + pad + where * room, y + (leading + 0.7 * size) / 2, colors.ink)
            if ruled:
                place = (round(x), round(y)), (round(x + width), round(y + leading))
                cv2.rectangle(sheet.color, *place, line, 1)
        x += width
    return sheet


def sign(desk: Desk) -> Sheet:
    """One to three large lines on a coloured panel, or bare ones with a shadow that lifts them off."""
    rng = desk.rng
    size = int(rng.integers(28, 85))
    texts = [(desk.label(chinese), chinese) for chinese in rng.random(int(rng.integers(1, 4))) < 0.55]
    inks = [
        (text, ink(desk.face(chinese, size if not k else max(22, round(size * 0.6))), text))
        for k, (text, chinese) in enumerate(texts)
    ]
    pad = round(size * float(rng.uniform(0.4, 0.9)))
    width = max(letters.alpha.shape[1] for _, letters in inks) + 2 * pad
    gap = round(size * 0.45)
    height = sum(letters.alpha.shape[0] + gap for _, letters in inks) - gap + 2 * pad
    bare = desk.chance(0.3)
    strong = rng.uniform(0, 200, 3).astype(np.float32)
    # As grey as the eye has it: a light letter on a dark panel, or the reverse.
    is_dark = float(strong @ np.asarray([0.114, 0.587, 0.299], np.float32)) < 120
    letter = np.asarray(rng.uniform(215, 255, 3) if is_dark or bare else rng.uniform(0, 35, 3), np.float32)
    sheet = blank(height, width, np.zeros(3, np.float32) if bare else strong)
    y, where = pad, float(rng.choice([0, 0.5]))
    shape = np.zeros((height, width), np.float32)
    for text, letters in inks:
        h, w = letters.alpha.shape
        x = pad + where * (width - 2 * pad - w)
        sheet.write(text, letters, x, y - letters.top, letter)
        shape[y : y + h, round(x) : round(x) + w] = letters.alpha
        y += h + gap
    if bare:
        shadow = cv2.GaussianBlur(shape, (0, 0), max(2.0, size / 12)) * 1.6
        sheet.alpha = np.clip(np.maximum(shape, shadow), 0, 255).astype(np.float32)
    return sheet
