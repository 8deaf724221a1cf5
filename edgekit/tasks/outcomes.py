"""What each evaluation picture contributes to each figure, and the file in a bundle that keeps it.

With it two runs on the same pictures are compared picture by picture, long after one of them. The file
(`outcomes.npz`) also holds the float original's answers, as far as agreement with them needs: so a bundle can
be checked without that program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.folder import ModelInfo
from edgekit.significance import Outcome, Ranking, Ratio
from edgekit.tasks import classification, detection, evaluate, text_detection, text_recognition
from edgekit.tasks.detection import SURE, Detections
from edgekit.tasks.evaluate import Answer
from edgekit.tasks.text_detection import Regions
from edgekit.tasks.text_recognition import Reading

FILE = "outcomes.npz"
_REFERENCE = "reference"  # no target is called so

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Kept:
    """Contributions by target and figure, and the float original's answers, on the pictures `names`."""

    names: list[str]
    reference: list[Answer]
    targets: dict[str, dict[str, Outcome]] = field(default_factory=dict)


def agreement(info: ModelInfo, reference: Sequence[Answer], got: Sequence[Answer]) -> dict[str, Outcome]:
    """Contributions to the figures of `evaluate.compare`, by their names."""
    return _TASKS[info.task].agreement(reference, got)


def truth(
    info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]
) -> dict[str, Outcome]:
    """Contributions to the figures of `evaluate.truth`, by their names. Raises EK401 and EK408."""
    return _TASKS[info.task].truth(info, annotations, names, got)


def save(info: ModelInfo, kept: Kept, folder: Path) -> None:
    arrays: dict[str, Any] = {"names": np.asarray(kept.names, np.str_)}
    packed = _TASKS[info.task].pack(kept.reference)
    arrays |= {f"{_REFERENCE}/{name}": value for name, value in packed.items()}
    for target, figures in kept.targets.items():
        for figure, outcome in figures.items():
            if isinstance(outcome, Ratio):
                values = {"part": outcome.part, "whole": outcome.whole}
            elif figure.endswith("50"):
                continue  # `load` takes it out of its neighbour
            else:
                values = {**vars(outcome), "pictures": np.asarray(outcome.pictures)}
            arrays |= {f"{target}/{figure}/{name}": value for name, value in values.items()}
    np.savez_compressed(folder / FILE, **arrays)


def load(info: ModelInfo, folder: Path) -> Kept | None:
    """None when the folder has no such file, as bundles of an older edgekit. Raises EK409."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        names = [str(name) for name in arrays.pop("names")]
        reference: dict[str, NDArray[Any]] = {}
        fields: dict[str, dict[str, dict[str, NDArray[Any]]]] = {}
        for name, value in arrays.items():
            head, _, rest = name.partition("/")
            if head == _REFERENCE:
                reference[rest] = value
            else:
                figure, _, column = rest.partition("/")
                fields.setdefault(head, {}).setdefault(figure, {})[column] = value
        targets: dict[str, dict[str, Outcome]] = {}
        for target, figures in fields.items():
            targets[target] = {}
            for figure, columns in figures.items():
                outcome = _outcome(columns)
                targets[target][figure] = outcome
                if isinstance(outcome, Ranking):
                    targets[target][f"{figure}50"] = outcome.at50
        return Kept(names, _TASKS[info.task].unpack(reference), targets)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise EdgekitError("EK409", f"{path} cannot be used: {type(error).__name__}: {error}") from error


def _outcome(columns: dict[str, NDArray[Any]]) -> Outcome:
    if "part" in columns:
        return Ratio(**columns)
    return Ranking(int(columns.pop("pictures")), **columns)


def _parts(counts: NDArray[Any], *columns: NDArray[Any]) -> list[tuple[NDArray[Any], ...]]:
    """Columns of all pictures, one below the other -> the rows of each picture."""
    ends = np.cumsum(counts)[:-1]
    return list(zip(*(np.split(column, ends) for column in columns), strict=True)) if len(counts) else []


def _rows(items: Sequence[Answer]) -> NDArray[np.float32]:
    rows = []
    for item in items:
        assert isinstance(item, np.ndarray)
        rows.append(item)
    return np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def _boxes(items: Sequence[Answer]) -> list[Detections]:
    found = []
    for item in items:
        assert isinstance(item, Detections)
        found.append(item)
    return found


def _regions(items: Sequence[Answer]) -> list[Regions]:
    found = []
    for item in items:
        assert isinstance(item, Regions)
        found.append(item)
    return found


def _readings(items: Sequence[Answer]) -> list[Reading]:
    found = []
    for item in items:
        assert isinstance(item, Reading)
        found.append(item)
    return found


def _pack_boxes(items: Sequence[Answer]) -> dict[str, NDArray[Any]]:
    """Only what the float original is sure of: the rest has no part in agreement."""
    sure = [item.pick(item.scores >= SURE) for item in _boxes(items)]
    return {
        "count": np.asarray([len(item.scores) for item in sure], np.int32),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(item.boxes for item in sure)]),
        "scores": np.concatenate([np.zeros(0, np.float32), *(item.scores for item in sure)]),
        "classes": np.concatenate([np.zeros(0, np.int64), *(item.classes for item in sure)]),
    }


def _unpack_boxes(arrays: Arrays) -> list[Answer]:
    parts = _parts(arrays["count"], arrays["boxes"], arrays["scores"], arrays["classes"])
    return [Detections(boxes, scores, classes) for boxes, scores, classes in parts]


def _pack_regions(items: Sequence[Answer]) -> dict[str, NDArray[Any]]:
    found = _regions(items)
    return {
        "count": np.asarray([len(item.scores) for item in found], np.int32),
        "quads": np.concatenate([np.zeros((0, 4, 2), np.float32), *(item.quads for item in found)]),
        "scores": np.concatenate([np.zeros(0, np.float32), *(item.scores for item in found)]),
    }


def _unpack_regions(arrays: Arrays) -> list[Answer]:
    return [
        Regions(quads, scores) for quads, scores in _parts(arrays["count"], arrays["quads"], arrays["scores"])
    ]


def _pack_readings(items: Sequence[Answer]) -> dict[str, NDArray[Any]]:
    found = _readings(items)
    return {
        "texts": np.asarray([item.text for item in found], np.str_),
        "scores": np.asarray([item.score for item in found], np.float64),
    }


def _unpack_readings(arrays: Arrays) -> list[Answer]:
    pairs = zip(arrays["texts"], arrays["scores"], strict=True)
    return [Reading(str(text), float(score)) for text, score in pairs]


def _class_truth(
    info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]
) -> dict[str, Outcome]:
    return classification.truth_outcomes(_rows(got), evaluate.class_labels(annotations, names))


def _box_truth(
    info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]
) -> dict[str, Outcome]:
    return detection.outcomes_on_coco(annotations, names, info.labels, _boxes(got))


def _text_truth(
    info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]
) -> dict[str, Outcome]:
    return text_detection.outcomes_on_labels(annotations, names, _regions(got))


def _line_truth(
    info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]
) -> dict[str, Outcome]:
    return text_recognition.outcomes_on_labels(annotations, names, _readings(got))


@dataclass(frozen=True)
class _Task:
    agreement: Callable[[Sequence[Answer], Sequence[Answer]], dict[str, Outcome]]
    truth: Callable[[ModelInfo, Path, Sequence[str], Sequence[Answer]], dict[str, Outcome]]
    pack: Callable[[Sequence[Answer]], dict[str, NDArray[Any]]]
    unpack: Callable[[Arrays], list[Answer]]


_TASKS = {
    "classification": _Task(
        lambda a, b: classification.agreement_outcomes(_rows(a), _rows(b)),
        _class_truth,
        lambda items: {"probabilities": _rows(items)},
        lambda arrays: list(arrays["probabilities"]),
    ),
    "detection": _Task(
        lambda a, b: detection.agreement_outcomes(_boxes(a), _boxes(b)),
        _box_truth, _pack_boxes, _unpack_boxes,
    ),
    "text_detection": _Task(
        lambda a, b: text_detection.agreement_outcomes(_regions(a), _regions(b)),
        _text_truth, _pack_regions, _unpack_regions,
    ),
    "text_recognition": _Task(
        lambda a, b: text_recognition.agreement_outcomes(_readings(a), _readings(b)),
        _line_truth, _pack_readings, _unpack_readings,
    ),
}  # fmt: skip
