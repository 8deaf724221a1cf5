"""Which channels go: groups ranked, measured, and one allocation that meets the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from edgekit.calibration import moments
from edgekit.calibration.moments import Moments
from edgekit.calibration.readers import Floats, Reader, readers
from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.program.graph import Program
from edgekit.pruning import budget, scores, sensitivity
from edgekit.pruning.budget import Costs, Option
from edgekit.pruning.groups import Group, groups
from edgekit.pruning.scores import Evidence
from edgekit.pruning.sensitivity import Point
from edgekit.pruning.trace import Trace
from edgekit.recipe import Prune

PROBES = 16  # pictures on which sensitivity is measured


@dataclass
class Findings:
    """What was measured before anything was removed; `answers` are the float layers', bias included."""

    groups: list[Group]
    rankings: dict[str, list[int]]
    points: dict[str, list[Point]]
    options: dict[str, list[Option]]
    answers: dict[str, Floats]
    choice: dict[str, int] = field(default_factory=dict)

    @property
    def removed(self) -> set[int]:
        return {
            atom
            for name, k in self.choice.items()
            for atom in self.rankings[name][: self.options[name][k].removed]
        }


def prunable(trace: Trace, section: Prune) -> list[Group]:
    """The groups that may lose channels. Raises EK105 for a pattern that matches none, EK109 when none is left."""
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
        if len(budget.steps(group, section.multiple, section.most)) > 1
        and not any(matches(group, pattern) for pattern in section.skip)
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


def search(
    program: Program,
    trace: Trace,
    shapes: dict[str, list[int]],
    section: Prune,
    full: float,
    outputs: Sequence[str],
    pictures: Sequence[Floats],
    progress: Progress,
) -> Findings:
    """Measure, rank and allocate. `full` is what the whole float network costs, dead channels included."""
    chosen = prunable(trace, section)
    layers = {reader.weight: reader for reader in readers(program)}
    with progress.task("Second moments", len(pictures)) as advance:
        known, answers = moments.collect(program, list(layers.values()), pictures, advance)
    for name, reader in layers.items():
        if reader.bias is not None:
            bias = program.params[reader.bias].reshape(-1)
            answers[name] = answers[name] + bias
    evidence = Evidence(program, trace, layers, known, section.seed)
    removable = {group.name: budget.steps(group, section.multiple, section.most) for group in chosen}
    rankings = {}
    with progress.task(f"Ranking channels by {section.criterion}", len(chosen)) as advance:
        for group in chosen:
            rankings[group.name] = scores.ranking(section.criterion, group, evidence)
            advance()
    points: dict[str, list[Point]] = {}
    if section.allocation == "sensitivity" and not section.ratios and section.budget is not None:
        points = _measure(program, trace, layers, known, rankings, removable, outputs, pictures, progress)
    options = {
        name: sensitivity.options(points[name], counts) if points else [Option(n, float(n)) for n in counts]
        for name, counts in removable.items()
    }
    findings = Findings(chosen, rankings, points, options, answers)
    findings.choice = _choose(program, trace, shapes, section, full, findings)
    return findings


def _measure(
    program: Program,
    trace: Trace,
    layers: Mapping[str, Reader],
    known: Mapping[str, Moments],
    rankings: Mapping[str, list[int]],
    removable: Mapping[str, list[int]],
    outputs: Sequence[str],
    pictures: Sequence[Floats],
    progress: Progress,
) -> dict[str, list[Point]]:
    some = pictures[:: max(1, len(pictures) // PROBES)][:PROBES]
    reference = sensitivity.answers(program, outputs, some)
    counts = {name: sensitivity.strengths(found) for name, found in removable.items()}
    points = {}
    with progress.task("Sensitivity of the outputs", sum(map(len, counts.values()))) as advance:
        for name, wanted in counts.items():
            points[name] = sensitivity.measure(
                program, trace, layers, known, rankings[name], wanted, outputs, reference, some, advance
            )
    return points


def _choose(
    program: Program,
    trace: Trace,
    shapes: dict[str, list[int]],
    section: Prune,
    full: float,
    findings: Findings,
) -> dict[str, int]:
    if section.ratios:
        ratios = {
            group.name: ratio
            for pattern, ratio in section.ratios.items()
            for group in findings.groups
            if matches(group, pattern)
        }
        return budget.at_ratio(findings.options, findings.groups, ratios)
    if section.budget is None:
        return dict.fromkeys(findings.options, 0)
    kind, share = section.budget
    terms = (
        budget.mac_terms(program, trace, shapes)
        if kind == "flops"
        else budget.parameter_terms(program, trace)
    )
    costs = Costs(terms, findings.rankings, findings.options)
    target = full * (1 - share)
    if section.allocation == "uniform":
        return budget.uniform(costs, findings.options, findings.groups, target)
    return budget.allocate(costs, findings.options, target)
