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
    def is_free(self) -> bool:
        """Whether the width of the network's input depends on the picture."""
        return self.widest is not None and self.widest > self.width


class Preprocess(Strict):
    """uint8 BGR picture -> float32 [3,H,W]: resize, centre crop, channel order, scale, mean, std."""

    resize: Resize
    crop: tuple[int, int] | None = None  # height, width
    channels: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @model_validator(mode="after")
    def _crop_of_a_picture(self) -> Preprocess:
        if self.crop is not None and self.resize.kind == "line":
            raise ValueError("expected no `crop` with resize.kind line: a line of text is shown whole")
        return self


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
    def typical(self) -> dict[str, list[int]]:
        """The input with its free sides as pre-processing has them at least: costs are counted there."""
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
