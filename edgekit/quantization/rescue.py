"""Layers left in float because int8 costs them too much."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from edgekit.quantization.table import Layer
from edgekit.recipe import Rescue

# What a depthwise convolution's multiplication costs in float, over one of other layers: for most of these
# ONNX Runtime copies windows on ARM. Counted there (a76, PicoDet-S and PP-LCNetV2, depthwise layers alone, of
# which the first need no rounding between them): 1.1 to 3.1 instructions more than int8, where a pointwise
# convolution takes about .35 more and the first ones none. Behind a ReLU their tensors are int8, and to make
# them float and int8 again takes as long as ten times the multiplications, on x86, too.
_DEPTHWISE, _DEPTHWISE_IN_CHAIN = 5.0, 10.0

_GPTQ_TAKES = 0.75  # PicoDet-S's weights: .022 of the outputs' variance, .006 with GPTQ


def applied(layers: Sequence[Layer], names: Collection[str], errors: Mapping[str, float]) -> list[Layer]:
    """`layers` with those of `names` in float, and the reason."""

    def rescued(layer: Layer) -> Layer:
        reason = f"rescue: alone in int8 it costs {errors[layer.name]:.2g} of the outputs' variance"
        return layer.model_copy(update={"int8": False, "reason": reason})

    return [rescued(layer) if layer.name in names else layer for layer in layers]


class Cost(Protocol):
    """What int8 costs a layer: as measured, or as `analysis.json` keeps it."""

    @property
    def error(self) -> float: ...
    @property
    def from_input(self) -> float | None: ...


def expected(cost: Cost, rounded: bool) -> float:
    """What a layer costs in the end, from its cost with weights rounded to nearest: GPTQ takes most of what
    these make of it (`rounded`)."""
    share = cost.from_input
    return cost.error * (1 - _GPTQ_TAKES * (1 - share)) if rounded and share is not None else cost.error


def order(layers: Sequence[Layer], errors: Mapping[str, float], section: Rescue) -> list[str]:
    """Names of the layers that may stay float, those first that lose most in int8 for their cost in float.

    No more than fit into the shares of `section` together, and, where no gate asks for more, none whose share
    of the error that is left is less than its shares of time and weights together.
    """
    macs, params = sum(layer.macs for layer in layers), sum(layer.params for layer in layers)
    floats = [layer for layer in layers if not layer.int8]
    time = section.macs * macs - sum(layer.macs for layer in floats)
    size = section.params * params - sum(layer.params for layer in floats)

    def cost(layer: Layer) -> float:
        slow = float(layer.macs)
        if layer.type == "depthwise_conv2d":
            slow *= _DEPTHWISE if layer.relu is None else _DEPTHWISE_IN_CHAIN
        return slow / max(1, macs) + layer.params / max(1, params)

    found = []
    worst = [layer for layer in layers if layer.int8]
    left = sum(errors[layer.name] for layer in worst)
    for layer in sorted(worst, key=lambda layer: -errors[layer.name] / cost(layer)):
        pays = bool(section.gates) or errors[layer.name] > cost(layer) * left
        if layer.macs <= time and layer.params <= size and pays:
            found.append(layer.name)
            time, size, left = time - layer.macs, size - layer.params, left - errors[layer.name]
    return found


def enough(names: Sequence[str], errors: Mapping[str, float], bound: float) -> int:
    """How many of `names` have to stay float for the predicted error to be no more than `bound`.

    Errors of layers add up, near enough, for each is small and knows nothing of the others.
    """
    left = sum(errors.values())
    for count, name in enumerate(names):
        if left <= bound:
            return count
        left -= errors[name]
    return len(names)


def fewest(most: int, holds: Callable[[int], bool]) -> int:
    """The least count with which `holds`, or `most` where none does: more layers in float never do worse, so
    it is found by halving."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
