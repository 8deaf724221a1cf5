"""The model folder: what lies between any two stages.

`inference.pdmodel` + `inference.pdiparams` (an exported Paddle program) and `model.json`, which
says what the program is for: task, tensors, pre- and post-processing, labels, lineage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgekit.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.program.graph import Program

SCHEMA = 1
PROGRAM, PARAMETERS, DESCRIPTION = "inference.pdmodel", "inference.pdiparams", "model.json"

TaskName = Literal["classification", "detection", "text_detection", "text_recognition"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorSpec(Strict):
    """A model input or output; -1 marks a free dimension."""

    name: str
    shape: list[int]
    dtype: str = "float32"


@dataclass(frozen=True)
class Side:
    """A height or width in pixels: a multiple of `multiple` from `least` to `most`."""

    least: int
    most: int
    multiple: int = 1

    @property
    def is_free(self) -> bool:
        return self.least < self.most


class Resize(Strict):
    """`exact` stretches to height x width; `short` keeps the aspect and sets the shorter side.

    `line`, for a line of text, sets the height, keeps the aspect and fills up with zeros on the right, after
    normalisation, to `width`. A longer line has a longer input, up to `widest`; what is longer still is
    squeezed into that.
    """

    kind: Literal["exact", "short", "line"]
    height: int = Field(gt=0, le=8192)
    width: int = Field(gt=0, le=8192)
    widest: int | None = Field(default=None, gt=0, le=8192)  # of a line; None: `width`
    interpolation: Literal["nearest", "linear", "cubic", "area"]

    @model_validator(mode="after")
    def _widest_of_a_line(self) -> Resize:
        if self.widest is not None and (self.kind != "line" or self.widest < self.width):
            raise ValueError("expected `widest` with kind line only, and not below `width`")
        return self

    @property
    def sides(self) -> tuple[Side, Side]:
        """What the height and the width of the network's input may be, before any crop."""
        widest = self.widest if self.widest is not None else self.width
        return Side(self.height, self.height), Side(self.width, widest)


class PageResize(Strict):
    """A whole picture in its own aspect, as PaddleOCR prepares a page for its detector.

    The longer side is shrunk to `longest` (limit_type max); with `shortest` the shorter side is enlarged to
    that before (limit_type min, where `longest` is max_side_limit). Then both are rounded to multiples of
    `multiple`. The nominal height and width are what costs are counted, times taken and nets trained at.
    """

    kind: Literal["page"]
    height: int = Field(gt=0, le=8192)
    width: int = Field(gt=0, le=8192)
    longest: int = Field(gt=0, le=8192)
    shortest: int | None = Field(default=None, gt=0, le=8192)
    multiple: int = Field(default=32, gt=0)
    interpolation: Literal["nearest", "linear", "cubic", "area"]

    @model_validator(mode="after")
    def _allowed(self) -> PageResize:
        sides = {"height": self.height, "width": self.width, "longest": self.longest}
        for name, side in sides.items():
            if side % self.multiple:
                raise ValueError(f"expected multiples of {self.multiple}, but `{name}` is {side}")
        if max(sides.values()) > self.longest or (self.shortest or 0) > self.longest:
            raise ValueError(f"expected no side above `longest`, which is {self.longest}")
        return self

    @property
    def sides(self) -> tuple[Side, Side]:
        """What the height and the width of the network's input may be."""
        side = Side(self.multiple, self.longest, self.multiple)
        return side, side


class Preprocess(Strict):
    """uint8 BGR picture -> float32 [3,H,W]: resize, centre crop, channel order, scale, mean, std."""

    resize: Resize | PageResize = Field(discriminator="kind")
    crop: tuple[int, int] | None = None  # height, width
    channels: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @model_validator(mode="after")
    def _crop_of_a_picture(self) -> Preprocess:
        if self.crop is not None and self.resize.kind in ("line", "page"):
            raise ValueError(
                f"expected no `crop` with resize.kind {self.resize.kind}: a {self.resize.kind} is shown whole"
            )
        return self

    @property
    def sides(self) -> tuple[Side, Side]:
        """What the height and the width of the network's input may be."""
        if self.crop is not None:
            return Side(self.crop[0], self.crop[0]), Side(self.crop[1], self.crop[1])
        return self.resize.sides

    @property
    def nominal(self) -> Preprocess:
        """The same, with every picture stretched to the nominal height and width."""
        height, width = self.crop or (self.resize.height, self.resize.width)
        how = self.resize.interpolation
        resize = Resize(kind="exact", height=height, width=width, interpolation=how)
        return self.model_copy(update={"resize": resize, "crop": None})


class ClassificationPost(Strict):
    kind: Literal["classification"] = "classification"
    probabilities: str  # the output tensor, float32 [N, classes], already softmax
    top_k: int = 5


class DetectionPost(Strict):
    """Class-wise NMS outside the model.

    Boxes are x1 y1 x2 y2 in units of their level's stride: the anchors of level k, ceil(height / stride) *
    ceil(width / stride) of them, come before those of level k + 1. Empty `strides`: boxes are in pixels of
    the network's input.
    """

    kind: Literal["detection"] = "detection"
    boxes: str  # float32 [N, anchors, 4]
    strides: list[int] = []
    scores: str  # float32 [N, classes, anchors], already probabilities
    score_threshold: float = 0.025
    nms_threshold: float = 0.6
    nms_top_k: int = 1000
    keep_top_k: int = 100


class TextDetectionPost(Strict):
    """Regions out of a map of probabilities, as PaddleOCR's DB post-processing with quads does it."""

    kind: Literal["text_detection"] = "text_detection"
    map: str  # float32 [N, 1, height, width], already probabilities; it stands for the whole input
    threshold: float = 0.3  # a pixel above it is text
    box_threshold: float = 0.6  # the least mean of a region
    unclip_ratio: float = 1.5  # regions grow by area * ratio / perimeter
    max_candidates: int = 1000
    min_size: int = 3  # the shorter side in pixels of the map, before growing


class TextRecognitionPost(Strict):
    """A text out of the probabilities of characters at each step, decoded by CTC's best path.

    Class 0 is CTC's blank; class k is label k - 1; with `space` one more class after the labels, the space.
    """

    kind: Literal["text_recognition"] = "text_recognition"
    probabilities: str  # float32 [N, steps, classes], already softmax
    space: bool = True  # PaddleOCR's use_space_char


Postprocess = ClassificationPost | DetectionPost | TextDetectionPost | TextRecognitionPost


class ModelInfo(Strict):
    """`model.json`."""

    schema_version: int = SCHEMA
    name: str
    task: TaskName
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    preprocess: Preprocess
    postprocess: Postprocess = Field(discriminator="kind")
    labels: list[str]
    lineage: list[dict[str, Any]] = []

    @property
    def is_pruned(self) -> bool:
        """Whether this is not the network any more that was fetched."""
        return any(entry.get("stage") == "prune" for entry in self.lineage)

    @property
    def allowed_sides(self) -> dict[str, dict[str, dict[str, int]]]:
        """Of each input: {"height": {"min", "max", "multiple"}, "width": {...}}, in pixels."""
        sides = dict(zip(("height", "width"), self.preprocess.sides, strict=True))
        ranges = {k: {"min": s.least, "max": s.most, "multiple": s.multiple} for k, s in sides.items()}
        return {each.name: ranges for each in self.inputs}

    @property
    def typical(self) -> dict[str, list[int]]:
        """The input at its nominal height and width: costs are counted there."""
        sides = [1, 3, self.preprocess.resize.height, self.preprocess.resize.width]
        return {
            each.name: [have if have > 0 else side for have, side in zip(each.shape, sides, strict=True)]
            for each in self.inputs
        }


@dataclass(frozen=True)
class ModelFolder:
    """A folder on disk with its parsed `model.json`."""

    path: Path
    info: ModelInfo

    @property
    def program(self) -> Path:
        return self.path / PROGRAM

    @property
    def parameters(self) -> Path:
        return self.path / PARAMETERS

    def read(self) -> Program:
        """The float program. Raises EK404 when it cannot be read."""
        from edgekit.program import graph

        return graph.read(self.program, self.parameters, self.info.typical)

    @staticmethod
    def open(path: Path) -> ModelFolder:
        """Raises EK401 when a file is missing, EK409 when `model.json` cannot be used."""
        description = path / DESCRIPTION
        for file in (path / PROGRAM, path / PARAMETERS, description):
            if not file.is_file():
                raise EdgekitError("EK401", f"{path} is not a model folder: {file.name} is missing.")
        try:
            raw = json.loads(description.read_text())
            if isinstance(raw, dict) and raw.get("schema_version", SCHEMA) > SCHEMA:
                raise EdgekitError(
                    "EK409",
                    f"{description} has schema {raw['schema_version']}, this edgekit reads up to {SCHEMA}: "
                    "it was written by a newer edgekit. Update edgekit.",
                )
            return ModelFolder(path, ModelInfo.model_validate(raw))
        except (ValueError, TypeError, ValidationError) as error:
            raise EdgekitError("EK409", f"{description} cannot be used: {error}") from error

    def save_info(self) -> None:
        (self.path / DESCRIPTION).write_text(self.info.model_dump_json(indent=1) + "\n")
