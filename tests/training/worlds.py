"""Small students and teachers, and what several tests do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from paddle import nn

from edgekit.console import Progress
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.training import trainable
from edgekit.training.distil import Distilled, Examples, Settings, distil
from tests.program import nets

Floats = npt.NDArray[np.float32]


class Branches(nn.Layer):  # type: ignore[misc]
    """Everything that a CPU step must get right, without batch norm: dense, strided, depthwise and grouped
    convolutions with biases, SE, concat, a residual, pooling, a matmul and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2D(3, 16, 3, 2, padding=1)
        self.depthwise = nn.Conv2D(16, 16, 5, padding=2, groups=16)
        self.pointwise = nn.Conv2D(16, 16, 1)
        self.grouped = nn.Conv2D(16, 16, 3, padding=1, groups=2)
        self.pool, self.squeeze, self.gate = nn.AdaptiveAvgPool2D(1), nn.Conv2D(16, 16, 1), nn.Hardsigmoid()
        self.shrink = nn.MaxPool2D(2)
        self.head = nn.Linear(32 * (nets.SIDE // 4) ** 2, 20)
        self.act, self.relu = nn.Hardswish(), nn.ReLU()

    def logits(self, x: Any) -> Any:
        import paddle

        x = self.act(self.stem(x))
        x = x + self.pointwise(self.relu(self.depthwise(x)))
        x = x * self.gate(self.squeeze(self.pool(x)))
        x = self.shrink(paddle.concat([x, self.act(self.grouped(x))], axis=1))
        return self.head(paddle.flatten(x, 1))

    def forward(self, x: Any) -> Any:
        return nn.functional.softmax(self.logits(x), axis=-1)


def program(kind: Any, folder: Path, **options: Any) -> Program:
    folder.mkdir(parents=True, exist_ok=True)
    return edit.fold_batch_norm(graph.load(nets.export(nets.make(kind), folder, **options)))


def perturbed(teacher: Program, share: float = 0.2, seed: int = 0) -> Program:
    """The teacher with noise of this share of each weight's deviation: a student with something to learn."""
    made, rng = teacher.copy(), np.random.default_rng(seed)
    for name in trainable.weights(teacher):
        value = made.params[name]
        noise = rng.normal(size=value.shape) * share * max(float(value.std()), 0.05)
        made.params[name] = (value + noise).astype(np.float32)
    return made


def examples(count: int, seed: int = 5, **more: Any) -> Examples:
    return Examples([feed["x"][0] for feed in nets.pictures(count, seed)], f"{count} of seed {seed}", **more)


def learn(student: Program, teacher: Program, folder: Path, loss: str = "kl", **settings: Any) -> Distilled:
    """`distil` on 24 pictures, 8 held out, with test-sized settings."""
    wanted = {"steps": 20, "rate": 1e-3, "threads": 1, **settings}
    losses = dict.fromkeys(student.fetches, loss)
    held_out = examples(8, seed=9)
    return distil(student, teacher, examples(24), held_out, Settings(**wanted), losses, folder, Progress())
