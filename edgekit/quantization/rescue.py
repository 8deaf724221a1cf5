"""Layers left in float because int8 costs them too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgekit.quantization.table import Layer
from edgekit.recipe import Rescue

# A depthwise convolution multiplies little and moves much: in float it costs no time on x86, and 12 % of
# PicoDet's multiply-accumulates are in such layers, but most of what int8 loses.
_DEPTHWISE = 0.25


def applied(layers: Sequence[Layer], errors: Mapping[str, float], section: Rescue) -> list[Layer]:
    """`layers` with those that int8 costs too much in float, and the reason."""
    names = set(chosen(layers, errors, section))

    def rescued(layer: Layer) -> Layer:
        reason = f"rescue: alone in int8 it costs {errors[layer.name]:.2g} of the outputs' variance"
        return layer.model_copy(update={"int8": False, "reason": reason})

    return [rescued(layer) if layer.name in names else layer for layer in layers]


def chosen(layers: Sequence[Layer], errors: Mapping[str, float], section: Rescue) -> list[str]:
    """Names of the layers that stay float, by what each loses when it alone is int8.

    Errors of layers add up, near enough, for each is small and knows nothing of the others.
    """
    macs, params = sum(layer.macs for layer in layers), sum(layer.params for layer in layers)
    floats = [layer for layer in layers if not layer.int8]
    time = section.macs * macs - sum(layer.macs for layer in floats)
    size = section.params * params - sum(layer.params for layer in floats)

    def cost(layer: Layer) -> float:
        slow = layer.macs * (_DEPTHWISE if layer.type == "depthwise_conv2d" else 1.0)
        return slow / max(1, macs) + layer.params / max(1, params)

    left = sum(errors.values())
    found = []
    worst = (layer for layer in layers if layer.int8)
    for layer in sorted(worst, key=lambda layer: -errors[layer.name] / cost(layer)):
        if left <= section.error:
            break
        if layer.macs <= time and layer.params <= size:
            found.append(layer.name)
            time, size = time - layer.macs, size - layer.params
            left -= errors[layer.name]
    return found
