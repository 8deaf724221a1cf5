"""The door of this room: raw outputs -> answer, answers -> metrics, answer -> JSON.

Which functions do it is looked up by the model's task; adding a task is adding a row to TASKS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.folder import (
    ClassificationPost,
    DetectionPost,
    ModelInfo,
    TextDetectionPost,
    TextRecognitionPost,
)
from edgekit.tasks import classification, detection, text_detection, text_recognition
from edgekit.tasks.detection import Detections
from edgekit.tasks.text_detection import Regions
from edgekit.tasks.text_recognition import Reading

# classification: probabilities [C]; detection: Detections; text detection: Regions; recognition: Reading
Answer = NDArray[np.float32] | Detections | Regions | Reading
Outputs = Mapping[str, NDArray[Any]]
Metrics = dict[str, float | int | None]


def answers(info: ModelInfo, outputs: Outputs, image_size: tuple[int, int]) -> Answer:
    """The final answer for one picture of image_size (height, width) from the raw outputs (N = 1).

    Raises EK409 when an output is missing or its shape is not what model.json promises.
    """
    return TASKS[info.task].answers(info, outputs, image_size)


def compare(info: ModelInfo, reference: Sequence[Answer], got: Sequence[Answer]) -> Metrics:
    """How far `got` agrees with the reference, one answer per picture in both; no labels needed.

    Detection: agreement_ap, agreement_ap50, agreement_n, same_class. Classification: top1_agreement,
    top1_agreement_sure, sure_n, top5_agreement, kl_divergence. Text detection: agreement_hmean,
    agreement_hmean75, agreement_n. Text recognition: agreement_exact, agreement_cer. All: n, the number of
    pictures. None means not measurable.
    """
    if len(reference) != len(got):
        raise ValueError(f"{len(reference)} reference answers and {len(got)} answers")
    return {**TASKS[info.task].compare(info, reference, got), "n": len(got)}


def worst(info: ModelInfo, reference: Sequence[Answer], got: Sequence[Answer]) -> list[tuple[int, float]]:
    """Single pictures by how far `got` is from the reference: (index, the metric that `Task.single` names),
    the worst first. Where it cannot be measured, for the reference is sure of nothing, a picture is left out.
    """
    metric, sign = TASKS[info.task].single
    found: list[tuple[int, float]] = []
    for index, (wanted, answer) in enumerate(zip(reference, got, strict=True)):
        value = TASKS[info.task].compare(info, [wanted], [answer])[metric]
        if value is not None:
            found.append((index, float(value)))
    return sorted(found, key=lambda item: -sign * item[1])


def truth(info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]) -> Metrics:
    """Metrics against a user's labels; names are the pictures' file names, in the order of `got`.

    Detection: a COCO file; ap, ap50, ap_n (true boxes). Classification: lines of "picture class-index"
    as PaddleClas reads them; top1, top5. Text detection: PaddleOCR's labels (see
    `text_detection.read_labels`); hmean, hmean75, precision, recall, hmean_n (true regions). Text
    recognition: PaddleOCR's labels (see `text_recognition.read_labels`); exact, cer, cer_n (true characters).
    Raises EK401 and EK408.
    """
    return TASKS[info.task].truth(info, annotations, names, got)


def importance(info: ModelInfo, outputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """How much each value of a raw output matters to the final answer; an output that is left out: evenly.

    A detector's boxes matter where it sees something, so by the square of the best class score there. Most
    anchors are background, and their boxes are never looked at. A recogniser's steps matter where it reads
    something: most of a short line is padding, whose logits wander without a letter coming of it.
    """
    post = info.postprocess
    if isinstance(post, TextRecognitionPost):
        return {name: text_recognition.importance(steps) for name, steps in outputs.items()}
    if not isinstance(post, DetectionPost) or post.scores not in outputs or post.boxes not in outputs:
        return {}
    return {post.boxes: outputs[post.scores].max(axis=1)[:, :, None] ** 2}


def answer_json(info: ModelInfo, answer: Answer) -> dict[str, Any]:
    """The answer in JSON for golden vectors.

    Classification: {"top": [{"class", "label", "probability"}]}, best first. Detection: {"detections":
    [{"class", "label", "score", "box": [x1, y1, x2, y2]}]}, best first. Text detection: {"regions":
    [{"score", "points": [[x, y], ...]}]}. Text recognition: {"text", "score"}. Raises EK408 when the model
    has labels, but none for a class.
    """
    return TASKS[info.task].answer_json(info, answer)


def _output(outputs: Outputs, name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    """Output `name` of one picture without the batch dimension; None in `shape` is a free dimension."""
    if name not in outputs:
        raise EdgekitError("EK409", f"The model has no output {name!r}; it has {', '.join(sorted(outputs))}.")
    array = outputs[name]
    if array.ndim != len(shape) or any(
        want not in (None, have) for want, have in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("?" if size is None else str(size) for size in shape)
        raise EdgekitError("EK409", f"Output {name!r} has the shape {array.shape}, expected ({wanted}).")
    return np.asarray(array[0], np.float32)


def _label(info: ModelInfo, index: int) -> str:
    if not info.labels:
        return str(index)
    if index >= len(info.labels):
        raise EdgekitError(
            "EK408", f"The model answered class {index}, but has only {len(info.labels)} labels."
        )
    return info.labels[index]


def _probability_row(item: Answer) -> NDArray[np.float32]:
    assert isinstance(item, np.ndarray)
    return item


def _probabilities(items: Sequence[Answer], info: ModelInfo) -> NDArray[np.float32]:
    rows = [_probability_row(item) for item in items]
    return np.stack(rows) if rows else np.zeros((0, max(1, len(info.labels))), np.float32)


def _class_answers(info: ModelInfo, outputs: Outputs, image_size: tuple[int, int]) -> Answer:
    assert isinstance(info.postprocess, ClassificationPost)
    return _output(outputs, info.postprocess.probabilities, (1, None))


def _class_compare(info: ModelInfo, reference: Sequence[Answer], got: Sequence[Answer]) -> Metrics:
    first, second = _probabilities(reference, info), _probabilities(got, info)
    sure, sure_n = classification.top1_agreement_sure(first, second)
    return {
        "top1_agreement": classification.top1_agreement(first, second),
        "top1_agreement_sure": sure,
        "sure_n": sure_n,
        "top5_agreement": classification.top5_agreement(first, second),
        "kl_divergence": classification.kl_divergence(first, second),
    }


def class_labels(annotations: Path, names: Sequence[str]) -> NDArray[np.int64]:
    """The class of each picture, from lines of "picture class-index". Raises EK401 and EK408."""
    known: dict[str, int] = {}
    try:
        for number, line in enumerate(annotations.read_text(encoding="utf-8-sig").split("\n"), 1):
            if line.strip():
                name, *columns = line.rsplit(maxsplit=1)
                if not columns or not columns[0].isdecimal():
                    raise EdgekitError(
                        "EK408",
                        f"{annotations}, line {number}, needs to be 'picture class-index', not {line!r}.",
                    )
                known[PurePosixPath(name).name] = int(columns[0])
    except OSError as error:
        raise EdgekitError("EK401", f"The labels {annotations} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise EdgekitError("EK408", f"{annotations} is not text in UTF-8.") from error
    unknown = [name for name in names if Path(name).name not in known]
    if unknown:
        raise EdgekitError(
            "EK408",
            f"{annotations} has no label for {len(unknown)} of the pictures: {', '.join(unknown[:5])}.",
        )
    return np.asarray([known[Path(name).name] for name in names], np.int64)


def _class_truth(info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]) -> Metrics:
    labels = class_labels(annotations, names)
    rows = _probabilities(got, info)
    return {f"top{k}": classification.topk_accuracy(rows, labels, k) for k in (1, 5)}


def _class_json(info: ModelInfo, answer: Answer) -> dict[str, Any]:
    assert isinstance(info.postprocess, ClassificationPost) and isinstance(answer, np.ndarray)
    classes, values = classification.topk(answer[None], info.postprocess.top_k)
    return {
        "top": [
            {"class": int(index), "label": _label(info, int(index)), "probability": float(value)}
            for index, value in zip(classes[0], values[0], strict=True)
        ]
    }


def _detections(item: Answer) -> Detections:
    assert isinstance(item, Detections)
    return item


def _boxes(items: Sequence[Answer]) -> list[Detections]:
    return [_detections(item) for item in items]


def _box_answers(info: ModelInfo, outputs: Outputs, image_size: tuple[int, int]) -> Answer:
    post, resize = info.postprocess, info.preprocess.resize
    assert isinstance(post, DetectionPost)
    _check_whole(info, "exact")
    boxes = _output(outputs, post.boxes, (1, None, 4))
    scores = _output(outputs, post.scores, (1, None, len(boxes)))
    return detection.postprocess(boxes, scores, post, (resize.height, resize.width), image_size)


def _check_whole(info: ModelInfo, *kinds: str) -> None:
    """Only where the input shows the whole picture do places in it say where things are in the picture."""
    if info.preprocess.resize.kind not in kinds or info.preprocess.crop is not None:
        raise EdgekitError(
            "EK409",
            "A detector's preprocess must show the whole picture (resize.kind "
            f"{' or '.join(kinds)}, no crop).",
        )


def _box_compare(info: ModelInfo, reference: Sequence[Answer], got: Sequence[Answer]) -> Metrics:
    return detection.agreement_ap(_boxes(reference), _boxes(got))


def _box_truth(info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]) -> Metrics:
    return detection.ap_on_coco(annotations, names, info.labels, _boxes(got))


def _box_json(info: ModelInfo, answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, Detections)
    return {
        "detections": [
            {
                "class": int(index),
                "label": _label(info, int(index)),
                "score": float(score),
                "box": [float(value) for value in box],
            }
            for box, score, index in zip(answer.boxes, answer.scores, answer.classes, strict=True)
        ]
    }


def _region(item: Answer) -> Regions:
    assert isinstance(item, Regions)
    return item


def _regions(items: Sequence[Answer]) -> list[Regions]:
    return [_region(item) for item in items]


def _text_answers(info: ModelInfo, outputs: Outputs, image_size: tuple[int, int]) -> Answer:
    assert isinstance(info.postprocess, TextDetectionPost)
    _check_whole(info, "exact", "page")
    pixels = _output(outputs, info.postprocess.map, (1, 1, None, None))[0]
    return text_detection.postprocess(pixels, info.postprocess, image_size)


def _text_compare(info: ModelInfo, reference: Sequence[Answer], got: Sequence[Answer]) -> Metrics:
    return text_detection.agreement(_regions(reference), _regions(got))


def _text_truth(info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]) -> Metrics:
    return text_detection.scores_on_labels(annotations, names, _regions(got))


def _text_json(info: ModelInfo, answer: Answer) -> dict[str, Any]:
    found = _region(answer)
    return {
        "regions": [
            {"score": float(score), "points": [[float(x), float(y)] for x, y in quad]}
            for quad, score in zip(found.quads, found.scores, strict=True)
        ]
    }


def _reading(item: Answer) -> Reading:
    assert isinstance(item, Reading)
    return item


def _line_answers(info: ModelInfo, outputs: Outputs, image_size: tuple[int, int]) -> Answer:
    assert isinstance(info.postprocess, TextRecognitionPost)
    steps = _output(outputs, info.postprocess.probabilities, (1, None, None))
    return text_recognition.decode(steps, info.labels, info.postprocess)


def _line_compare(info: ModelInfo, reference: Sequence[Answer], got: Sequence[Answer]) -> Metrics:
    return text_recognition.agreement([_reading(a) for a in reference], [_reading(a) for a in got])


def _line_truth(info: ModelInfo, annotations: Path, names: Sequence[str], got: Sequence[Answer]) -> Metrics:
    return text_recognition.scores_on_labels(annotations, names, [_reading(item) for item in got])


def _line_json(info: ModelInfo, answer: Answer) -> dict[str, Any]:
    found = _reading(answer)
    return {"text": found.text, "score": found.score}


@dataclass(frozen=True)
class Task:
    """The four functions that a task consists of, and the metric that ranks single pictures: agreement with
    the reference (-1, more is better) or distance from it (1)."""

    answers: Callable[[ModelInfo, Outputs, tuple[int, int]], Answer]
    compare: Callable[[ModelInfo, Sequence[Answer], Sequence[Answer]], Metrics]
    truth: Callable[[ModelInfo, Path, Sequence[str], Sequence[Answer]], Metrics]
    answer_json: Callable[[ModelInfo, Answer], dict[str, Any]]
    single: tuple[str, int]


TASKS: dict[str, Task] = {
    "classification": Task(_class_answers, _class_compare, _class_truth, _class_json, ("kl_divergence", 1)),
    "detection": Task(_box_answers, _box_compare, _box_truth, _box_json, ("agreement_ap", -1)),
    "text_detection": Task(_text_answers, _text_compare, _text_truth, _text_json, ("agreement_hmean", -1)),
    "text_recognition": Task(_line_answers, _line_compare, _line_truth, _line_json, ("agreement_cer", 1)),
}
