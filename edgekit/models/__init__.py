"""Networks that come as a definition in paddle.nn with trained weights to load into it.

The names are here, without Paddle; `build` imports it.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

Name = Literal[
    "PPLCNet_x0_25",
    "PPLCNet_x0_35",
    "PPLCNet_x0_5",
    "PPLCNet_x0_75",
    "PPLCNet_x1_0",
    "PPLCNet_x1_5",
    "PPLCNet_x2_0",
    "PPLCNet_x2_5",
]
NAMES: tuple[Name, ...] = get_args(Name)


def build(name: Name, classes: int) -> Any:
    """A paddle.nn.Layer in evaluation mode, with random weights: [N, 3, H, W] -> logits [N, classes]."""
    from edgekit.models.pplcnet import PPLCNet

    scale = float(name.removeprefix("PPLCNet_x").replace("_", "."))
    net = PPLCNet(scale, classes)
    net.eval()
    return net
