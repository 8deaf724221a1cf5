"""The raw material of composed scenes on disk: cut-outs as packed, backgrounds made smaller."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgekit.data import debian
from edgekit.data.cutouts import BACKGROUNDS, COCO, CUTOUT_PACKAGE, CUTOUT_PREFIX, OTHER, RULE
from edgekit.data.files import build_once, write_bytes
from edgekit.data.images import Image, decode_image
from edgekit.data.sources import Log
from edgekit.errors import EdgekitError

LONGER_SIDE = 1280  # pixels; decoding 5K pictures for each scene would take seconds
ENOUGH = 0.8  # another release of Debian may lack a few of the files; with fewer it is another data set


@dataclass(frozen=True)
class Stock:
    """`cutouts/FILE` and `backgrounds/FILE.jpg` below `root`; `versions`: package -> version."""

    root: Path
    versions: dict[str, str]

    def cutout(self, file: str) -> Path:
        return self.root / "cutouts" / file

    def background(self, file: str) -> Path:
        return self.root / "backgrounds" / f"{file}.jpg"


def shrink(image: Image, longer_side: int) -> Image:
    """Same aspect, longer side at most `longer_side` pixels."""
    height, width = image.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def without_profile(png: bytes) -> bytes:
    """A PNG less its iCCP chunk: many stamps have a faulty one, and libpng prints a line for each."""
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        return png
    kept, at = [png[:8]], 8
    while at + 12 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] != b"iCCP":
            kept.append(png[at:end])
        at = end
    return b"".join(kept)


def open_stock(cache: Path, offline: bool, log: Log) -> Stock:
    """The stock from the cache, or from Debian's packages (370 MB, once).

    Raises EK403 when it is not cached and packages cannot be had or lack too many files.
    """

    def make(folder: Path) -> None:
        if offline:
            raise EdgekitError(
                "EK403", "Pictures for composed scenes are not in the cache, and it is offline."
            )
        _fill(folder, cache, log)

    root = build_once(cache / "data" / f"stock-{RULE}", make, log)
    return Stock(root, json.loads((root / "versions.json").read_text()))


def _fill(folder: Path, cache: Path, log: Log) -> None:
    cutouts = {CUTOUT_PREFIX + file: file for file in (*COCO, *OTHER)}
    backgrounds = {file for files in BACKGROUNDS.values() for file in files}
    seen: set[str] = set()

    def take(package: str, path: str, data: bytes) -> None:
        stock, data = Stock(folder, {}), without_profile(data)
        if path in cutouts:
            write_bytes(stock.cutout(cutouts[path]), data)
        elif path in backgrounds:
            image = shrink(decode_image(data, f"{package}: {path}"), LONGER_SIDE)
            write_bytes(
                stock.background(path), cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 95))[1]
            )
        seen.add(path)

    wanted = {CUTOUT_PACKAGE: tuple(cutouts), **BACKGROUNDS}
    versions = debian.unpack(wanted, cache / "data", take, log)
    for name, files in (("cut-outs", set(cutouts)), ("backgrounds", backgrounds)):
        missing = sorted(files - seen)
        if len(missing) > (1 - ENOUGH) * len(files):
            raise EdgekitError("EK403", f"Debian's packages ({versions}) lack {len(missing)} of the {name}.")
        if missing:
            log(f"these Debian packages lack {len(missing)} {name}, among them {missing[0]}")
    write_bytes(folder / "versions.json", json.dumps(versions, indent=1).encode())
