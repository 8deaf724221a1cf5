"""Which channels go: groups ranked, measured, and one allocation that meets the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from edgekit.calibration import judging, moments
from edgekit.calibration.judging import Weigh
from edgekit.calibration.readers import Floats, readers
from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.program.graph import Program
from edgekit.pruning import budget, scores, sensitivity
from edgekit.pruning.budget import Costs, Option
from edgekit.pruning.groups import Group, groups
from edgekit.pruning.scores import Evidence
from edgekit.pruning.sensitivity import Point, Probe
from edgekit.pruning.trace import Trace
from edgekit.recipe import Prune


@dataclass(frozen=True)
class Findings:
    """What was measured before anything is removed: which atoms of each group go first, and at what loss."""

    rankings: dict[str, list[int]]
    points: dict[str, list[Point]]  # empty where the recipe's way of allocation needs none

    def as_json(self) -> dict[str, Any]:
        points = {name: [[p.removed, p.loss] for p in found] for name, found in self.points.items()}
        return {"rankings": self.rankings, "points": points}

    @staticmethod
    def of_json(raw: dict[str, Any]) -> Findings:
        points = {name: [Point(int(n), float(x)) for n, x in found] for name, found in raw["points"].items()}
        return Findings(raw["rankings"], points)


@dataclass(frozen=True)
class Choice:
    """What goes: atoms, and how many channels of each group."""

    atoms: set[int]
    channels: dict[str, int]


def prunable(trace: Trace, section: Prune) -> list[Group]:
    """The groups that may lose channels. Raises EK105 (a pattern matches nothing), EK109 (none is left)."""
    found = groups(trace)
    for pattern in [*section.skip, *section.ratios]:
        if not any(matches(group, pattern) for group in found):
            some = ", ".join(group.name for group in found[:3])
            raise EdgekitError(
                "EK105",
                f"prune: the pattern {pattern!r} matches no group of channels. Groups are named {some}, ...; "
                "`edgekit prune MODEL --explain` lists them.",
            )
    left = [
        group
        for group in found
        if len(steps(group, section)) > 1 and not any(matches(group, pattern) for pattern in section.skip)
    ]
    if not left:
        reasons = sorted({reason for group in found for reason in group.reasons})
        raise EdgekitError(
            "EK109",
            "No group of channels of this model can be pruned"
            + (f": {'; '.join(reasons[:4])}." if reasons else ": all are too small or skipped."),
        )
    return left


def matches(group: Group, pattern: str) -> bool:
    """A pattern may name any layer that makes the group's channels."""
    return any(fnmatchcase(name.removesuffix(".w_0"), pattern) for name in group.producers)


def measure(
    program: Program,
    trace: Trace,
    section: Prune,
    outputs: Sequence[str],
    weigh: Weigh,
    pictures: Sequence[Floats],
    progress: Progress,
) -> Findings:
    """Rank the channels of every group and, for a budget, measure what their going does to `outputs`.

    `weigh` says which values of the outputs matter.
    """
    chosen = prunable(trace, section)
    layers = {reader.weight: reader for reader in readers(program)}
    fitted, some = judging.held_out(pictures)
    with progress.task("Second moments", len(fitted)) as advance:
        known = moments.collect(program, list(layers.values()), fitted, advance)
    evidence = Evidence(program, trace, layers, known, section.seed)
    rankings = {}
    with progress.task(f"Ranking channels by {section.criterion}", len(chosen)) as advance:
        for group in chosen:
            rankings[group.name] = scores.ranking(section.criterion, group, evidence)
            advance()
    if not section.needs_sensitivity:
        return Findings(rankings, {})
    reference = judging.references(program, outputs, some, weigh)
    counts = {g.name: sensitivity.strengths(steps(g, section)) for g in chosen}
    probe = Probe(program, trace, layers, known, outputs, reference, some)
    with progress.task("Sensitivity of the outputs", sum(map(len, counts.values()))) as advance:
        return Findings(rankings, sensitivity.measure(probe, rankings, counts, advance))


def choose(
    program: Program,
    trace: Trace,
    shapes: dict[str, list[int]],
    section: Prune,
    full: float,
    findings: Findings,
) -> Choice:
    """One allocation that meets the budget. `full` is what the float network costs, dead channels included.

    Raises EK108 when the budget is out of reach.
    """
    found = prunable(trace, section)
    options = {
        group.name: sensitivity.options(findings.points[group.name], steps(group, section))
        if findings.points
        else [Option(n, float(n)) for n in steps(group, section)]
        for group in found
    }
    picked = _allocation(program, trace, shapes, section, full, findings, found, options)
    counts = {name: options[name][k].removed for name, k in picked.items()}
    atoms = {atom for name, count in counts.items() for atom in findings.rankings[name][:count]}
    return Choice(atoms, {group.name: counts[group.name] * group.width for group in found})


def _allocation(
    program: Program,
    trace: Trace,
    shapes: dict[str, list[int]],
    section: Prune,
    full: float,
    findings: Findings,
    found: list[Group],
    options: dict[str, list[Option]],
) -> dict[str, int]:
    if section.budget is None:
        ratios = {
            group.name: ratio
            for pattern, ratio in section.ratios.items()
            for group in found
            if matches(group, pattern)
        }
        return budget.at_ratio(options, found, ratios)
    costs, target = _costs(program, trace, shapes, section, full, findings.rankings, options)
    if section.allocation == "uniform":
        return budget.uniform(costs, options, found, target, full)
    return budget.allocate(costs, options, target, full)


def _costs(
    program: Program,
    trace: Trace,
    shapes: dict[str, list[int]],
    section: Prune,
    full: float,
    rankings: Mapping[str, Sequence[int]],
    options: dict[str, list[Option]],
) -> tuple[Costs, float]:
    """What the network costs by the budget's measure, and what it may cost."""
    assert section.budget is not None
    kind, share = section.budget
    flops = kind == "flops"
    terms = budget.mac_terms(program, trace, shapes) if flops else budget.parameter_terms(program, trace)
    return Costs(terms, rankings, options), full * (1 - share)


def check_budget(
    program: Program, trace: Trace, shapes: dict[str, list[int]], section: Prune, full: float
) -> None:
    """Raises EK108 for a budget out of reach, before anything is measured."""
    found = prunable(trace, section)
    options = {group.name: [Option(n, 0.0) for n in steps(group, section)] for group in found}
    rankings = {group.name: [int(atom) for atom in group.atoms] for group in found}
    costs, target = _costs(program, trace, shapes, section, full, rankings, options)
    budget.check(costs, options, target, full)


def steps(group: Group, section: Prune) -> list[int]:
    return budget.steps(group, section.multiple, section.most)
