"""What cameras and scanners do to a page: pixels change, places do not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

WORST_JPEG, BEST_JPEG = 25, 95


def degrade(image: Float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 [h,w,3] from float32 [h,w,3], 0..255: some of uneven light, a shadow, low contrast, blur,
    coarse resampling and noise, each with a chance of its own."""
    if rng.random() < 0.5:
        image = uneven_light(image, rng)
    if rng.random() < 0.3:
        image = cast_shadow(image, rng)
    if rng.random() < 0.35:
        contrast = rng.uniform(0.3, 0.8)
        image = image * np.float32(contrast) + np.float32(rng.uniform(0, 255 * (1 - contrast)))
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.8)))
    elif rng.random() < 0.2:
        image = motion(image, int(rng.integers(3, 9)), float(rng.uniform(0, np.pi)))
    if rng.random() < 0.3:
        image = coarse(image, float(rng.uniform(0.4, 0.8)))
    if rng.random() < 0.4:
        image = image + rng.normal(0, rng.uniform(2, 18), image.shape).astype(np.float32)
    return as_seen(image)


def as_seen(image: Float) -> NDArray[np.uint8]:
    """float32, 0..255 -> uint8."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def uneven_light(image: Float, rng: np.random.Generator) -> Float:
    """Brighter on one side: a plane of factors between about 0.5 and 1.1."""
    plane = _slope(image, rng)
    plane = (plane - plane.min()) / np.ptp(plane)
    least, most = rng.uniform(0.5, 0.85), rng.uniform(0.95, 1.1)
    return _lit(image, least + (most - least) * plane)


def cast_shadow(image: Float, rng: np.random.Generator) -> Float:
    """A half-plane that is darker, with a soft edge, as of a person who bends over the page."""
    where, soft, dark = rng.uniform(-0.6, 0.6), rng.uniform(0.01, 0.15), rng.uniform(0.4, 0.8)
    distance = (_slope(image, rng) - where) / soft
    return _lit(image, dark + (1 - dark) / (1 + np.exp(np.clip(-distance, -50, 50))))


def _slope(image: Float, rng: np.random.Generator) -> NDArray[np.float64]:
    """[h,w]: how far each pixel lies from the middle in a random direction; the sides are at 1."""
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    return np.asarray(np.cos(angle) * x + np.sin(angle) * y)


def _lit(image: Float, factors: NDArray[np.float64]) -> Float:
    return np.asarray(image * factors[..., None].astype(np.float32))


def motion(image: Float, length: int, angle: float) -> Float:
    """Blur along a line of `length` pixels."""
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    steps = np.linspace(-middle, middle, 4 * length)
    rows = np.rint(middle + steps * np.sin(angle)).astype(int)
    kernel[rows, np.rint(middle + steps * np.cos(angle)).astype(int)] = 1
    blurred: Float = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return blurred


def coarse(image: Float, scale: float) -> Float:
    """Made smaller and large again: a picture from far away."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    large: Float = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return large


def jpeg(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """The picture as JPEG of a random quality."""
    quality = int(rng.integers(WORST_JPEG, BEST_JPEG + 1))
    return bytes(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1])
