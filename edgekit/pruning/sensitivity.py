"""What each group costs the network's answers: each alone, at several strengths, with its own refit.

Errors are measured at the network's raw outputs. An error measured inside the layer misleads: a layer that
loses much may not matter, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.calibration.moments import Moments, passes
from edgekit.calibration.readers import Floats, Reader
from edgekit.program.graph import Program
from edgekit.pruning.budget import Option
from edgekit.pruning.refit import mask_out
from edgekit.pruning.trace import Trace


@dataclass(frozen=True)
class Point:
    """A group without `removed` atoms: mean squared error of the outputs over their variance."""

    removed: int
    loss: float


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


def loss(reference: Sequence[Reference], got: Iterator[tuple[int, dict[str, Floats]]]) -> float:
    """Mean over outputs and pictures of the (weighted) squared error over the (weighted) variance."""
    total, count = 0.0, 0
    for expected, (_, values) in zip(reference, got, strict=True):
        for name, wants in expected.values.items():
            everywhere = expected.weights.get(name, np.ones_like(wants[..., :1]))
            for want, have, weight in zip(wants, values[name], everywhere, strict=True):
                share = np.broadcast_to(weight, want.shape) / (weight.mean(dtype=np.float64) * want.size)
                mean = float((share * want).sum(dtype=np.float64))
                error = float((share * (want - have) ** 2).sum(dtype=np.float64))
                total += error / (float((share * (want - mean) ** 2).sum(dtype=np.float64)) + 1e-12)
                count += 1
    return total / max(1, count)


def measure(
    program: Program,
    trace: Trace,
    layers: Mapping[str, Reader],
    known: Mapping[str, Moments],
    ranking: Sequence[int],
    counts: Sequence[int],
    outputs: Sequence[str],
    reference: Sequence[Reference],
    pictures: Sequence[Floats],
    advance: Callable[[], None],
) -> list[Point]:
    """The loss without the first 1, 2, ... `counts` atoms of the ranking."""
    points = [Point(0, 0.0)]
    for count in counts:
        masked = mask_out(program, trace, layers, known, set(ranking[:count]))
        points.append(Point(count, loss(reference, passes(masked, outputs, pictures))))
        advance()
    return points


def strengths(removable: Sequence[int]) -> list[int]:
    """The three counts at which a group is measured: the least, one in the middle, the most."""
    found = [count for count in removable if count]
    return sorted({found[0], found[len(found) // 2], found[-1]}) if found else []


def options(points: Sequence[Point], removable: Sequence[int]) -> list[Option]:
    """A loss for every count: between measured points the square root of the loss is a straight line,
    and no count is thought better than a smaller one."""
    places = [point.removed for point in points]
    roots = np.maximum.accumulate([np.sqrt(point.loss) for point in points])
    return [Option(count, float(np.interp(count, places, roots)) ** 2) for count in removable]
