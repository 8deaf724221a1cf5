"""Scenes composed of cut-outs on background photographs: detection with exact boxes, without people.

Everything random comes from PCG64 seeded by (seed, kind, split, index of the scene), so a scene
does not depend on how many others are made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgekit.data.cutouts import COCO, COCO_LABELS, LETTERING, RULE, Split, background_splits, cutout_splits
from edgekit.data.files import write_bytes
from edgekit.data.images import Image, read_image
from edgekit.data.stock import Stock
from edgekit.errors import EdgekitError

Progress = Callable[[str, int, int], None]  # label, done, total
Box = tuple[int, int, int, int]  # x, y, width, height in pixels
Float = NDArray[np.float32]

DETECTION_SIDE, CLASSIFICATION_SIDE = 640, 320
THINGS = (1, 4)  # per scene, both inclusive
DETECTION_THING, CLASSIFICATION_THING = (90, 330), (180, 300)  # longer side in pixels
MAX_ENLARGE = 3  # beyond, a small cut-out is a blur that no detector was trained on
MAX_OVERLAP = 0.2  # of the smaller box
SOLID = 128  # alpha from which a pixel belongs to the thing
OTHER_SHARE = 0.4  # of things without a COCO class in calibration and training scenes
TRIES = 30
SPLITS: tuple[Split, ...] = ("calibration", "training", "evaluation")
KINDS = (
    "composed_detection",
    "composed_classification",
    "photographs",
    "rendered_pages",
    "rendered_lines",
    "turned_pages",
    "turned_lines",
)


def generator(seed: int, kind: str, split: Split, index: int) -> np.random.Generator:
    """The random numbers of one scene."""
    return np.random.Generator(np.random.PCG64([seed, KINDS.index(kind), SPLITS.index(split), index]))


@dataclass(frozen=True)
class Sprite:
    """A cut-out ready to be placed: `color` float32 [h, w, 3] BGR, `alpha` float32 [h, w] 0..255."""

    color: Float
    alpha: Float

    @property
    def solid(self) -> NDArray[np.bool_]:
        return self.alpha >= SOLID


def extent(mask: NDArray[np.bool_]) -> Box | None:
    """The tight box around the true pixels of [h, w]; None when there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def load_cutout(path: Path) -> NDArray[np.uint8]:
    """uint8 [h, w, 4] BGRA, trimmed to its solid pixels. Raises EK406 when there is no alpha or no pixel."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise EdgekitError("EK406", f"{path} is no 8-bit picture with an alpha channel.")
    box = extent(image[..., 3] >= SOLID)
    if box is None:
        raise EdgekitError("EK406", f"{path} is transparent all over.")
    x, y, width, height = box
    return np.ascontiguousarray(image[y : y + height, x : x + width])


def make_sprite(cutout: NDArray[np.uint8], longer_side: int, flip: bool, gain: float, bias: float) -> Sprite:
    """Resize a trimmed cut-out, change its contrast and brightness, feather its edge.

    Colours are resized premultiplied by alpha, or what hides under transparent pixels bleeds in.
    """
    height, width = cutout.shape[:2]
    scale = longer_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    alpha = cutout[..., 3].astype(np.float32)
    color = cutout[..., :3].astype(np.float32) * (alpha[..., None] / 255)
    alpha, color = cv2.resize(alpha, size, interpolation=how), cv2.resize(color, size, interpolation=how)
    alpha, color = (
        np.pad(alpha, 2),
        np.pad(color, ((2, 2), (2, 2), (0, 0))),
    )  # room for the blur to see outside
    color = color / np.maximum(alpha[..., None] / 255, 1e-3)
    color = np.clip((color - 128) * gain + 128 + bias, 0, 255)
    alpha = np.minimum(alpha, cv2.GaussianBlur(alpha, (0, 0), 0.8))
    if flip:
        alpha, color = alpha[:, ::-1], color[:, ::-1]
    return Sprite(np.ascontiguousarray(color, np.float32), np.ascontiguousarray(alpha, np.float32))


def paste(canvas: Float, sprite: Sprite, x: int, y: int) -> NDArray[np.bool_]:
    """Blend `sprite` into `canvas` (in place) at its upper left corner; returns its solid pixels [H, W]."""
    height, width = sprite.alpha.shape
    part = canvas[y : y + height, x : x + width]
    weight = sprite.alpha[..., None] / 255
    part[...] = part * (1 - weight) + sprite.color * weight
    mask = np.zeros(canvas.shape[:2], np.bool_)
    mask[y : y + height, x : x + width] = sprite.solid
    return mask


def overlap(a: Box, b: Box) -> float:
    """The common area as a share of the smaller box."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height) / max(1, min(a[2] * a[3], b[2] * b[3]))


def crop_square(image: Image, rng: np.random.Generator, side: int, least: float) -> Image:
    """A random square of at least `least` of the shorter side, resized to `side`, perhaps flipped."""
    height, width = image.shape[:2]
    cut = max(1, int(min(height, width) * rng.uniform(least, 1)))
    x, y = int(rng.integers(0, width - cut + 1)), int(rng.integers(0, height - cut + 1))
    how = cv2.INTER_AREA if cut > side else cv2.INTER_LINEAR
    square = cv2.resize(image[y : y + cut, x : x + cut], (side, side), interpolation=how)
    if rng.random() < 0.5:
        square = square[:, ::-1]
    return np.ascontiguousarray(square, np.uint8)


def write_jpeg(path: Path, image: Image) -> None:
    """JPEG of quality 95. Raises EK410 when the disk is full."""
    write_bytes(path, cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes())


class _Material:
    """What one split may use of the stock, decoded at most once."""

    def __init__(self, stock: Stock, split: Split) -> None:
        chosen = [
            file for file, of in cutout_splits().items() if of == split and stock.cutout(file).is_file()
        ]
        self.classes: dict[str, list[str]] = {}
        for file in sorted(chosen):
            if file in COCO:
                self.classes.setdefault(COCO[file], []).append(file)
        self.labels = sorted(self.classes)
        self.others = sorted(file for file in chosen if file not in COCO)
        self.backgrounds = sorted(
            file
            for file, of in background_splits().items()
            if of == split and stock.background(file).is_file()
        )
        self.used: dict[str, set[str]] = {"cutouts": set(), "backgrounds": set()}
        self._cutout = lru_cache(None)(lambda file: load_cutout(stock.cutout(file)))
        self._background = lru_cache(None)(lambda file: read_image(stock.background(file)))

    def canvas(self, rng: np.random.Generator, side: int) -> Float:
        file = _pick(rng, self.backgrounds)
        self.used["backgrounds"].add(file)
        return crop_square(self._background(file), rng, side, 0.5).astype(np.float32)

    def sprite(self, rng: np.random.Generator, file: str, sides: tuple[int, int]) -> Sprite:
        cutout = self._cutout(file)
        most = min(sides[1], max(sides[0], MAX_ENLARGE * max(cutout.shape[:2])))
        flip = bool(rng.random() < 0.5) and file not in LETTERING
        side = int(rng.integers(sides[0], most + 1))
        return make_sprite(cutout, side, flip, float(rng.uniform(0.85, 1.15)), float(rng.uniform(-12, 12)))


def _pick(rng: np.random.Generator, names: Sequence[str]) -> str:
    return names[int(rng.integers(len(names)))]


def compose_detection(
    stock: Stock, split: Split, count: int, seed: int, into: Path, progress: Progress | None = None
) -> None:
    """`count` JPEGs of 640x640 in `into/images`, `into/annotations.json` and `into/origin.json`.

    1 to 4 things each, boxes around their visible pixels with alpha >= 128. In evaluation every
    thing has a COCO class; calibration and training also hold others, which get no annotation.
    COCO format; category ids are indices into `COCO_LABELS`, from 0 (not the 1..90 of the original
    COCO files), image and annotation ids count from 1, `area` is the box's.
    """
    material = _Material(stock, split)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = generator(seed, "composed_detection", split, index)
        canvas, found = _scene(material, rng, with_others=split != "evaluation")
        name = f"images/{index:06d}.jpg"
        write_jpeg(into / name, np.rint(canvas).astype(np.uint8))
        images.append({"id": index + 1, "file_name": name, "width": DETECTION_SIDE, "height": DETECTION_SIDE})
        for label, (x, y, width, height) in found:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": COCO_LABELS.index(label),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
        if progress:
            progress(f"compose {split} scenes", index + 1, count)
    categories = [{"id": number, "name": label} for number, label in enumerate(COCO_LABELS)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    write_bytes(into / "annotations.json", json.dumps(coco).encode())
    _write_origin(into, "composed_detection", stock, split, count, seed, material)


def _scene(
    material: _Material, rng: np.random.Generator, with_others: bool
) -> tuple[Float, list[tuple[str, Box]]]:
    side = DETECTION_SIDE
    canvas = material.canvas(rng, side)
    placed: list[tuple[str, NDArray[np.bool_]]] = []
    boxes: list[Box] = []
    for _ in range(int(rng.integers(THINGS[0], THINGS[1] + 1))):
        if with_others and material.others and rng.random() < OTHER_SHARE:
            file = _pick(rng, material.others)
        else:  # the class first: half of all cut-outs are birds
            file = _pick(rng, material.classes[_pick(rng, material.labels)])
        sprite = material.sprite(rng, file, DETECTION_THING)
        box = extent(sprite.solid)
        if box is None:
            continue
        height, width = sprite.alpha.shape
        for _ in range(TRIES):
            x, y = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
            there = (x + box[0], y + box[1], box[2], box[3])
            if all(overlap(there, other) <= MAX_OVERLAP for other in boxes):
                mask = paste(canvas, sprite, x, y)
                placed = [(label, seen & ~mask) for label, seen in placed]
                placed.append((COCO.get(file, ""), mask))
                boxes.append(there)
                material.used["cutouts"].add(file)
                break
    found = [(label, visible) for label, seen in placed if label and (visible := extent(seen))]
    return canvas, found


def compose_classification(
    stock: Stock, split: Split, count: int, seed: int, into: Path, progress: Progress | None = None
) -> None:
    """`count` JPEGs of 320x320 in `into/images`, each one large thing on a background, and `origin.json`.

    The things need no COCO class and there are no labels.
    """
    material = _Material(stock, split)
    side = CLASSIFICATION_SIDE
    files = sorted([*material.others, *(file for of in material.classes.values() for file in of)])
    for index in range(count):
        rng = generator(seed, "composed_classification", split, index)
        canvas = material.canvas(rng, side)
        file = _pick(rng, files)
        sprite = material.sprite(rng, file, CLASSIFICATION_THING)
        height, width = sprite.alpha.shape
        x, y = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
        paste(canvas, sprite, x, y)
        material.used["cutouts"].add(file)
        write_jpeg(into / f"images/{index:06d}.jpg", np.rint(canvas).astype(np.uint8))
        if progress:
            progress(f"compose {split} pictures", index + 1, count)
    _write_origin(into, "composed_classification", stock, split, count, seed, material)


def _write_origin(
    into: Path, kind: str, stock: Stock, split: Split, count: int, seed: int, material: _Material
) -> None:
    origin = {
        "kind": kind,
        "split": split,
        "count": count,
        "seed": seed,
        "rule": RULE,
        "packages": stock.versions,
        **{name: sorted(files) for name, files in material.used.items()},
    }
    write_bytes(into / "origin.json", json.dumps(origin, indent=1).encode())
