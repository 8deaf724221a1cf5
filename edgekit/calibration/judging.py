"""How far a program is from the float one: the error of its raw outputs, on pictures held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgekit.calibration.moments import passes
from edgekit.calibration.readers import Floats
from edgekit.program.graph import Program, inputs

T = TypeVar("T")

PROBES = 16  # pictures at most on which errors are measured
_EVERY = 4  # at least so many pictures for one that is held out


@dataclass(frozen=True)
class Reference:
    """What the float network answers for one batch, and how much each value counts (None: all the same)."""

    values: dict[str, Floats]
    weights: dict[str, Floats]


# How much each value of the outputs counts, given the answers of the float network.
Weigh = Callable[[dict[str, Floats]], dict[str, Floats]]


def references(
    program: Program, outputs: Sequence[str], pictures: Sequence[Floats], weigh: Weigh
) -> list[Reference]:
    found = []
    for _, values in passes(program, outputs, pictures):
        kept = {name: values[name] for name in outputs}
        found.append(Reference(kept, weigh(kept)))
    return found


def loss(reference: Sequence[Reference], got: Sequence[dict[str, Floats]]) -> float:
    """Mean over outputs and pictures of the (weighted) squared error over the (weighted) variance."""
    total, count = 0.0, 0
    for expected, values in zip(reference, got, strict=True):
        for name, wants in expected.values.items():
            everywhere = expected.weights.get(name, np.ones_like(wants[..., :1]))
            for want, have, weight in zip(wants, values[name], everywhere, strict=True):
                share = np.broadcast_to(weight, want.shape) / (weight.mean(dtype=np.float64) * want.size)
                mean = float((share * want).sum(dtype=np.float64))
                error = float((share * (want - have) ** 2).sum(dtype=np.float64))
                total += error / (float((share * (want - mean) ** 2).sum(dtype=np.float64)) + 1e-12)
                count += 1
    return total / max(1, count)


def raw_outputs(program: Program) -> list[str]:
    """The network's outputs, the logits where one ends in a softmax."""
    makers = program.producers()
    return [
        inputs(makers[name], "X")[0] if makers[name].type == "softmax" else name for name in program.fetches
    ]


def held_out(pictures: Sequence[T]) -> tuple[list[T], list[T]]:
    """Pictures to fit weights to, and others to measure errors on: a layer with few rows (after a global
    pooling) learns the pictures it is fitted to by heart."""
    every = max(_EVERY, len(pictures) // PROBES)
    judged = range(every - 1, len(pictures), every)[:PROBES]
    fitted = [picture for k, picture in enumerate(pictures) if k not in judged]
    return fitted, [pictures[k] for k in judged] or fitted


class Judge:
    """Keeps the float program's answers for some pictures; `error` is another program's `loss`."""

    def __init__(self, original: Program, pictures: Sequence[Floats], weigh: Weigh) -> None:
        self.names, self.pictures = raw_outputs(original), pictures
        self.reference = references(original, self.names, pictures, weigh)

    def error(self, made: Program, *, optimise: bool = True) -> float:
        """`optimise=False` for programs with quantize_linear, which Paddle's passes rewrite."""
        got = passes(made, self.names, self.pictures, optimise=optimise)
        return loss(self.reference, [values for _, values in got])
