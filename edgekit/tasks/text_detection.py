"""Answers of a text detector of the DB kind, and how well they agree with another model's or the truth.

DB (Liao et al., "Real-time scene text detection with differentiable binarization", 2020) answers with a map
of how likely each pixel lies in the shrunk core of a line of text. Post-processing is that of PaddleOCR's
DBPostProcess with quads, as PP-OCR's own inference runs it; tests/tasks/test_text_detection.py holds each
step against what can be computed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pyclipper
import shapely
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.folder import TextDetectionPost
from edgekit.significance import Outcome, Ratio

Floats = NDArray[np.float32]
Polygons = Sequence[NDArray[Any]]  # each [points, 2], x y, at least three points

GROWN = 2  # a region must be larger by so many pixels after it has been grown than before


@dataclass(frozen=True)
class Regions:
    """One picture's lines of text, in the order in which their contours were found.

    `quads` float32 [n,4,2]: x y in pixels of the original picture, clockwise from the upper left corner;
    `scores` float32 [n], 0..1: the mean of the map inside.
    """

    quads: Floats
    scores: Floats


def postprocess(pixels: Floats, spec: TextDetectionPost, image_size: tuple[int, int]) -> Regions:
    """The map of probabilities [h,w], which stands for the whole picture of `image_size` (height, width),
    -> regions.

    Contours of what lies above `threshold`, the first `max_candidates` of them; the smallest rectangle
    around each; away with those that are thinner than `min_size` or whose mean is under `box_threshold`;
    the rest grown (see `grow`), scaled to the picture, rounded to whole pixels and clipped, as in PaddleOCR.
    """
    height, width = pixels.shape
    binary = (pixels > np.float32(spec.threshold)).astype(np.uint8)
    contours, _ = cv2.findContours(binary, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    quads: list[Floats] = []
    scores: list[float] = []
    for contour in contours[: spec.max_candidates]:
        core, side = smallest_rectangle(contour)
        if side < spec.min_size:
            continue
        score = mean_inside(pixels, core)
        if score < spec.box_threshold:
            continue
        outline = grow(core, spec.unclip_ratio)
        if outline is None:
            continue
        quad, side = smallest_rectangle(outline)
        if side < spec.min_size + GROWN:
            continue
        stretch = np.asarray([image_size[1] / width, image_size[0] / height])
        quads.append(np.clip(np.round(quad * stretch), 0, (image_size[1], image_size[0])).astype(np.float32))
        scores.append(score)
    return Regions(np.asarray(quads, np.float32).reshape(-1, 4, 2), np.asarray(scores, np.float32))


def smallest_rectangle(points: NDArray[Any]) -> tuple[Floats, float]:
    """The rotated rectangle of least area around points [n,2] or [n,1,2] (int32 or float32): its corners
    float32 [4,2], clockwise from the upper left in a picture, and its shorter side."""
    rectangle = cv2.minAreaRect(points)
    corners = cv2.boxPoints(rectangle)
    # PaddleOCR's order: of the two left corners the upper one first, of the two right ones likewise.
    left, right = np.split(corners[np.argsort(corners[:, 0], kind="stable")], 2)
    upper_left, lower_left = left if left[1, 1] > left[0, 1] else left[::-1]
    upper_right, lower_right = right if right[1, 1] > right[0, 1] else right[::-1]
    return np.stack([upper_left, upper_right, lower_right, lower_left]), float(min(rectangle[1]))


def mean_inside(pixels: Floats, quad: Floats) -> float:
    """The mean of the map [h,w] over the pixels of a quad [4,2] (PaddleOCR's score mode `fast`)."""
    height, width = pixels.shape
    x0, y0 = np.clip(np.floor(quad.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    x1, y1 = np.clip(np.ceil(quad.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    mask = np.zeros((y1 - y0 + 1, x1 - x0 + 1), np.uint8)
    cv2.fillPoly(mask, [(quad - (x0, y0)).astype(np.int32)], 1)
    return float(cv2.mean(pixels[y0 : y1 + 1, x0 : x1 + 1], mask)[0])


def grow(quad: Floats, ratio: float) -> NDArray[np.int32] | None:
    """The outline [n,2] of a quad [4,2] moved outwards by area * ratio / perimeter, with round corners.

    DB was trained to find cores that are shrunk in this manner. Corners are cut to whole pixels before and
    rounded after, as Clipper counts in integers. None when nothing is left, as of a quad without area.
    """
    shape = shapely.Polygon(quad)
    offset = pyclipper.PyclipperOffset()
    try:
        offset.AddPath(quad.astype(np.int64).tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    except pyclipper.ClipperException:  # in whole pixels all corners are one
        return None
    grown = offset.Execute(shape.area * ratio / shape.length)
    return np.asarray(grown[0], np.int32) if grown else None


def overlaps(first: Polygons, second: Polygons) -> NDArray[np.float64]:
    """IoU of polygons, [len(first), len(second)]; 0 where one has no area."""
    result = np.zeros((len(first), len(second)))
    a, b = _shapes(first), _shapes(second)
    if not len(a) or not len(b):
        return result
    rows, columns = shapely.STRtree(b).query(a, predicate="intersects")
    common = shapely.area(shapely.intersection(a[rows], b[columns]))
    union = shapely.area(a[rows]) + shapely.area(b[columns]) - common
    result[rows, columns] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return result


def _shapes(polygons: Polygons) -> NDArray[Any]:
    shapes = np.asarray([shapely.Polygon(points) for points in polygons], object)
    # A person's polygon may cross itself, of which an intersection has no meaning: its parts count.
    return np.asarray(shapely.make_valid(shapes, method="structure", keep_collapsed=False))


def pairs(overlap: NDArray[np.float64], least: float) -> dict[int, int]:
    """Row -> a column of its own with IoU > `least`, of rows that find one; the best pairs first.

    ICDAR 2015's rule, save that there pairs are formed in the order of the file; regions of one side do not
    overlap as a rule, and then both give the same.
    """
    order = np.argsort(-overlap, axis=None, kind="stable")
    found: dict[int, int] = {}
    columns: set[int] = set()
    for row, column in zip(*np.unravel_index(order, overlap.shape), strict=True):
        if overlap[row, column] <= least:
            break
        if row not in found and column not in columns:
            found[int(row)] = int(column)
            columns.add(int(column))
    return found


def agreement(reference: Sequence[Regions], got: Sequence[Regions]) -> dict[str, float | int | None]:
    """How far `got` finds the reference model's regions and no others; no labels needed.

    agreement_hmean and agreement_hmean75 (see `scores`), agreement_n: the reference's regions.
    """
    found = scores([list(item.quads) for item in reference], got)
    return {
        "agreement_hmean": found["hmean"],
        "agreement_hmean75": found["hmean75"],
        "agreement_n": found["hmean_n"],
    }


def scores(truth: Sequence[Polygons], got: Sequence[Regions]) -> dict[str, float | int | None]:
    """hmean, precision and recall over all pictures at IoU > .5, hmean75 at IoU > .75, hmean_n: true regions.

    hmean is the harmonic mean of precision and recall. None is not measurable: recall without a true
    region, precision with nothing found, hmean with neither.
    """
    n_truth, n_found = sum(map(len, truth)), sum(len(item.quads) for item in got)
    all_overlaps = [overlaps(true, list(item.quads)) for true, item in zip(truth, got, strict=True)]
    hits, hits75 = (sum(len(pairs(overlap, least)) for overlap in all_overlaps) for least in (0.5, 0.75))

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return {
        "hmean": share(2 * hits, n_truth + n_found),
        "hmean75": share(2 * hits75, n_truth + n_found),
        "precision": share(hits, n_found),
        "recall": share(hits, n_truth),
        "hmean_n": n_truth,
    }


def agreement_outcomes(reference: Sequence[Regions], got: Sequence[Regions]) -> dict[str, Outcome]:
    """What each picture contributes to the figures of `agreement`."""
    found = _outcomes([list(item.quads) for item in reference], got)
    return {f"agreement_{name}": found[name] for name in ("hmean", "hmean75")}


def outcomes_on_labels(labels: Path, names: Sequence[str], got: Sequence[Regions]) -> dict[str, Outcome]:
    """What each picture contributes to the figures of `scores_on_labels`, which also says what is raised."""
    return _outcomes(_polygons(labels, names), got)


def _outcomes(truth: Sequence[Polygons], got: Sequence[Regions]) -> dict[str, Outcome]:
    true = np.asarray([len(each) for each in truth], float)
    found = np.asarray([len(item.quads) for item in got], float)
    all_overlaps = [overlaps(each, list(item.quads)) for each, item in zip(truth, got, strict=True)]
    hits, hits75 = (
        np.asarray([float(len(pairs(overlap, least))) for overlap in all_overlaps]) for least in (0.5, 0.75)
    )
    return {
        "hmean": Ratio(hits + hits, true + found),
        "hmean75": Ratio(hits75 + hits75, true + found),
        "precision": Ratio(hits, found),
        "recall": Ratio(hits, true),
    }


def read_labels(path: Path) -> dict[str, list[NDArray[np.float64]]]:
    """PaddleOCR's labels, `picture<TAB>[{"transcription": ..., "points": [[x, y], ...]}, ...]` a line:
    file name without folder -> polygons, each [points, 2] in pixels.

    Every region counts, also those marked illegible (`###`). Raises EK401 and EK408.
    """
    labels: dict[str, list[NDArray[np.float64]]] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise EdgekitError("EK401", f"The labels {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise EdgekitError("EK408", f"{path} is not text in UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, *columns = line.split("\t")
        try:
            if len(columns) != 1:
                raise ValueError(f"{1 + len(columns)} column(s), expected 2")
            labels[PurePosixPath(name).name] = [_polygon(entry) for entry in json.loads(columns[0])]
        except (ValueError, KeyError, TypeError) as error:
            raise EdgekitError(
                "EK408",
                f"{path}, line {number}, is none of PaddleOCR's text labels ({type(error).__name__}: "
                f"{error}): they are "
                'lines of \'picture<TAB>[{"transcription": "...", "points": [[x, y], ...]}, ...]\'.',
            ) from error
    return labels


def _polygon(entry: Any) -> NDArray[np.float64]:
    points = np.asarray(entry["points"], np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError("the points of a region are not at least three pairs of numbers")
    return points


def scores_on_labels(
    labels: Path, names: Sequence[str], got: Sequence[Regions]
) -> dict[str, float | int | None]:
    """`scores` against a label file; pictures are found by file name (the folder does not matter).

    Raises EK401 and EK408.
    """
    return scores(_polygons(labels, names), got)


def _polygons(labels: Path, names: Sequence[str]) -> list[list[NDArray[np.float64]]]:
    known = read_labels(labels)
    unknown = [name for name in names if Path(name).name not in known]
    if unknown:
        raise EdgekitError(
            "EK408", f"{labels} has no line for {len(unknown)} of the pictures: {', '.join(unknown[:5])}."
        )
    return [known[Path(name).name] for name in names]
