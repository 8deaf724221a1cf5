"""From what a recipe says about data to pictures on disk."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import model_validator

from edgekit.data import lines, pages
from edgekit.data.cutouts import CUTOUT_PACKAGE, RULE, Split
from edgekit.data.files import FINISHED, build_once, is_intact
from edgekit.data.fonts import open_fonts
from edgekit.data.images import ImageSet, folder_set, image_set
from edgekit.data.kinds import Kind
from edgekit.data.photographs import WHEEL, crop_photographs
from edgekit.data.scenes import (
    CLASSIFICATION_SIDE,
    DETECTION_SIDE,
    Progress,
    compose_classification,
    compose_detection,
)
from edgekit.data.sources import Log, Strict
from edgekit.data.stock import open_stock
from edgekit.errors import EdgekitError
from edgekit.folder import TaskName


class DataSpec(Strict):
    """Where pictures come from: composed or rendered ones, or the user's own folder (`path`).

    `task` tells which files of a folder say what is on the pictures.
    """

    kind: Kind
    path: str | None = None
    task: TaskName | None = None

    @model_validator(mode="after")
    def _path_fits(self) -> DataSpec:
        if (self.kind == "folder") != (self.path is not None):
            raise ValueError("`path` belongs to kind folder, and only to it")
        return self


@dataclass(frozen=True)
class _Rendered:
    """A kind of rendered text: what its pictures are called, the rule of its drawing, and who draws them."""

    what: str
    rule: int
    render: Callable[..., None]


_RENDERED = {
    "rendered_pages": _Rendered("pages", pages.RULE, pages.render),
    "rendered_lines": _Rendered("lines", lines.RULE, lines.render),
    "turned_pages": _Rendered(
        "pages, turned by quarters", pages.TURNED_RULE, partial(pages.render, turned=True)
    ),
    "turned_lines": _Rendered("lines, some upside down", lines.RULE, partial(lines.render, turned=True)),
}


def prepare(
    spec: DataSpec,
    split: Split,
    count: int | None,
    seed: int,
    cache: Path,
    offline: bool,
    log: Log,
    progress: Progress | None = None,
) -> ImageSet:
    """The pictures of one split; composed and rendered ones are made once and then read from the cache.

    `count`: how many pictures; None means all of a folder, and is refused for the other kinds.
    Where Debian's packages cannot be had, composed kinds fall back to crops of scikit-image's
    photographs, without annotations; log, name and origin say so. Rendered text has no fallback:
    photographs hold none.
    Raises EK103 (count or seed out of range), EK403 (nothing could be had), EK410 (disk full) and
    what `folder_set` raises.
    """
    if seed < 0 or (count is not None and count < 1):
        raise EdgekitError("EK103", f"Data: count {count} must be at least 1 and seed {seed} at least 0.")
    if spec.path is not None:
        return folder_set(Path(spec.path).expanduser(), split, count, spec.task)
    if count is None:
        raise EdgekitError("EK103", f"Data of kind {spec.kind} need a count of pictures.")
    made = _made(spec.kind, split, count, seed, cache, offline, log, progress)
    return dataclasses.replace(made, kind=spec.kind)


def _made(
    kind: Kind,
    split: Split,
    count: int,
    seed: int,
    cache: Path,
    offline: bool,
    log: Log,
    progress: Progress | None,
) -> ImageSet:
    if kind in _RENDERED:
        return _rendered(kind, split, count, seed, cache, offline, log, progress)
    try:
        return _composed(kind, split, count, seed, cache, offline, log, progress)
    except EdgekitError as error:
        if error.code != "EK403":
            raise
        log(f"{error.message} Falling back to photographs of {WHEEL}, without annotations.")
        try:
            return _photographs(kind, split, count, seed, cache, offline, log, progress, error.message)
        except EdgekitError as second:
            raise EdgekitError(
                second.code,
                f"No {split} pictures. {error.message} The fallback failed, too: {second.message} "
                "Or give pictures of your own with --data.",
            ) from second


def is_ready(spec: DataSpec, split: Split, count: int, seed: int, cache: Path) -> bool:
    """Whether `prepare` would find the pictures without making or fetching anything."""
    return spec.path is not None or is_intact(_home(spec.kind, split, count, seed, cache))


def _home(kind: str, split: Split, count: int, seed: int, cache: Path) -> Path:
    # Scenes of an older rule stay what they are; what they are made of changes with them.
    rule = f"{RULE}.{_RENDERED[kind].rule}" if kind in _RENDERED else RULE
    return cache / "data" / f"{kind}-{split}-{count}-{seed}-{rule}"


def _composed(
    kind: str,
    split: Split,
    count: int,
    seed: int,
    cache: Path,
    offline: bool,
    log: Log,
    progress: Progress | None,
) -> ImageSet:
    compose = compose_detection if kind == "composed_detection" else compose_classification

    def make(folder: Path) -> None:
        compose(open_stock(cache, offline, log), split, count, seed, folder, progress)

    root = build_once(_home(kind, split, count, seed, cache), make, log)
    packages: dict[str, str] = json.loads((root / "origin.json").read_text())["packages"]
    what = "scenes" if kind == "composed_detection" else "pictures"
    backgrounds = ", ".join(
        f"{name} {version}" for name, version in packages.items() if name != CUTOUT_PACKAGE
    )
    origin = (
        f"{count} composed {what} ({split}, seed {seed}, rule {RULE}): cut-outs of the Debian package "
        f"{CUTOUT_PACKAGE} {packages[CUTOUT_PACKAGE]} on pictures of {backgrounds}"
    )
    annotations = root / "annotations.json" if kind == "composed_detection" else None
    return image_set(f"composed {what}", root, _pictures(root), annotations, origin)


def _rendered(
    kind: str,
    split: Split,
    count: int,
    seed: int,
    cache: Path,
    offline: bool,
    log: Log,
    progress: Progress | None,
) -> ImageSet:
    made = _RENDERED[kind]

    def make(folder: Path) -> None:
        fonts, stock = open_fonts(cache, offline, log), open_stock(cache, offline, log)
        made.render(stock, fonts, split, count, seed, folder, progress)

    try:
        root = build_once(_home(kind, split, count, seed, cache), make, log)
    except EdgekitError as error:
        raise EdgekitError(
            error.code, f"No {split} {made.what}. {error.message} Or give pictures of your own with --data."
        ) from error
    said = json.loads((root / "origin.json").read_text())
    names = ", ".join(f"{name} {version}" for name, version in said["packages"].items())
    origin = (
        f"{count} rendered {made.what} ({split}, seed {seed}, rule {made.rule}): sentences of edgekit's own "
        f"in {', '.join(said['fonts'])}; made from the Debian packages {names}"
    )
    if said["strangers"]:
        origin += f"; not the fonts that the figures were made with: {', '.join(said['strangers'])}"
    return image_set(f"rendered {made.what}", root, _pictures(root), root / pages.LABELS, origin)


def _photographs(
    kind: str,
    split: Split,
    count: int,
    seed: int,
    cache: Path,
    offline: bool,
    log: Log,
    progress: Progress | None,
    why: str,
) -> ImageSet:
    side = DETECTION_SIDE if kind == "composed_detection" else CLASSIFICATION_SIDE

    def make(folder: Path) -> None:
        crop_photographs(split, count, seed, side, folder, cache, offline, log, progress)

    root = build_once(cache / "data" / f"photographs-{side}-{split}-{count}-{seed}-{RULE}", make, log)
    name = f"photographs of scikit-image (fallback: {why.rstrip('.')})"
    origin = f"{count} crops of photographs of {WHEEL} ({split}, seed {seed}); fallback: {why}"
    return image_set(name, root, _pictures(root), None, origin)


def _pictures(root: Path) -> list[Path]:
    names = json.loads((root / FINISHED).read_text())["files"]
    return [root / name for name in sorted(names) if name.startswith("images/")]
