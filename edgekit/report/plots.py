"""Small drawings as SVG paths: a histogram of |x| and the range of every channel, with their thresholds.

Drawn in a box of WIDTH x HEIGHT units, which the page stretches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.quantization.analysis import LayerFigures
from edgekit.quantization.table import LEVELS

WIDTH, HEIGHT = 100, 40
FEW = 7.5  # steps: a channel that stays below gets fewer than 8 levels


@dataclass(frozen=True)
class Plots:
    """Of one layer. x and y of lines are in units of the box."""

    histogram: str
    limit: float  # |x| at the right edge of the histogram
    clip_x: float
    ranges: str
    least: float  # |x| at the lower edge of the ranges: half a step, below which all rounds to zero
    clip_y: float
    few_y: float


def plots(layer: LayerFigures) -> Plots | None:
    """None where the analysis kept neither counts nor ranges of the layer."""
    if layer.histogram is None or layer.ranges is None:
        return None
    limit = max(layer.maximum, layer.threshold)
    most = math.log1p(max(layer.histogram))
    heights = [math.log1p(count) / most if most else 0.0 for count in layer.histogram]
    step = layer.threshold / LEVELS
    least, top = step / 2, max(layer.threshold, *layer.ranges)

    def height(value: float) -> float:
        return max(0.0, math.log(value / least) / math.log(top / least)) if value > 0 else 0.0

    return Plots(
        histogram=_steps(heights, WIDTH * layer.maximum / limit),
        limit=limit,
        clip_x=round(WIDTH * layer.threshold / limit, 2),
        ranges=_steps([height(value) for value in sorted(layer.ranges, reverse=True)], WIDTH),
        least=least,
        clip_y=_y(height(layer.threshold)),
        few_y=_y(height(FEW * step)),
    )


def _steps(heights: Sequence[float], width: float) -> str:
    """Bars side by side from the left edge, each as high as its share of the box."""
    each = width / len(heights)
    path = [f"M0 {HEIGHT}"]
    for k, share in enumerate(heights):
        path.append(f"V{_y(share):g}H{round(each * (k + 1), 2):g}")
    return f"{''.join(path)}V{HEIGHT}Z"


def _y(share: float) -> float:
    return round(HEIGHT * (1 - share), 2)
