"""What each group costs the network's answers: each alone, at several strengths, with its own refit.

Errors are measured at the network's raw outputs. An error measured inside the layer misleads: a layer that
loses much may not matter, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.calibration import segments
from edgekit.calibration.judging import Reference, loss
from edgekit.calibration.moments import Moments, batches
from edgekit.calibration.readers import Floats, Reader
from edgekit.program.graph import Program, inputs, outputs
from edgekit.pruning.budget import Option
from edgekit.pruning.refit import mask_out
from edgekit.pruning.remove import lost_mask
from edgekit.pruning.trace import Trace


@dataclass(frozen=True)
class Point:
    """A group without `removed` atoms: mean squared error of the outputs over their variance."""

    removed: int
    loss: float


@dataclass(frozen=True)
class Probe:
    """The float network, and everything that is asked of it."""

    program: Program
    trace: Trace
    layers: Mapping[str, Reader]  # by weight
    moments: Mapping[str, Moments]
    outputs: Sequence[str]
    reference: Sequence[Reference]
    pictures: Sequence[Floats]


def measure(
    probe: Probe,
    rankings: Mapping[str, Sequence[int]],
    counts: Mapping[str, Sequence[int]],
    advance: Callable[[], None],
) -> dict[str, list[Point]]:
    """For every group the loss without the first `counts` atoms of its ranking, the others untouched.

    One walk through the network, in the order of the first layer that reads a group: what lies before it
    stays as it is.
    """
    firsts = {name: _first_reader(probe, set(rankings[name])) for name in rankings}
    program = probe.program
    known = [{program.feeds[0]: batch} for _, batch in batches(probe.pictures, program)]
    points: dict[str, list[Point]] = {}
    position = 0
    for name in sorted(rankings, key=lambda name: firsts[name]):
        place = firsts[name]
        made = {n for op in program.ops[:place] for n in outputs(op)}
        needed = [*segments.frontier(program, place), *(n for n in probe.outputs if n in made)]
        known = segments.advance(program, position, place, list(dict.fromkeys(needed)), known)
        position = place
        points[name] = [Point(0, 0.0)]
        for count in counts[name]:
            lost = set(rankings[name][:count])
            masked = mask_out(program, probe.trace, probe.layers, probe.moments, lost)
            got = segments.advance(masked, place, len(program.ops), probe.outputs, known)
            points[name].append(Point(count, loss(probe.reference, got)))
            advance()
    return {name: points[name] for name in rankings}


def _first_reader(probe: Probe, atoms: set[int]) -> int:
    """The position of the first op whose weights read any of these atoms."""
    touched = {
        piece.parameter
        for piece in probe.trace.slices
        if piece.role == "in" and lost_mask(piece.atoms, atoms).any()
    }
    ops = probe.program.ops
    return next((k for k, op in enumerate(ops) if touched.intersection(inputs(op))), len(ops) - 1)


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
