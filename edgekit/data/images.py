"""Pictures on disk: reading one, and sets of them, above all the user's own folder."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from edgekit.data.cutouts import Split
from edgekit.data.files import sha256_of
from edgekit.data.kinds import Kind
from edgekit.errors import EdgekitError
from edgekit.folder import TaskName

Image = NDArray[np.uint8]  # height x width x 3, blue green red

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# A file of a few kilobytes may say that it holds gigabytes of pixels.
LONGEST_SIDE, MOST_PIXELS = 30_000, 100_000_000
_ORIENTATION = 0x0112  # EXIF's tag


@dataclass(frozen=True)
class ImageSet:
    """Pictures with or without annotations, as a stage gets them.

    `origin` is one sentence for the report; `digest` changes when a name or a content changes; `kind` is the
    kind that was asked for.
    """

    name: str
    paths: tuple[Path, ...]
    annotations: Path | None
    origin: str
    digest: str
    kind: Kind = "folder"


def image_set(
    name: str, root: Path, paths: Iterable[Path], annotations: Path | None, origin: str
) -> ImageSet:
    """An `ImageSet` with its digest: sha256 over names relative to `root` and contents' sha256."""
    paths = tuple(paths)
    digest = hashlib.sha256()
    for path in (*paths, *([annotations] if annotations else [])):
        try:
            digest.update(
                f"{os.path.relpath(path, root)}\0{sha256_of(path)}\n".encode(errors="surrogateescape")
            )
        except OSError as error:
            raise EdgekitError("EK406", f"{path} cannot be read: {error.strerror}.") from error
    return ImageSet(name, paths, annotations, origin, digest.hexdigest())


def decode_image(data: bytes, name: str) -> Image:
    """A picture file's bytes -> uint8 [height, width, 3] in BGR.

    EXIF orientation is applied, grey and CMYK become BGR, 16 bits become 8, transparency lies on white.
    Raises EK406 with `name` when the bytes are no picture, or one of more than LONGEST_SIDE pixels a side or
    MOST_PIXELS in all, which is not decoded.
    """
    _check_size(data, name)
    raw = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
        if image is None:
            raise EdgekitError("EK406", f"{name} is not a picture that can be read (or is damaged).")
        if not data.startswith(b"\xff\xd8"):  # JPEG has no transparency
            image = _flattened(data, image)
    except cv2.error as error:
        raise EdgekitError("EK406", f"{name} is not a picture that can be read: {error}") from error
    return np.ascontiguousarray(image, dtype=np.uint8)


def _header(data: bytes) -> Pillow.Image:
    """Raises what Pillow does where it knows no such picture, or deems it a trap for its size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
        return Pillow.open(io.BytesIO(data))


def _check_size(data: bytes, name: str) -> None:
    """By the file's header alone."""
    try:
        width, height = _header(data).size
        said = f"of {width:,} x {height:,} pixels"
        fits = max(width, height) <= LONGEST_SIDE and width * height <= MOST_PIXELS
    except Pillow.DecompressionBombError:
        said, fits = "of far too many pixels", False
    except Exception:  # damaged, or no picture: it has many errors for that, and OpenCV is asked next
        return
    if not fits:
        raise EdgekitError(
            "EK406",
            f"{name} is a picture {said}: at most {LONGEST_SIDE:,} a side and {MOST_PIXELS / 1e6:.0f} "
            "million in all are read. Make it smaller, or cut it up.",
        )


def _orientation(data: bytes) -> int:
    try:
        return int(_header(data).getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged file, of which OpenCV could read the pixels
        return 1


def _flattened(data: bytes, image: Any) -> Any:
    """What OpenCV leaves undone: transparency, and the orientation of WebP and of PNG with transparency."""
    raw = np.frombuffer(data, np.uint8)
    full = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    clear = full is not None and full.ndim == 3 and full.shape[2] == 4 and full.dtype.kind == "u"
    turn = data[8:12] == b"WEBP" or (clear and data.startswith(b"\x89PNG"))
    if turn:  # `full` is as it lies in the file
        image = cv2.imdecode(raw, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if clear and full.shape[:2] == image.shape[:2]:
        image = _on_white(image, full[..., 3:].astype(np.float32) / np.iinfo(full.dtype).max)
    return _upright(image, _orientation(data)) if turn else image


def _on_white(image: Any, alpha: Any) -> Any:
    if alpha.min() == 1:
        return image
    return np.rint(image * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _upright(image: Any, orientation: int) -> Any:
    """EXIF: 1 to 8, where the first row and column of the file are; 5 to 8 have sides exchanged."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def read_image(path: Path) -> Image:
    """Like `decode_image` for a file. Raises EK406 naming the file when it cannot be read."""
    try:
        data = path.read_bytes()  # cv2.imread knows no unicode paths on some systems
    except OSError as error:
        raise EdgekitError("EK406", f"{path} cannot be read: {error.strerror}.") from error
    return decode_image(data, str(path))


# Files that say what is on pictures, by task; the task is not always known.
_COCO = ("annotations.json", "instances*.json", "annotations/instances*.json")
_LINES = ("*[Ll]abel*.txt", "rec_gt*.txt", "*_list.txt")  # PaddleOCR's
_ANNOTATIONS: dict[TaskName | None, tuple[str, ...]] = {
    None: _COCO,
    "detection": _COCO,
    "classification": ("*_list.txt",),  # PaddleClas's
    "text_detection": _LINES,
    "text_recognition": _LINES,
}


def folder_set(folder: Path, split: Split, count: int | None, task: TaskName | None = None) -> ImageSet:
    """The user's own pictures (jpg jpeg png bmp webp, recursively) for one split.

    With subfolders `calibration/` and `evaluation/` these are used (training: `training/` if it
    exists, else the calibration pictures). Otherwise the pictures are split in two disjoint halves
    by the sha256 of their relative names: evaluation, and calibration with training. `count` takes
    that many at most. Annotations are found in the split's folder or `folder` by the names that are usual
    for the task: COCO's `annotations.json`, `instances*.json` or `annotations/instances*.json`; PaddleClas's
    `*_list.txt`; PaddleOCR's `*label*.txt`, `rec_gt*.txt`, `*_list.txt`.
    Raises EK401 (no folder), EK407 (too few pictures), EK408 (annotations do not fit).
    """
    if not folder.is_dir():
        raise EdgekitError("EK401", f"The data folder {folder} does not exist.")
    parts = [part for part in ("calibration", "evaluation") if (folder / part).is_dir()]
    if len(parts) == 1:
        other = "evaluation" if parts == ["calibration"] else "calibration"
        raise EdgekitError("EK407", f"{folder} has a subfolder {parts[0]}/ but no {other}/: make it, too.")
    if parts:
        part = split if split != "training" or (folder / split).is_dir() else "calibration"
        home, how = folder / part, f"its subfolder {part}/"
        chosen = list_pictures(home)
    else:
        home, how = folder, f"the {split} part, split by the names"
        pictures = list_pictures(folder)
        if len(pictures) < 2:
            raise EdgekitError(
                "EK407", f"{folder} holds one picture: calibration and evaluation need at least one each."
            )
        chosen = halves(pictures, folder)["evaluation" if split == "evaluation" else "calibration"]
    if count is not None and count < len(chosen):
        # By hash, not by name: the first names of a folder are often alike.
        chosen = sorted(sorted(chosen, key=lambda path: _name_hash(path, home))[:count])
    annotations = _find_annotations(folder, home, chosen, split, task)
    origin = f"{len(chosen)} pictures of {folder} ({how})"
    origin += f", annotations from {annotations}" if annotations else ", without annotations"
    return image_set(f"pictures of {folder.name or folder}", folder, chosen, annotations, origin)


def list_pictures(folder: Path) -> list[Path]:
    """All pictures below `folder`, sorted by path; hidden files are passed over. Raises EK407 when none."""
    found: list[Path] = []
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(base, name) for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        raise EdgekitError(
            "EK407",
            f"{folder} holds no picture: looked for *{', *'.join(SUFFIXES)} in it and its subfolders.",
        )
    return sorted(found)


def _name_hash(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()


def halves(paths: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    """`calibration` and `evaluation`: disjoint, together all, both non-empty from two pictures on.

    A picture's half depends on its own name only (the last bit of its hash), so that a new picture
    moves no other one; only where a half would stay empty one picture changes sides.
    """
    ranked = sorted(paths, key=lambda path: _name_hash(path, root))
    odd = [path for path in ranked if int(_name_hash(path, root)[-1], 16) % 2]
    even = [path for path in ranked if path not in set(odd)]
    if not odd and len(even) > 1:
        odd.append(even.pop())
    if not even and odd:
        even.append(odd.pop())
    return {"calibration": sorted(odd), "evaluation": sorted(even)}


def _find_annotations(
    folder: Path, home: Path, paths: Sequence[Path], split: Split, task: TaskName | None
) -> Path | None:
    """The first annotations file that names a picture of `paths`; those in `home` must."""
    candidates = [
        file
        for place in dict.fromkeys((home, folder))
        for pattern in _ANNOTATIONS[task]
        for file in sorted(place.glob(pattern))
    ]
    for file in candidates:
        if _names(file, paths):
            return file
    # A file beside the split folders may rightly speak of the evaluation pictures only.
    if candidates and (
        split == "evaluation" or any(home != folder and home in c.parents for c in candidates)
    ):
        raise EdgekitError(
            "EK408",
            f"{candidates[0]} names none of the {len(paths)} {split} pictures of {home}: "
            + (
                "`file_name` of its images must be their names."
                if candidates[0].suffix == ".json"
                else "the first column of each line must be the name of one, and a tab or a space follow."
            ),
        )
    return None


def _names(file: Path, paths: Sequence[Path]) -> bool:
    """Whether an annotations file names a picture of `paths`."""
    if file.suffix == ".json":
        return bool(image_ids(read_coco(file), paths, file))
    try:
        rows = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgekitError("EK408", f"{file} cannot be read as text in UTF-8: {error}") from error
    # A name may hold spaces where a tab follows it, or a number stands at the end.
    firsts = [row.partition("\t")[0] if "\t" in row else row.rpartition(" ")[0] for row in rows]
    known = {path.name for path in paths}
    return any(PurePosixPath(first).name in known for first in firsts)


def read_coco(path: Path) -> dict[str, Any]:
    """A COCO annotations file: `images`, `annotations` (bbox = x y width height in pixels), `categories`.

    Raises EK408 when it is not JSON, lacks a list, or an annotation is malformed or points nowhere.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        images = {entry["id"]: str(entry["file_name"]) for entry in data["images"]}
        categories = {entry["id"]: str(entry["name"]) for entry in data["categories"]}
        for number, entry in enumerate(data["annotations"]):
            box = entry["bbox"]
            fits = len(box) == 4 and all(math.isfinite(value) for value in box) and min(box[2:]) >= 0
            if not fits or entry["image_id"] not in images or entry["category_id"] not in categories:
                raise ValueError(f"annotation {number} has a wrong bbox, image_id or category_id")
    except KeyError as error:
        raise EdgekitError("EK408", f"{path} is no COCO annotations file: {error} is missing.") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EdgekitError("EK408", f"{path} is no COCO annotations file: {error}") from error
    assert isinstance(data, dict)  # it was indexed by strings above
    return data


def image_ids(coco: dict[str, Any], paths: Sequence[Path], source: Path) -> dict[Path, int]:
    """Path -> image id of those pictures that a COCO file names, by the longest common end of the path.

    Raises EK408 when a bare `file_name` fits several pictures of `paths` (name in errors: `source`).
    """
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        by_name.setdefault(path.name, []).append(path)
    found: dict[Path, int] = {}
    for entry in coco["images"]:
        parts = PurePosixPath(entry["file_name"].replace("\\", "/")).parts
        fits = by_name.get(parts[-1], []) if parts else []
        if len(fits) > 1:
            fits = [path for path in fits if path.parts[-len(parts) :] == parts]
        if len(fits) > 1:
            raise EdgekitError(
                "EK408",
                f"{source}: file_name {entry['file_name']!r} fits {len(fits)} pictures, such as {fits[0]} "
                f"and {fits[1]}. Give the folder in file_name, too.",
            )
        if fits:
            found.setdefault(fits[0], entry["id"])
    return found
