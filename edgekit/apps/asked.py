"""What `edgekit detect`, `classify` and `ocr` share: what was asked for, and where drawings go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.apps import drawing
from edgekit.apps.bundles import KINDS, Kind
from edgekit.apps.drawing import Face
from edgekit.cachedir import cache_dir
from edgekit.console import Progress
from edgekit.data.images import Image
from edgekit.errors import EdgekitError


@dataclass(frozen=True)
class Asked:
    """`kind` None: the bundle's default. `compare`: both kinds, side by side.

    Raises EK107 when options do not go together.
    """

    pictures: tuple[Path, ...]
    bundles: tuple[Path, ...]
    kind: Kind | None
    compare: bool
    out: Path | None
    offline: bool

    def __post_init__(self) -> None:
        if self.compare and self.kind is not None:
            raise EdgekitError("EK107", "--compare runs both models and --model one: give one of the two.")
        if self.out is not None:
            drawing.check_name(self.out)
        drawn = {out.resolve() for k in range(len(self.pictures)) if (out := self.drawing(k)) is not None}
        for picture in self.pictures:
            if picture.resolve() in drawn:
                raise EdgekitError("EK107", f"--out would replace the picture {picture}: give another name.")

    @property
    def kinds(self) -> tuple[Kind | None, ...]:
        return KINDS if self.compare else (self.kind,)

    def drawing(self, index: int) -> Path | None:
        """The file for a picture's drawing: `out`, numbered from 1 where there are several pictures."""
        if self.out is None or len(self.pictures) == 1:
            return self.out
        return self.out.with_name(f"{self.out.stem}-{index + 1}{self.out.suffix}")

    def face(self, texts: Sequence[str]) -> Face:
        """A font with the letters of the texts. Raises EK403."""
        return drawing.face_for(texts, cache_dir(), self.offline, Progress().line)


def head(path: Path, image: Image, what: str) -> str:
    return f"{path} ({image.shape[1]} x {image.shape[0]}), {what}:"


def entry(path: Path, image: Image) -> dict[str, object]:
    """A picture in the JSON."""
    return {"picture": str(path), "width": image.shape[1], "height": image.shape[0]}
