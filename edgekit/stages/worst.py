"""The evaluation pictures on which a network answers least like the float one, made ready to be looked at."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from edgekit.data.images import Image, ImageSet, read_image
from edgekit.folder import ModelInfo
from edgekit.tasks import evaluate, shown
from edgekit.tasks.evaluate import Answer
from edgekit.tasks.shown import Row

COUNT = 6
LONGEST = 480  # pixels of a small picture
_QUALITY = 75  # JPEG


def pictures(
    info: ModelInfo, images: ImageSet, reference: Sequence[Answer], got: Sequence[Answer]
) -> list[dict[str, Any]]:
    """As `edgekit.report.schema.Picture` wants them, the worst first."""
    metric, _ = evaluate.TASKS[info.task].single
    return [
        {
            "name": images.paths[index].name,
            "metric": metric,
            "value": value,
            **seen(info, read_image(images.paths[index]), reference[index], got[index]),
        }
        for index, value in evaluate.worst(info, reference, got)[:COUNT]
    ]


def seen(info: ModelInfo, image: Image, reference: Answer, got: Answer) -> dict[str, Any]:
    """A small JPEG with both answers in its pixels."""
    factor = min(1.0, LONGEST / max(image.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    # A faint guess is not shown, but it is not nothing either.
    sides = [shown.rows(info, shown.visible(answer)) for answer in (reference, got)]
    whole = [shown.rows(info, answer) for answer in (reference, got)]
    return {
        "width": width,
        "height": height,
        "reference": _found(sides[0], shown.unmatched(sides[0], whole[1]), factor),
        "judged": _found(sides[1], shown.unmatched(sides[1], whole[0]), factor),
        "jpeg": base64.b64encode(jpeg).decode(),
    }


def _found(rows: Sequence[Row], differs: Sequence[bool], factor: float) -> list[dict[str, Any]]:
    return [
        {
            "label": row.label,
            "score": row.score,
            "points": None
            if row.quad is None
            else np.round(row.quad.astype(np.float64) * factor, 1).tolist(),
            "differs": other,
        }
        for row, other in zip(rows, differs, strict=True)
    ]
