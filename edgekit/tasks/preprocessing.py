"""From a picture to the network's input, as `folder.Preprocess` describes it."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.folder import PageResize, Preprocess, Resize

# Intel's IPP has a cubic of its own, which no ARM board has and whose last bits depend on the CPU: pictures
# would differ by one level in 3 of 100 values, and an int8 network's answers with them.
cv2.ipp.setUseIPP(False)

INTERPOLATION: dict[str, int] = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
# A very thin picture under `short` would become gigabytes; no real picture is that thin.
LONGEST_SIDE = 32767


def resized_size(height: int, width: int, resize: Resize | PageResize) -> tuple[int, int]:
    """Height and width in pixels after `resize`, without the filling of a line.

    `short`: as PaddleClas's ResizeImage with resize_short, both sides are
    int(round(side * (short / min(height, width)))), Python's rounding (half to even).
    `line`: as PaddleOCR's resize_norm_img. `page`: as its DetResizeForTest (see `page_size`).
    """
    if isinstance(resize, PageResize):
        return page_size(height, width, resize)
    if resize.kind == "exact":
        return resize.height, resize.width
    if resize.kind == "line":
        wanted = math.ceil(resize.height * (width / float(height)))
        return resize.height, min(wanted, line_width(height, width, resize))
    ratio = float(resize.height) / min(height, width)
    return round(height * ratio), round(width * ratio)


def line_width(height: int, width: int, resize: Resize) -> int:
    """The width of the network's input for a line of text of height x width pixels.

    What PaddleOCR gives a batch of one line: int(H * max(W / H, width / height)), here at most `widest`.
    """
    wanted = int(resize.height * max(resize.width / resize.height, width / float(height)))
    return min(wanted, resize.widest or resize.width)


def page_size(height: int, width: int, resize: PageResize) -> tuple[int, int]:
    """Height and width in pixels of the network's input for a page of height x width pixels.

    As PaddleOCR's DetResizeForTest: sides are cut to whole pixels after each change of scale; to multiples
    they are rounded by Python (half to even), and one is the least.
    """
    sides = (height, width)
    if resize.shortest is not None and min(sides) < resize.shortest:
        sides = _scaled(sides, resize.shortest / min(sides))
    if max(sides) > resize.longest:
        sides = _scaled(sides, resize.longest / max(sides))
    height, width = (max(round(side / resize.multiple), 1) * resize.multiple for side in sides)
    return height, width


def _scaled(sides: tuple[int, int], ratio: float) -> tuple[int, int]:
    return int(sides[0] * ratio), int(sides[1] * ratio)


def centre_crop(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The middle height x width of [H,W,...]; an odd rest goes to the bottom and right.

    As PaddleClas's CropImage: start = (side - crop) // 2. Raises EK409 when the picture is smaller.
    """
    have_height, have_width = image.shape[:2]
    if have_height < height or have_width < width:
        raise EdgekitError(
            "EK409",
            f"Pre-processing crops {height}x{width} from a picture of {have_height}x{have_width} "
            "(height x width). Make preprocess.resize in model.json at least as large as preprocess.crop.",
        )
    top, left = (have_height - height) // 2, (have_width - width) // 2
    return image[top : top + height, left : left + width]


def preprocess(image: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
    """uint8 BGR [H,W,3] -> contiguous float32 [3,h,w]: (x * scale - mean) / std, all in float32.

    A line of text is filled up with zeros on its right. Raises EK406 for an array that is no such picture,
    EK409 when crop and resize do not fit.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise EdgekitError(
            "EK406", f"Not a colour picture: {image.dtype} {image.shape}, expected uint8 (H, W, 3)."
        )
    height, width = resized_size(image.shape[0], image.shape[1], spec.resize)
    if max(height, width) > LONGEST_SIDE:
        raise EdgekitError(
            "EK406",
            f"A picture of {image.shape[0]}x{image.shape[1]} would be resized to {height}x{width}: too thin.",
        )
    resized: NDArray[np.uint8] = image
    if (height, width) != image.shape[:2]:
        resized = cv2.resize(image, (width, height), interpolation=INTERPOLATION[spec.resize.interpolation])
    if spec.crop is not None:
        resized = centre_crop(resized, *spec.crop)
    if spec.channels == "rgb":
        resized = resized[:, :, ::-1]
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    pixels = (resized.astype(np.float32) * np.float32(spec.scale) - mean) / std
    if isinstance(spec.resize, Resize) and spec.resize.kind == "line":
        missing = line_width(image.shape[0], image.shape[1], spec.resize) - width
        pixels = np.pad(pixels, ((0, 0), (0, missing), (0, 0)))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
