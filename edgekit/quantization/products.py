"""Hard swishes that ONNX Runtime computes from levels, between a convolution and those that read it.

y * gate(y) with gate(y) = clip(y / 6 + 1 / 2, 0, 1). In float that is an op that makes levels floats, one
for their units and middles, two for the hard swish, one for channel factors and one that rounds: 12
instructions on ARM for each value. From levels of y to those of the gate, and of both to those of the
product, it is 6, and 3 where all channels have one unit (counted on an emulated a76, ONNX Runtime 1.23).

An op on levels has one zero point and one scale, so the channels' units have to be the factors by which the
layers behind read the product: y[c] / s[c] times the gate is what they want. Factors are then chosen by what
rounding y costs, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.calibration.readers import Doubles, Floats
from edgekit.program.graph import Program, inputs, outputs
from edgekit.quantization import floors, thresholds
from edgekit.quantization.table import LEVELS, Layer, Product

SHARES = 2 * LEVELS + 1  # a factor is a multiple of 1 / 255: an op multiplies by it as a level
_END = 3.0  # below -3 a hard swish is 0, above 3 it is y
WORTH = 2.0  # at most this much more error than with float ops
PLAIN = 0.8  # factors where they leave less than this of the error
_FRACTIONS = (1.0, 0.85, 0.7, 0.55, 0.4)
_LOWS = (1.0, 0.5, 0.25)  # how far levels go down, of how far they go up


@dataclass(frozen=True)
class Reach:
    """How low and how high each channel goes, as far as it matters to a hard swish."""

    lows: Doubles
    highs: Doubles

    @classmethod
    def of(cls, bottoms: Floats, tops: Floats) -> Reach:
        lows = np.maximum(bottoms.astype(np.float64), -_END)
        return cls(lows, np.maximum(tops.astype(np.float64), lows + 1e-3 * max(float(tops.max()), 1e-6)))


def places(program: Program, layers: Sequence[Layer]) -> dict[str, str]:
    """{what a hard swish makes: what it reads}, where int8 convolutions alone read the one and one makes the
    other for it alone."""
    made = {layer.output for layer in layers if layer.int8 and layer.int8_output and layer.relu is None}
    read: dict[str, list[str]] = {}
    for layer in layers:
        if layer.int8 and layer.type != "matmul":
            read.setdefault(layer.input, []).append(layer.weight)
    consumers, fetched = program.consumers(), set(program.fetches)
    found = {}
    for op in program.block.ops:
        if op.type != "hard_swish" or not floors.usual(op):
            continue
        y, x = inputs(op)[0], outputs(op)[0]
        weights = read.get(x, [])
        alone = all(not set(weights).isdisjoint(inputs(each)) for each in consumers.get(x, []))
        if y in made and len(consumers[y]) == 1 and weights and alone and fetched.isdisjoint((x, y)):
            found[x] = y
    return found


def candidates(reach: Reach, strengths: Sequence[float]) -> list[Doubles | None]:
    """Factors [channels] that make y even, each a multiple of 1 / 255 and the largest 1; None for none."""
    found: list[Doubles | None] = [None]
    for low in _LOWS:
        peak = np.maximum(reach.highs, -reach.lows / low)
        for strength in strengths:
            if strength:
                found.append(np.maximum(np.rint(SHARES * (peak / peak.max()) ** strength), 1.0) / SHARES)
    return found


def levels(reach: Reach, tensor: str, factors: Doubles | None, noise: Callable[[Product], float]) -> Product:
    """The levels with the least `noise` of those up to a fraction of the highest value.

    Without factors -3, 0 and 3 are levels, and the first one is -3: the gate is then the levels up to twice
    the zero point.
    """
    s = np.ones(1) if factors is None else factors
    low, high = min(float((reach.lows / s).min()), 0.0), float((reach.highs / s).max())
    found = []
    for top in high * np.asarray(_FRACTIONS):
        if factors is None:
            zero = max(1, int(_END * SHARES / (max(top, _END) + _END)))
            found.append(Product(tensor=tensor, step=_END / zero, zero_point=zero))
        else:
            step = (top - low) / SHARES
            found.append(Product(tensor=tensor, step=step, zero_point=round(-low / step)))
    return min(found, key=noise)


def lowest(product: Product, factors: Doubles | None) -> float:
    """No value of the product, over its factors, is less."""
    s = np.ones(1) if factors is None else factors
    least = np.maximum(-product.zero_point * product.step * s, -_END / 2)
    return float((hard_swish(least) / s).min())


def noise(y: Floats, reach: Reach, product: Product, factors: Doubles | None) -> Doubles:
    """What rounding y [n, channels] makes of its hard swish: mean square [channels]."""
    s = np.ones(1) if factors is None else factors
    steps = product.step * s
    q = np.clip(np.rint(y / steps), -product.zero_point, SHARES - product.zero_point)
    off = ((hard_swish(q * steps) - hard_swish(y)) ** 2).mean(0)
    beyond = np.maximum(reach.highs - (SHARES - product.zero_point) * steps, 0.0)
    return np.asarray(off + thresholds.LARGEST * beyond**2 / len(y))


def own_noise(y: Floats, reach: Reach) -> Doubles:
    """`noise` with levels for each channel from its lowest to its highest value: float ops can have these."""
    steps = (reach.highs - reach.lows) / SHARES
    q = np.clip(np.rint((y - reach.lows) / steps), 0, SHARES)
    return np.asarray(((hard_swish(q * steps + reach.lows) - hard_swish(y)) ** 2).mean(0))


def hard_swish(y: Doubles | Floats) -> Doubles:
    return np.asarray(y * np.clip(y / 6 + 0.5, 0, 1), np.float64)
