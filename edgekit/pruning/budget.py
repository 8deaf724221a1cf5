"""How many channels each group gives up: one allocation for the whole network that meets a budget.

The cost of a network is a sum over layers of (channels in) x (channels out) x a factor, so what a group
saves depends on what its neighbours give up. For one price per unit of cost (a Lagrange multiplier,
Everett 1963) each group in turn takes the count with the least loss plus price, until none changes; the
price is found by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError
from edgekit.program.graph import Program, attr, inputs, outputs
from edgekit.pruning.atoms import Ints
from edgekit.pruning.groups import Group
from edgekit.pruning.trace import Trace

_SWEEPS = 30
_HALVINGS = 60


@dataclass(frozen=True)
class Term:
    """`factor` times, for each of `axes`, the number of channels along it that stay."""

    factor: float
    axes: tuple[Ints, ...]


@dataclass(frozen=True)
class Option:
    """A group without the first `removed` atoms of its ranking, and the loss that predicts."""

    removed: int
    loss: float


def mac_terms(program: Program, trace: Trace, shapes: dict[str, list[int]]) -> list[Term]:
    """Multiply-accumulates of every layer, as `program.cost.layer_costs` counts them."""
    terms = []
    for op in program.block.ops:
        if op.type.endswith(("conv2d", "conv2d_transpose")):
            name = inputs(op, "Filter")[0]
            transposed = op.type.endswith("transpose")
            place = shapes[inputs(op, "Input")[0] if transposed else outputs(op, "Output")[0]]
            if name in program.params:
                terms.append(_term(program, trace, name, math.prod(place[2:])))
            else:
                terms.append(Term(float(math.prod(place[2:]) * math.prod(shapes[name])), ()))
        elif op.type in ("matmul_v2", "mul"):
            name, place = inputs(op, "Y")[0], shapes[outputs(op, "Out")[0]]
            if name in program.params and program.params[name].ndim == 2:
                terms.append(_term(program, trace, name, math.prod(place[:-1])))
            else:
                x = shapes[inputs(op, "X")[0]]
                inner = x[-2] if attr(op, "trans_x", False) else x[-1]
                terms.append(Term(float(math.prod(place) * inner), ()))
    return terms


def parameter_terms(program: Program, trace: Trace) -> list[Term]:
    """Elements of every parameter."""
    return [_term(program, trace, name, 1) for name in program.params]


def _term(program: Program, trace: Trace, name: str, factor: int) -> Term:
    shape = program.params[name].shape
    axes = {piece.axis: piece.atoms for piece in trace.slices if piece.parameter == name}
    fixed = math.prod(size for axis, size in enumerate(shape) if axis not in axes)
    return Term(float(factor * fixed), tuple(axes.values()))


class Costs:
    """What the network costs for a choice of one option per group."""

    def __init__(
        self,
        terms: Sequence[Term],
        rankings: Mapping[str, Sequence[int]],
        options: Mapping[str, Sequence[Option]],
    ) -> None:
        order = {atom: (name, k) for name, atoms in rankings.items() for k, atom in enumerate(atoms)}
        self.terms = terms
        self.of_group: dict[str, list[int]] = {name: [] for name in rankings}
        # For every axis of every term: by group, how many of its channels go with each option.
        self._lost: list[list[dict[str, npt.NDArray[np.int64]]]] = []
        for t, term in enumerate(terms):
            axes = []
            for atoms in term.axes:
                places: dict[str, list[int]] = {}
                for atom in atoms:
                    if int(atom) in order:
                        name, k = order[int(atom)]
                        places.setdefault(name, []).append(k)
                lost = {}
                for name, found in places.items():
                    sorted_places = np.sort(found)
                    lost[name] = np.searchsorted(sorted_places, [o.removed for o in options[name]])
                    if t not in self.of_group[name]:
                        self.of_group[name].append(t)
                axes.append(lost)
            self._lost.append(axes)

    def term(self, t: int, choice: Mapping[str, int]) -> float:
        value = self.terms[t].factor
        for atoms, lost in zip(self.terms[t].axes, self._lost[t], strict=True):
            value *= len(atoms) - sum(int(counts[choice[name]]) for name, counts in lost.items())
        return value

    def total(self, choice: Mapping[str, int]) -> float:
        return sum(self.term(t, choice) for t in range(len(self.terms)))

    def around(self, name: str, choice: dict[str, int], count: int) -> list[float]:
        """The cost of the terms that a group touches, for each of its options."""
        return [sum(self.term(t, {**choice, name: k}) for t in self.of_group[name]) for k in range(count)]


def allocate(
    costs: Costs, options: Mapping[str, Sequence[Option]], target: float, full: float | None = None
) -> dict[str, int]:
    """The option of each group with which the network costs at most `target`, at the least predicted loss.

    `full` is what budgets are relative to (default: the network as it is). Raises EK108 when even the
    strongest options do not reach the target.
    """
    check(costs, options, target, full)
    none = dict.fromkeys(options, 0)
    low, high = 0.0, 1e-12
    while costs.total(_at_price(costs, options, high, none)) > target and high < 1e12:
        low, high = high, high * 10
    choice = _at_price(costs, options, high, none)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = _at_price(costs, options, middle, choice)
        if costs.total(found) > target:
            low = middle
        else:
            high, choice = middle, found
    return _fill_up(costs, options, choice, target)


def _at_price(
    costs: Costs, options: Mapping[str, Sequence[Option]], price: float, start: Mapping[str, int]
) -> dict[str, int]:
    choice = dict(start)
    for _ in range(_SWEEPS):
        changed = False
        for name, found in options.items():
            spent = costs.around(name, choice, len(found))
            best = int(np.argmin([o.loss + price * c for o, c in zip(found, spent, strict=True)]))
            if best != choice[name]:
                choice[name], changed = best, True
        if not changed:
            break
    return choice


def _fill_up(
    costs: Costs, options: Mapping[str, Sequence[Option]], choice: dict[str, int], target: float
) -> dict[str, int]:
    """Give back what the budget does not need: the steps of the price are coarse."""
    total = costs.total(choice)
    while True:
        steps = []
        for name, k in choice.items():
            if k:
                spent = costs.around(name, choice, k + 1)
                more = spent[k - 1] - spent[k]
                gain = options[name][k].loss - options[name][k - 1].loss
                if gain > 0 and total + more <= target:
                    steps.append((gain, name, more))
        if not steps:
            return choice
        _, name, more = max(steps)
        choice[name] -= 1
        total += more


def check(
    costs: Costs, options: Mapping[str, Sequence[Option]], target: float, full: float | None = None
) -> None:
    """Raises EK108, with the most that can be reached, when the strongest options do not reach `target`."""
    least = costs.total({name: len(found) - 1 for name, found in options.items()})
    if least <= target:
        return
    whole = full if full is not None else costs.total(dict.fromkeys(options, 0))
    raise EdgekitError(
        "EK108",
        f"The budget asks for {target / whole - 1:.1%}, but with every group pruned as far as the recipe "
        f"allows {least / whole - 1:.1%} is the most that can be reached. Ask for less, skip fewer layers or "
        "raise prune.most.",
    )


def uniform(
    costs: Costs,
    options: Mapping[str, Sequence[Option]],
    groups: Sequence[Group],
    target: float,
    full: float | None = None,
) -> dict[str, int]:
    """The same share of every group, as large as the budget asks for. Raises EK108 out of reach."""
    check(costs, options, target, full)
    for percent in range(1, 101):
        choice = at_ratio(options, groups, dict.fromkeys(options, percent / 100))
        if costs.total(choice) <= target:
            return choice
    raise AssertionError("the strongest options reach the target")


def at_ratio(
    options: Mapping[str, Sequence[Option]], groups: Sequence[Group], ratios: Mapping[str, float]
) -> dict[str, int]:
    """The option of each group that comes nearest to removing this share of its channels."""
    choice = {}
    for group in groups:
        wanted = ratios.get(group.name, 0.0) * group.size / group.width
        found = [abs(option.removed - wanted) for option in options[group.name]]
        choice[group.name] = int(np.argmin(found))
    return choice


def steps(group: Group, multiple: int, most: float) -> list[int]:
    """How many atoms may go: so that what stays is a multiple (half of it where the layer is small).

    At least one step stays, and at most the share `most` of the channels goes.
    """
    unit = multiple if group.size >= 4 * multiple else max(1, multiple // 2)
    found = [0]
    for removed in range(1, len(group.atoms) + 1):
        left = group.size - removed * group.width
        if left % unit == 0 and left >= unit and removed * group.width <= most * group.size:
            found.append(removed)
    return found
