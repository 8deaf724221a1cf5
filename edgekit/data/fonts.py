"""Freely licensed fonts out of Debian packages, and letters as pixels.

Evaluation has fonts of its own: a model must not look good because it was calibrated on the same shapes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from edgekit.data import debian
from edgekit.data.cutouts import Split
from edgekit.data.files import build_once, sha256_of, write_bytes
from edgekit.data.sources import Log
from edgekit.errors import EdgekitError

RULE = 1  # raise it when the table changes
INKED = 64  # of 255, from which a pixel belongs to a letter
_SIZES = 256  # opened fonts are kept; a Chinese one maps its file, so that this costs little


@dataclass(frozen=True)
class Font:
    """A face of a file. `sha256` is that of Debian 12, with which the figures in this repository were made;
    another release's file serves as well, but gives other pixels, and the report says so."""

    package: str
    path: str
    sha256: str
    chinese: bool
    evaluation: bool  # else calibration and training
    face: int = 0

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).stem


_NOTO, _DEJAVU, _LIBERATION, _LATO = (
    f"usr/share/fonts/{folder}/"
    for folder in ("opentype/noto", "truetype/dejavu", "truetype/liberation", "truetype/lato")
)
_SIMPLIFIED = 2  # the face of Noto CJK with the shapes of mainland China

FONTS = (
    Font(
        "fonts-noto-cjk", f"{_NOTO}NotoSansCJK-Regular.ttc",
        "b76b0433203017ca80401b2ee0dd69350349871c4b19d504c34dbdd80541690a", True, False, _SIMPLIFIED,
    ),
    Font(
        "fonts-noto-cjk", f"{_NOTO}NotoSansCJK-Bold.ttc",
        "faa5f3656a78b2e2d450d27fe8382c778bc2b6bb5ea29c986664a6a435056ceb", True, False, _SIMPLIFIED,
    ),
    Font(
        "fonts-arphic-ukai", "usr/share/fonts/truetype/arphic/ukai.ttc",
        "cfc758e69386a21bade8cb3b373fda20d7f2fac6e8904ced2ded98588b63e274", True, False,
    ),
    Font(
        "fonts-dejavu-core", f"{_DEJAVU}DejaVuSans.ttf",
        "abdc775b21b1bc470d50c97e790d276f2054b7504e56e5bd3e64f48d68582322", False, False,
    ),
    Font(
        "fonts-dejavu-core", f"{_DEJAVU}DejaVuSans-Bold.ttf",
        "0d977336a6d5fba34eab8e3199eb218327161b5143749f802982c2bc34df0c96", False, False,
    ),
    Font(
        "fonts-dejavu-core", f"{_DEJAVU}DejaVuSerif.ttf",
        "13e61509f5c81d7c3132810f4f903e3523df89c802bf6e0674621e8f659cdfe1", False, False,
    ),
    Font(
        "fonts-dejavu-core", f"{_DEJAVU}DejaVuSansMono.ttf",
        "0f5db4f1749979d961019838b160bec74abdf7f9eca69553fe1aa856bbff49a4", False, False,
    ),
    Font(
        "fonts-noto-cjk", f"{_NOTO}NotoSerifCJK-Regular.ttc",
        "a04178ec485dffdff7cc0c0c20e1fce9202d7e2160d805e8e44a4c8841c58481", True, True, _SIMPLIFIED,
    ),
    Font(
        "fonts-noto-cjk", f"{_NOTO}NotoSerifCJK-Bold.ttc",
        "a5d4b046c127da3d7c72f98b46c41489cd29bf52abfdf18aba920903e920d4ac", True, True, _SIMPLIFIED,
    ),
    Font(
        "fonts-wqy-microhei", "usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
        "2420e8078af796b19a3f6ef13de527a1a91c1e7171eea115926c614ced1009b3", True, True,
    ),
    Font(
        "fonts-liberation", f"{_LIBERATION}LiberationSans-Regular.ttf",
        "f8ace1f892b2bd9dc1792ba7f097fa7588f84fed48321480e04de5390828221f", False, True,
    ),
    Font(
        "fonts-liberation", f"{_LIBERATION}LiberationSerif-Regular.ttf",
        "1c9c77c2cd0f3c2d2aeef53ea50a4d5d3d684ac73a431d7c70d7864887d194a3", False, True,
    ),
    Font(
        "fonts-liberation", f"{_LIBERATION}LiberationMono-Regular.ttf",
        "a2e642d350acb1c5e368f375db8a4ef5a2f4ff2b79056d8c3be8bd8a7e9fcb44", False, True,
    ),
    Font(
        "fonts-lato", f"{_LATO}Lato-Bold.ttf",
        "e0b1c4de011de8dd077cf21f97919fc31158eb290ee1176cbae06d500a6304bc", False, True,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class FontStock:
    """The files of `FONTS` below `root`; `versions`: package -> version; `strangers`: names of fonts whose
    contents are not those that the figures were made with."""

    root: Path
    versions: dict[str, str]
    strangers: tuple[str, ...]

    def file(self, font: Font) -> Path:
        return self.root / PurePosixPath(font.path).name


def fonts_of(split: Split, chinese: bool) -> list[Font]:
    """The fonts that a split may use."""
    return [font for font in FONTS if font.chinese == chinese and font.evaluation == (split == "evaluation")]


def open_fonts(cache: Path, offline: bool, log: Log) -> FontStock:
    """The fonts from the cache, or from Debian's packages (70 MB, once).

    Raises EK403 when they are not cached and packages cannot be had or lack one.
    """

    def make(folder: Path) -> None:
        if offline:
            raise EdgekitError("EK403", "Fonts for rendered pages are not in the cache, and it is offline.")
        _fill(folder, cache, log)

    root = build_once(cache / "data" / f"fonts-{RULE}", make, log)
    said = json.loads((root / "versions.json").read_text())
    return FontStock(root, said["packages"], tuple(said["strangers"]))


def _fill(folder: Path, cache: Path, log: Log) -> None:
    stock = FontStock(folder, {}, ())
    wanted: dict[str, list[str]] = {}
    for font in FONTS:
        wanted.setdefault(font.package, []).append(font.path)
    by_path = {font.path: font for font in FONTS}

    def take(package: str, path: str, data: bytes) -> None:
        if path in by_path:
            write_bytes(stock.file(by_path[path]), data)

    versions = debian.unpack(wanted, cache / "data", take, log)
    missing = sorted(font.path for font in FONTS if not stock.file(font).is_file())
    if missing:
        raise EdgekitError(
            "EK403", f"Debian's packages ({versions}) lack fonts for rendered pages: {', '.join(missing)}."
        )
    strangers = sorted({font.name for font in FONTS if sha256_of(stock.file(font)) != font.sha256})
    if strangers:
        log(f"other versions of fonts than the figures were made with: {', '.join(strangers)}")
    said = {"packages": versions, "strangers": strangers}
    write_bytes(folder / "versions.json", json.dumps(said, indent=1).encode())


@lru_cache(_SIZES)
def load(file: Path, face: int, size: int) -> ImageFont.FreeTypeFont:
    """A face at `size` pixels to the em."""
    # Raqm would shape letters where it happens to be installed: the same pixels everywhere.
    return ImageFont.truetype(str(file), size, index=face, layout_engine=ImageFont.Layout.BASIC)


@dataclass(frozen=True)
class Ink:
    """A line of text as pixels: float32 [h,w], 0..255, trimmed to the letters (from INKED on). `left` and
    `top`: where its corner lies from the pen, which stands on the baseline where the line begins."""

    alpha: NDArray[np.float32]
    left: int
    top: int


def ink(font: ImageFont.FreeTypeFont, text: str) -> Ink:
    """Raises ValueError for a text that leaves no mark."""
    x0, y0, x1, y1 = (int(value) for value in font.getbbox(text, anchor="ls"))
    # A pixel to spare on each side: a box is not exact where hinting moves an outline.
    canvas = Pillow.new("L", (max(1, x1 - x0 + 2), max(1, y1 - y0 + 2)))
    ImageDraw.Draw(canvas).text((1 - x0, 1 - y0), text, fill=255, font=font, anchor="ls")
    alpha = np.asarray(canvas, np.float32)
    rows, columns = np.nonzero((alpha >= INKED).any(1))[0], np.nonzero((alpha >= INKED).any(0))[0]
    if not rows.size:
        raise ValueError(f"{text!r} leaves no mark")
    part = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Ink(part, x0 - 1 + int(columns[0]), y0 - 1 + int(rows[0]))
