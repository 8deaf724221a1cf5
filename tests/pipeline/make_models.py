"""Run as a script in a child process: small Paddle models with seeded weights, exported for inference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

SIDE = 32


def block(inputs: int, outputs: int, groups: int, act: type, stride: int = 1) -> Any:
    conv = nn.Conv2D(inputs, outputs, 3, stride=stride, padding=1, groups=groups, bias_attr=False)
    return nn.Sequential(conv, nn.BatchNorm2D(outputs), act())


class Backbone(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            block(3, 16, 1, nn.Hardswish, 2), block(16, 16, 16, nn.ReLU), block(16, 32, 1, nn.ReLU, 2)
        )


class Classifier(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool, self.head = Backbone(), nn.AdaptiveAvgPool2D(1), nn.Linear(32, 16)

    def forward(self, x: Any) -> Any:
        return nn.functional.softmax(6 * self.head(paddle.flatten(self.pool(self.body(x)), 1)))


class Detector(nn.Layer):
    """64 anchors, one per 4 x 4 pixels; boxes in pixels of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.boxes, self.scores = Backbone(), nn.Conv2D(32, 4, 1), nn.Conv2D(32, 3, 1)
        at = np.arange(SIDE // 4, dtype=np.float32) * 4 + 2
        x, y = np.meshgrid(at, at)
        self.register_buffer("centres", paddle.to_tensor(np.stack([x, y, x, y], -1).reshape(1, 64, 4)))

    def forward(self, x: Any) -> Any:
        features = self.body(x)
        far = paddle.to_tensor(np.array([-8, -8, 8, 8], np.float32))
        sides = nn.functional.sigmoid(paddle.flatten(self.boxes(features), 2).transpose([0, 2, 1])) * far
        scores = nn.functional.sigmoid(8 * paddle.flatten(self.scores(features), 2))
        return self.centres + sides, scores


class Reader(nn.Layer):
    """Lines of 16 pixels in height and any width: a step for every 8 pixels, 6 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool = Backbone(), nn.AvgPool2D((4, 2), (4, 2))
        self.mix, self.head = nn.Linear(32, 32), nn.Linear(32, 6)

    def forward(self, x: Any) -> Any:
        steps = paddle.squeeze(self.pool(self.body(x)), 2).transpose([0, 2, 1])
        return nn.functional.softmax(6 * self.head(nn.functional.relu(self.mix(steps))))


class Finder(nn.Layer):
    """A map as large as the picture, whose sides are multiples of 8: two scales, added and upsampled."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.deep = Backbone(), block(32, 32, 1, nn.ReLU, 2)
        self.mix, self.up = block(32, 16, 1, nn.ReLU), nn.Conv2DTranspose(16, 8, 2, 2)
        self.head = nn.Conv2DTranspose(8, 1, 2, 2)

    def forward(self, x: Any) -> Any:
        features = self.body(x)
        context = nn.functional.interpolate(self.deep(features), scale_factor=2, mode="nearest")
        found = nn.functional.relu(self.up(self.mix(features + context)))
        return nn.functional.sigmoid(8 * self.head(found))


class FixedFinder(Finder):
    """The same, but for its upsampling to one size, whatever the picture's."""

    def forward(self, x: Any) -> Any:
        features = self.body(x)
        size = [SIDE // 4, SIDE // 4]
        context = nn.functional.interpolate(self.deep(features), size=size, mode="nearest")
        return nn.functional.sigmoid(self.head(nn.functional.relu(self.up(self.mix(features + context)))))


def main(root: Path) -> None:
    nets = (
        ("classifier", Classifier, (SIDE, SIDE)),
        ("detector", Detector, (SIDE, SIDE)),
        ("reader", Reader, (16, None)),
        ("finder", Finder, (None, None)),
        ("fixed_finder", FixedFinder, (None, None)),
    )
    for name, make, sides in nets:
        paddle.seed(7)
        net = make()
        # Statistics of some inputs, so that activations neither die nor saturate.
        net.train()
        for _ in range(20):
            net(paddle.randn([16, 3, *(side or SIDE for side in sides)]))
        net.eval()
        spec = [paddle.static.InputSpec([None, 3, *sides], "float32", "x")]
        paddle.jit.save(net, str(root / name / "model"), input_spec=spec)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
