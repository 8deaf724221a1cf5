"""Lines of text on a picture: cut out upright for a recogniser, and put in the order in which one reads."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Quad = NDArray[np.floating[Any]]  # [4,2], x y in pixels, clockwise from the upper left corner
Image = NDArray[np.uint8]

_SAME_ROW = 0.5  # of the lower line's height: how far the middles of lines in a row lie apart at most


def sides(quad: Quad) -> tuple[int, int]:
    """Height and width in whole pixels of the rectangle that a quad becomes: the longer of opposite sides."""
    top, right, bottom, left = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    return int(max(left, right)), int(max(top, bottom))


def cut_out(image: Image, quad: Quad, vertical: float) -> Image:
    """What lies in a quad as an upright rectangle, uint8 [h,w,3]; turned a quarter to the left where its
    height is at least `vertical` times its width, as of a line from top to bottom.

    As PaddleOCR's get_rotate_crop_image. The quad must be a pixel high and wide at least.
    """
    height, width = sides(quad)
    corners = np.asarray([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), corners)
    line: Image = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.ascontiguousarray(np.rot90(line)) if height / width >= vertical else line


def reading_order(quads: Quad) -> list[int]:
    """Indices of quads [n,4,2]: rows from top to bottom, each from left to right.

    Columns are not told apart. "Top" is meant on the page, which may lie askew: by the angle of most lines.
    """
    if not len(quads):
        return []
    along = quads[:, 1] - quads[:, 0] + quads[:, 2] - quads[:, 3]
    down = quads[:, 3] - quads[:, 0] + quads[:, 2] - quads[:, 1]
    height, width = (np.linalg.norm(side, axis=1) / 2 for side in (down, along))
    level = width >= height
    angle = np.median(np.arctan2(along[level, 1], along[level, 0])) if level.any() else 0.0
    middle = quads.mean(axis=1)
    x = middle[:, 0] * np.cos(angle) + middle[:, 1] * np.sin(angle)
    y = middle[:, 1] * np.cos(angle) - middle[:, 0] * np.sin(angle)
    rows: list[list[int]] = []
    for index in np.argsort(y, kind="stable").tolist():
        first = rows[-1][0] if rows else index
        if rows and y[index] - y[first] < _SAME_ROW * min(height[first], height[index]):
            rows[-1].append(index)
        else:
            rows.append([index])
    return [index for row in rows for index in sorted(row, key=lambda index: x[index])]
