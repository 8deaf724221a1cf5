"""Answers of a detector, and how well they agree with another model's or with the truth."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgekit.errors import EdgekitError
from edgekit.folder import DetectionPost
from edgekit.significance import Outcome, Ranking, Ratio
from edgekit.tasks.nms import area, multiclass_nms, paired_iou

SURE = 0.5  # a reference detection from this score on counts as truth
SEEN = 0.25  # what an application would still draw
MAX_DETECTIONS = 100  # per picture, as COCO counts
IOU = np.linspace(0.5, 0.95, 10)  # the overlaps that COCO's AP is the mean over


@dataclass(frozen=True)
class Detections:
    """One picture's boxes: float32 [n,4] x1 y1 x2 y2 in pixels of the original picture, by falling score."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]  # [n], 0..1
    classes: NDArray[np.int64]  # [n]

    def pick(self, rows: NDArray[Any]) -> Detections:
        """The detections of a mask or of indices."""
        return Detections(self.boxes[rows], self.scores[rows], self.classes[rows])


Truth = tuple[NDArray[np.float32], NDArray[np.int64]]  # one picture's boxes [n,4] and classes [n]


def postprocess(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    spec: DetectionPost,
    input_size: tuple[int, int],
    image_size: tuple[int, int],
) -> Detections:
    """Raw outputs -> final detections: NMS (see `nms.multiclass_nms`), then from input to picture pixels.

    boxes [A,4] as `spec` says (pixels of the network's input, or units of strides), scores [C,A]; sizes
    are (height, width). The input is the whole picture, stretched. As in Paddle, boxes are not clipped to
    the picture. NMS may go first because stretching does not change an IoU. Raises EK409 when the strides
    do not fit the anchors.
    """
    if spec.strides:
        boxes = boxes * _anchor_strides(spec.strides, input_size, len(boxes))
    anchors, classes = multiclass_nms(
        boxes, scores, spec.score_threshold, spec.nms_threshold, spec.nms_top_k, spec.keep_top_k
    )
    stretch = np.asarray([image_size[1] / input_size[1], image_size[0] / input_size[0]] * 2, np.float32)
    return Detections((boxes[anchors] * stretch).astype(np.float32), scores[classes, anchors], classes)


def _anchor_strides(strides: list[int], size: tuple[int, int], anchors: int) -> NDArray[np.float32]:
    """float32 [anchors, 1]: the stride of each anchor's level."""
    counts = [-(-size[0] // stride) * -(-size[1] // stride) for stride in strides]
    if sum(counts) != anchors:
        raise EdgekitError(
            "EK409",
            f"postprocess.strides {strides} make {sum(counts)} anchors at {size[0]} x {size[1]}, the model "
            f"has {anchors}.",
        )
    return np.repeat(np.asarray(strides, np.float32), counts)[:, None]


def coco_ap(ground_truth: Sequence[Truth], detections: Sequence[Detections]) -> dict[str, float | None]:
    """COCO's AP over IoU .5:.05:.95, all sizes, 100 detections a picture, and AP at IoU .5, by pycocotools.

    One entry per picture in both lists. `ap` and `ap50` are None when there is no true box.
    """
    annotations = [
        _annotation(image, box, int(label))
        for image, (boxes, classes) in enumerate(ground_truth)
        for box, label in zip(boxes, classes, strict=True)
    ]
    return _evaluate(annotations, _found(detections), len(ground_truth))


def agreement_ap(
    reference: Sequence[Detections], got: Sequence[Detections], threshold: float = SURE
) -> dict[str, float | int | None]:
    """How far `got` finds what the reference model is sure of; no labels needed.

    The reference's detections with score >= threshold are taken as truth for `coco_ap` of `got`.
    Returns agreement_ap, agreement_ap50, agreement_n (true boxes) and same_class; the others are None
    when agreement_n is 0.
    """
    truth = [_sure(item, threshold) for item in reference]
    ap = coco_ap([(item.boxes, item.classes) for item in truth], got)
    return {
        "agreement_ap": ap["ap"],
        "agreement_ap50": ap["ap50"],
        "agreement_n": sum(len(item.boxes) for item in truth),
        "same_class": same_class(truth, got),
    }


def same_class(truth: Sequence[Detections], got: Sequence[Detections]) -> float | None:
    """Share of true boxes whose best-overlapping box in `got` (IoU >= .5, score >= .25) has the same class.

    One anchor may answer with two classes and one box; of equally good boxes the same class counts.
    None without a true box.
    """
    hits = np.concatenate([np.zeros(0, bool), *_same_class(truth, got)])
    return float(np.mean(hits)) if len(hits) else None


def _same_class(truth: Sequence[Detections], got: Sequence[Detections]) -> list[NDArray[np.bool_]]:
    """For each picture and true box, whether it was found with its class."""
    hits = []
    for true, found in zip(truth, got, strict=True):
        seen = found.pick(found.scores >= SEEN)
        overlap = np.nan_to_num(paired_iou(true.boxes[:, None], seen.boxes[None]))
        alike = np.where(true.classes[:, None] == seen.classes[None], overlap, 0).max(axis=1, initial=0)
        hits.append((alike >= 0.5) & (alike >= overlap.max(axis=1, initial=0)))
    return hits


def agreement_outcomes(
    reference: Sequence[Detections], got: Sequence[Detections], threshold: float = SURE
) -> dict[str, Outcome]:
    """What each picture contributes to the figures of `agreement_ap`."""
    truth = [_sure(item, threshold) for item in reference]
    records = [
        _annotation(image, box, int(label))
        for image, item in enumerate(truth)
        for box, label in zip(item.boxes, item.classes, strict=True)
    ]
    ranking = _ranking(records, _found(got), len(truth))
    hits = _same_class(truth, got)
    return {
        "agreement_ap": ranking,
        "agreement_ap50": ranking.at50,
        "same_class": Ratio(
            np.asarray([each.sum() for each in hits], float), np.asarray([len(each) for each in hits], float)
        ),
    }


def ap_on_coco(
    annotations: Path, names: Sequence[str], labels: Sequence[str], detections: Sequence[Detections]
) -> dict[str, float | int | None]:
    """AP against a COCO file: ap, ap50, ap_n (true boxes, crowds not counted).

    Pictures are found by file name (the folder does not matter), categories by name in `labels`;
    categories that the model does not know, and classes that the file does not know, are left out.
    Raises EK401 (no such file) and EK408 (not COCO, no common category, pictures not in it).
    """
    truth = _true_boxes(annotations, names, labels)
    n = sum(not item["iscrowd"] for item in truth)
    return {**_evaluate(truth, _found(detections), len(names)), "ap_n": n}


def outcomes_on_coco(
    annotations: Path, names: Sequence[str], labels: Sequence[str], detections: Sequence[Detections]
) -> dict[str, Outcome]:
    """What each picture contributes to the AP of `ap_on_coco`, which also says what is raised."""
    ranking = _ranking(_true_boxes(annotations, names, labels), _found(detections), len(names))
    return {"ap": ranking, "ap50": ranking.at50}


def _true_boxes(annotations: Path, names: Sequence[str], labels: Sequence[str]) -> list[dict[str, Any]]:
    raw = _read_coco(annotations)
    wanted = {_plain(label): index for index, label in enumerate(labels)}
    classes = {
        item["id"]: wanted[_plain(item["name"])]
        for item in raw["categories"]
        if _plain(item["name"]) in wanted
    }
    if not classes:
        missing = ", ".join(sorted(str(item["name"]) for item in raw["categories"])[:20])
        raise EdgekitError(
            "EK408",
            f"None of the categories in {annotations} ({missing or 'it has none'}) is among the model's "
            f"labels ({', '.join(list(labels)[:20])}). Rename them, or give the model its own labels.txt.",
        )
    known = {PurePosixPath(item["file_name"]).name: item["id"] for item in raw["images"]}
    unknown = [name for name in names if Path(name).name not in known]
    if unknown:
        raise EdgekitError(
            "EK408", f"{annotations} does not list {len(unknown)} of the pictures: {', '.join(unknown[:5])}."
        )
    rows = {known[Path(name).name]: row for row, name in enumerate(names)}
    truth = []
    for item in raw["annotations"]:
        if item["image_id"] in rows and item["category_id"] in classes:
            x, y, width, height = item["bbox"]
            box = (x, y, x + width, y + height)
            crowd = bool(item.get("iscrowd", 0))
            truth.append(_annotation(rows[item["image_id"]], box, classes[item["category_id"]], crowd))
    return truth


def _sure(item: Detections, threshold: float) -> Detections:
    # A box without area overlaps nothing, not even itself: it could never be found again.
    return item.pick((item.scores >= threshold) & (area(item.boxes) > 0))


def _plain(name: str) -> str:
    return name.strip().casefold()


def _read_coco(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        needed = {
            "images": ("id", "file_name"),
            "categories": ("id", "name"),
            "annotations": ("image_id", "category_id", "bbox"),
        }
        for key, fields in needed.items():
            for item in raw[key]:
                for name in fields:
                    item[name]
        return dict(raw)
    except OSError as error:
        raise EdgekitError("EK401", f"The annotations {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise EdgekitError(
            "EK408",
            f"{path} is not a COCO detection file ({type(error).__name__}: {error}): it needs "
            "images (id, file_name), categories (id, name) and annotations (image_id, category_id, bbox).",
        ) from error


def _annotation(image: int, box: Any, label: int, crowd: bool = False) -> dict[str, Any]:
    """A COCO record; `id` and, for a detection, `score` are added by the callers."""
    x1, y1, x2, y2 = (float(value) for value in box)
    width, height = x2 - x1, y2 - y1
    return {
        "image_id": image,
        "category_id": label,
        "bbox": [x1, y1, width, height],
        "area": width * height,
        "iscrowd": int(crowd),
    }


def _found(detections: Sequence[Detections]) -> list[dict[str, Any]]:
    return [
        {**_annotation(image, box, int(label)), "score": float(score)}
        for image, item in enumerate(detections)
        for box, label, score in zip(item.boxes, item.classes, item.scores, strict=True)
    ]


def _evaluate(
    truth: list[dict[str, Any]], found: list[dict[str, Any]], images: int
) -> dict[str, float | None]:
    """`ap` and `ap50` of COCO records; the mean runs over categories with at least one true box."""
    if not truth:
        return {"ap": None, "ap50": None}
    evaluation = _matched(truth, found, images)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    precision = evaluation.eval["precision"]  # [IoU, recall, category, area, maxDets]; -1: no true box
    result: dict[str, float | None] = {}
    for name, part in (("ap", precision), ("ap50", precision[:1])):
        valid = part[part > -1]
        # pycocotools adds an epsilon to each denominator; a perfect answer should still read 1.
        result[name] = round(float(valid.mean()), 12) if valid.size else None
    return result


def _matched(truth: list[dict[str, Any]], found: list[dict[str, Any]], images: int) -> Any:
    """A COCOeval that has matched detections with true boxes, picture by picture."""
    categories = sorted({item["category_id"] for item in truth})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            _dataset(truth, categories, images), _dataset(found, categories, images), "bbox"
        )
        # Only the figures that are asked for: all sizes, 100 detections a picture.
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
    return evaluation


def _ranking(truth: list[dict[str, Any]], found: list[dict[str, Any]], images: int) -> Ranking:
    """What pycocotools' AP is computed from. Detections behind a category's last hit are left out: they
    change no AP, whatever pictures are drawn."""
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("picture", "category", "hit", "ignored")}
    true_picture: list[int] = []
    true_category: list[int] = []
    by_category: dict[int, list[dict[str, Any]]] = {}
    for item in _matched(truth, found, images).evalImgs if truth else ():
        if item is not None:  # neither a detection nor a true box of this category on this picture
            by_category.setdefault(item["category_id"], []).append(item)
    for category, items in sorted(by_category.items()):
        scores = np.concatenate([item["dtScores"] for item in items])
        order = np.argsort(-scores, kind="mergesort")
        hit = np.concatenate([item["dtMatches"] for item in items], axis=1).T[order] > 0
        ignored = np.concatenate([item["dtIgnore"] for item in items], axis=1).T[order].astype(bool)
        picture = np.repeat([item["image_id"] for item in items], [len(item["dtScores"]) for item in items])
        hits = np.flatnonzero((hit & ~ignored).any(axis=1))
        kept = slice(0, hits[-1] + 1 if len(hits) else 0)
        columns["picture"].append(picture[order][kept])
        columns["category"].append(np.full(len(picture[order][kept]), category))
        columns["hit"].append(hit[kept])
        columns["ignored"].append(ignored[kept])
        for item in items:
            count = int((np.asarray(item["gtIgnore"]) == 0).sum())
            true_picture += [item["image_id"]] * count
            true_category += [category] * count
    empty = np.zeros((0, len(IOU)), bool)
    return Ranking(
        images,
        np.concatenate([*columns["picture"], np.zeros(0)]).astype(np.int32),
        np.concatenate([*columns["category"], np.zeros(0)]).astype(np.int32),
        np.concatenate([empty, *columns["hit"]]),
        np.concatenate([empty, *columns["ignored"]]),
        np.asarray(true_picture, np.int32),
        np.asarray(true_category, np.int32),
    )


def _dataset(records: list[dict[str, Any]], categories: list[int], images: int) -> Any:
    # Built by hand: COCO.loadRes fails on an empty list, and nothing found is an answer.
    dataset = COCO()
    known = set(categories)
    dataset.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": label, "name": str(label)} for label in categories],
        # COCOeval takes id 0 for "no match".
        "annotations": [
            {**item, "id": i} for i, item in enumerate(records, 1) if item["category_id"] in known
        ],
    }
    dataset.createIndex()
    return dataset
