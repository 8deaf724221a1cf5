"""Layers left in float because int8 costs them too much."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from edgekit.quantization.table import FILES, Layer, Target
from edgekit.recipe import Rescue

# Instructions that a layer in float adds on ARM, in multiply-accumulates of a pointwise convolution, which
# take .27 more each than in int8 (a76, ONNX Runtime 1.23, layers alone on 64 channels of 128 x 128). For most
# depthwise layers ONNX Runtime copies windows: 22 instructions a value of 3 x 3, 71 with a stride, where
# int8 takes 8 and 11. Behind a ReLU their tensors are int8, and are made float and int8 again. Other
# convolutions in int8 lay their tensors out anew, and round what they answer: with a small fan-in float is
# hardly more.
_DEPTHWISE, _DEPTHWISE_IN_CHAIN, _STRIDED = 6.0, 10.0, 25.0
_ROUNDED = 20.0  # a value
_LEAST = 0.1  # of the multiply-accumulates

_GPTQ_TAKES = 0.75  # PicoDet-S's weights: .022 of the outputs' variance, .006 with GPTQ


def applied(
    layers: Sequence[Layer],
    floats: Mapping[Target, Collection[str]],
    errors: Mapping[Target, Mapping[str, float]],
) -> list[Layer]:
    """`layers` with those of `floats` in float, in both files or in one, and the reason."""

    def rescued(layer: Layer) -> Layer:
        where: list[Target] = [target for target, names in floats.items() if layer.name in names]
        if not where:
            return layer
        cost = ", ".join(f"{errors[target][layer.name]:.2g} in {FILES[target]}" for target in where)
        reason = f"rescue: of the outputs' variance it costs, alone in int8, {cost}"
        if len(where) == len(floats):
            return layer.model_copy(update={"int8": False, "reason": reason})
        (only,) = floats.keys() - where
        return layer.model_copy(update={"only": only, "reason": reason})

    return [rescued(layer) for layer in layers]


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
        return price(layer) / max(1, macs) + layer.params / max(1, params)

    found = []
    worst = [layer for layer in layers if layer.int8]
    left = sum(errors[layer.name] for layer in worst)
    for layer in sorted(worst, key=lambda layer: -errors[layer.name] / cost(layer)):
        pays = bool(section.gates) or errors[layer.name] > cost(layer) * left
        if layer.macs <= time and layer.params <= size and pays:
            found.append(layer.name)
            time, size, left = time - layer.macs, size - layer.params, left - errors[layer.name]
    return found


def price(layer: Layer) -> float:
    """What a layer in float costs, in multiply-accumulates."""
    if layer.type == "depthwise_conv2d":
        if layer.stride > 1:
            return layer.macs * _STRIDED
        return layer.macs * (_DEPTHWISE if layer.relu is None else _DEPTHWISE_IN_CHAIN)
    return layer.macs * max(1 - _ROUNDED / layer.fan_in, _LEAST) if layer.type == "conv2d" else layer.macs


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
