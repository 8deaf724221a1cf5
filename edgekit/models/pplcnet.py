"""PP-LCNet (Cui et al., "PP-LCNet: A Lightweight CPU Convolutional Neural Network", 2021).

Layers have the names of PaddleClas, whose checkpoints load as they are.
"""

from __future__ import annotations

from typing import Any

from paddle import nn

# Depthwise separable blocks by resolution: kernel, input and output channels at scale 1, stride, whether
# squeeze-and-excitation stands between the two convolutions.
_BLOCKS: dict[str, tuple[tuple[int, int, int, int, bool], ...]] = {
    "blocks2": ((3, 16, 32, 1, False),),
    "blocks3": ((3, 32, 64, 2, False), (3, 64, 64, 1, False)),
    "blocks4": ((3, 64, 128, 2, False), (3, 128, 128, 1, False)),
    "blocks5": ((3, 128, 256, 2, False), *((5, 256, 256, 1, False),) * 5),
    "blocks6": ((5, 256, 512, 2, True), (5, 512, 512, 1, True)),
}
_STEM, _LAST = 16, 1280
_REDUCTION = 4
_DROPOUT = 0.2


def channels(count: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least that, and never less than 90 % of `count`."""
    near = max(divisor, int(count + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * count else near


class ConvBN(nn.Layer):  # type: ignore[misc]
    """Convolution, batch norm, hardswish."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias_attr=False
        )
        self.bn = nn.BatchNorm2D(outputs)
        self.hardswish = nn.Hardswish()

    def forward(self, x: Any) -> Any:
        return self.hardswish(self.bn(self.conv(x)))


class SqueezeExcitation(nn.Layer):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.conv1 = nn.Conv2D(width, width // _REDUCTION, 1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2D(width // _REDUCTION, width, 1)
        self.hardsigmoid = nn.Hardsigmoid()

    def forward(self, x: Any) -> Any:
        return x * self.hardsigmoid(self.conv2(self.relu(self.conv1(self.avg_pool(x)))))


class Separable(nn.Layer):  # type: ignore[misc]
    """A depthwise and a pointwise convolution."""

    def __init__(self, kernel: int, inputs: int, outputs: int, stride: int, se: bool) -> None:
        super().__init__()
        self.dw_conv = ConvBN(inputs, inputs, kernel, stride, groups=inputs)
        self.se = SqueezeExcitation(inputs) if se else None
        self.pw_conv = ConvBN(inputs, outputs, 1, 1)

    def forward(self, x: Any) -> Any:
        x = self.dw_conv(x)
        return self.pw_conv(self.se(x) if self.se is not None else x)


class PPLCNet(nn.Layer):  # type: ignore[misc]
    """[N, 3, H, W] -> logits [N, classes]."""

    def __init__(self, scale: float, classes: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(3, channels(_STEM * scale), 3, 2)
        for name, blocks in _BLOCKS.items():
            made = [
                Separable(kernel, channels(inputs * scale), channels(outputs * scale), stride, se)
                for kernel, inputs, outputs, stride, se in blocks
            ]
            self.add_sublayer(name, nn.Sequential(*made))
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        width = channels(_BLOCKS["blocks6"][-1][2] * scale)
        self.last_conv = nn.Conv2D(width, _LAST, 1, bias_attr=False)
        self.hardswish = nn.Hardswish()
        # Not scaled in training, so features are in inference: by 0.8.
        self.dropout = nn.Dropout(_DROPOUT, mode="downscale_in_infer")
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(_LAST, classes)

    def forward(self, x: Any) -> Any:
        x = self.conv1(x)
        for name in _BLOCKS:
            x = getattr(self, name)(x)
        x = self.dropout(self.hardswish(self.last_conv(self.avg_pool(x))))
        return self.fc(self.flatten(x))
