"""What a choice costs, and the choice that a budget leads to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from edgekit.errors import EdgekitError
from edgekit.program import cost, edit
from edgekit.program.graph import AttrValue, Program
from edgekit.pruning import budget, groups, search
from edgekit.pruning.budget import Costs, Option, Term
from edgekit.pruning.groups import Group
from edgekit.pruning.remove import remove
from edgekit.pruning.search import Findings
from edgekit.pruning.trace import Trace, trace
from edgekit.recipe import Prune
from tests.pruning import nets
from tests.pruning.small import Net

# Terms

NETS = (
    "Chain", "Residuals", "Squeezed", "Neck", "Shuffled", "Grouped", "Transposed", "Flattened", "Attention",
    "Shared",
)  # fmt: skip


def as_choice(found: Trace, gone: set[int]) -> tuple[dict[str, list[int]], dict[str, list[Option]]]:
    """Rankings in which the atoms of `gone` come first. Each group keeps all of its atoms, or loses these."""
    rankings, options = {}, {}
    for group in groups.groups(found):
        free = [int(a) for a in group.atoms]
        rankings[group.name] = sorted(free, key=lambda a: a not in gone)
        options[group.name] = [Option(0, 0.0), Option(len(gone.intersection(free)), 1.0)]
    return rankings, options


@pytest.mark.parametrize("name", NETS)
def test_predicted_costs_are_those_of_the_pruned_program(name: str) -> None:
    """For any choice, without pruning anything: MACs and parameters."""
    program = edit.fold_batch_norm(nets.exported(name))
    shapes = cost.measured_shapes(program)
    found = trace(program, shapes)
    rows = {
        "macs": (budget.mac_terms(program, found, shapes), macs),
        "parameters": (budget.parameter_terms(program, found), weights),
    }
    assert weights(program) == cost.parameter_count(program)
    for kind, (terms, counted) in rows.items():
        full = counted(program)
        for seed in range(3):
            gone = nets.choose(found, seed)
            rankings, options = as_choice(found, gone)
            costs = Costs(terms, rankings, options)
            none, all_ = dict.fromkeys(options, 0), dict.fromkeys(options, 1)
            some = {name: k % 2 for k, name in enumerate(options)}
            assert costs.total(none) == full
            for choice in (some, all_):
                part = {a for n, k in choice.items() for a in rankings[n][: options[n][k].removed]}
                assert costs.total(choice) == counted(remove(program, found, part)), kind
                assert not part or costs.total(choice) < full
            for group in options:
                # What changes with one group alone is in the terms that it touches.
                alone = costs.around(group, none, 2)
                assert alone[0] - alone[1] == pytest.approx(full - costs.total({**none, group: 1}))


def macs(program: Program) -> int:
    return sum(cost.layer_costs(program).values())


def weights(program: Program) -> int:
    """Parameters but for the places of channels in an uneven shuffle."""
    return sum(value.size for value in program.params.values() if value.dtype == np.float32)


def test_costs_by_hand() -> None:
    """6 x 6 pictures: 3 x 3 to 4 channels, depthwise, 1 x 1 to 5, a linear layer to 2; two of the 4 go."""
    net = Net(3, 6, 6)
    a = net.relu(net.conv("a", "x", 3, 4, 3, pad=1))
    b = net.conv("b", a, 4, 4, 3, pad=1, groups=4)
    c = net.pooled(net.conv("c", b, 4, 5), 5)
    program = net.done(net.linear("d", c, 5, 2))
    shapes = cost.measured_shapes(program)
    found = trace(program, shapes)
    rankings = {g.name: [int(a) for a in g.atoms] for g in groups.groups(found)}
    assert {name: len(ranking) for name, ranking in rankings.items()} == {"a": 4, "c": 5, "d": 0}
    options = {name: [Option(n, 0.0) for n in range(max(1, len(r)))] for name, r in rankings.items()}
    macs = Costs(budget.mac_terms(program, found, shapes), rankings, options)
    assert macs.total({"a": 0, "c": 0, "d": 0}) == 36 * (4 * 27 + 4 * 9 + 20) + 10
    assert macs.total({"a": 2, "c": 0, "d": 0}) == 36 * (2 * 27 + 2 * 9 + 10) + 10
    assert macs.total({"a": 2, "c": 3, "d": 0}) == 36 * (2 * 27 + 2 * 9 + 4) + 4
    parameters = Costs(budget.parameter_terms(program, found), rankings, options)
    assert parameters.total({"a": 0, "c": 0, "d": 0}) == 4 * 28 + 4 * 10 + 5 * 5 + 12
    assert parameters.total({"a": 2, "c": 3, "d": 0}) == 2 * 28 + 2 * 10 + 2 * 3 + 6


def test_a_product_over_a_whole_picture() -> None:
    """Old exports flatten within `mul`: every value of a picture is multiplied, not the last axis alone."""
    net = Net(3, 4, 4)
    a = net.relu(net.conv("a", "x", 3, 4))
    attrs: dict[str, AttrValue] = {"x_num_col_dims": 1, "y_num_col_dims": 1}
    program = net.done(net.op("mul", {"X": a, "Y": net.param("b.w_0", 64, 5)}, attrs))
    shapes = cost.measured_shapes(program)
    terms = budget.mac_terms(program, trace(program, shapes), shapes)
    by_hand = 16 * 12 + 64 * 5
    assert Costs(terms, {}, {}).total({}) == by_hand
    assert sum(cost.layer_costs(program).values()) == by_hand


@pytest.mark.parametrize("shape", [(2, 4, 3), (4,)])
def test_products_with_weights_that_are_no_matrix(shape: tuple[int, ...]) -> None:
    """Of a picture [2, 5, 4]: two matrices for its two parts, 2 x 5 x 4 x 3, and a vector, 2 x 5 x 4."""
    net = Net(2, 5, 4)
    attrs: dict[str, AttrValue] = {"trans_x": False, "trans_y": False}
    program = net.done(net.op("matmul_v2", {"X": "x", "Y": net.param("w", *shape)}, attrs))
    shapes = cost.measured_shapes(program)
    terms = budget.mac_terms(program, trace(program, shapes), shapes)
    by_hand = {1: 40, 3: 120}[len(shape)]
    assert Costs(terms, {}, {}).total({}) == macs(program) == by_hand


# Allocation


def problem(seed: int, coupled: bool) -> tuple[Costs, dict[str, list[Option]]]:
    """Four groups of eight channels that may lose up to four, at losses that grow ever faster.

    Coupled: layers lie between neighbours, so that what one saves depends on the other.
    """
    rng = np.random.default_rng(seed)
    names = [f"group {k}" for k in range(4)]
    atoms = {name: np.arange(8) + 8 * k for k, name in enumerate(names)}
    options = {}
    for name in names:
        steps = np.sort(rng.exponential(size=4)) * rng.exponential()
        options[name] = [Option(k, float(x)) for k, x in enumerate([0.0, *np.cumsum(steps)])]
    pairs = [(a, b) for a, b in itertools.pairwise(names)] if coupled else []
    terms = [Term(float(rng.integers(1, 20)), (atoms[a], atoms[b])) for a, b in pairs]
    terms += [Term(float(rng.integers(1, 50)), (atoms[name],)) for name in names]
    return Costs(terms, {name: [int(a) for a in atoms[name]] for name in names}, options), options


def every(options: dict[str, list[Option]]) -> Iterator[dict[str, int]]:
    for picked in itertools.product(*(range(len(found)) for found in options.values())):
        yield dict(zip(options, picked, strict=True))


def predicted(options: dict[str, list[Option]], choice: dict[str, int]) -> float:
    return sum(options[name][k].loss for name, k in choice.items())


def ends(costs: Costs, options: dict[str, list[Option]]) -> tuple[float, float]:
    """What the network costs at most and at least."""
    least = {name: len(found) - 1 for name, found in options.items()}
    return costs.total(dict.fromkeys(options, 0)), costs.total(least)


SEEDS = range(8)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_allocation_is_near_the_best_of_all_choices(share: float) -> None:
    """Where groups do not depend on each other: at most one step of one group behind."""
    for seed in SEEDS:
        costs, options = problem(seed, coupled=False)
        full, least = ends(costs, options)
        target = full - share * (full - least)
        choice = budget.allocate(costs, options, target)
        assert costs.total(choice) <= target
        best = min(predicted(options, c) for c in every(options) if costs.total(c) <= target)
        steps = [b.loss - a.loss for found in options.values() for a, b in itertools.pairwise(found)]
        assert best <= predicted(options, choice) + 1e-12 <= best + max(steps)


def test_allocation_is_the_best_where_a_price_leads_to_it() -> None:
    """Budgets that a price per unit of cost meets exactly: nothing is left to give back."""
    met = 0
    for seed in SEEDS:
        costs, options = problem(seed, coupled=False)
        for price in (0.003, 0.01, 0.03, 0.1):
            chosen = min(every(options), key=lambda c: predicted(options, c) + price * costs.total(c))
            found = budget.allocate(costs, options, costs.total(chosen))
            assert predicted(options, found) == pytest.approx(predicted(options, chosen))
            met += 0 < sum(chosen.values()) < 16
    assert met > 12


def test_allocation_of_groups_that_depend_on_each_other() -> None:
    """On average within a tenth of the best of all choices, and never behind equal shares."""
    ratios = []
    for seed in SEEDS:
        costs, options = problem(seed, coupled=True)
        full, least = ends(costs, options)
        for share in (0.2, 0.6):
            target = full - share * (full - least)
            choice = budget.allocate(costs, options, target)
            assert costs.total(choice) <= target
            reached = predicted(options, choice)
            best = min(predicted(options, c) for c in every(options) if costs.total(c) <= target)
            ratios.append(reached / best)
            equal = budget.uniform(costs, options, GROUPS, target)
            assert costs.total(equal) <= target and reached <= predicted(options, equal) + 1e-12
    assert min(ratios) > 1 - 1e-9 and np.mean(ratios) < 1.1


GROUPS = [Group(f"group {k}", [], [], np.arange(8) + 8 * k, 1, 8, []) for k in range(4)]


def test_what_costs_nothing_stays_and_what_saves_nothing() -> None:
    """No budget, nothing goes; and a group in which no term lies is left alone under any."""
    costs, options = problem(0, coupled=True)
    full, least = ends(costs, options)
    assert set(budget.allocate(costs, options, full).values()) == {0}
    assert set(budget.allocate(costs, options, least).values()) == {4}
    free = {**options, "beside": [Option(0, 0.0), Option(1, 0.5)]}
    rankings = {name: list(range(8 * k, 8 * k + 8)) for k, name in enumerate(free)}
    assert budget.allocate(Costs(costs.terms, rankings, free), free, least)["beside"] == 0


def test_channels_that_cost_no_loss_go_first() -> None:
    atoms = {name: np.arange(8) + 8 * k for k, name in enumerate("ab")}
    options = {"a": [Option(k, 0.0) for k in range(5)], "b": [Option(k, k / 10) for k in range(5)]}
    terms = [Term(1.0, (atoms["a"],)), Term(10.0, (atoms["b"],))]
    costs = Costs(terms, {name: [int(a) for a in own] for name, own in atoms.items()}, options)
    assert budget.allocate(costs, options, 84.0) == {"a": 4, "b": 0}
    assert budget.allocate(costs, options, 83.9)["b"] == 1


@pytest.mark.parametrize("allocation", ["sensitivity", "uniform"])
def test_a_budget_out_of_reach(allocation: str) -> None:
    """Ten channels of which four may go: -60 % is not to be had, -40 % is, and it is said so."""
    atoms = np.arange(10)
    options = {"group 0": [Option(k, float(k)) for k in range(5)]}
    costs = Costs([Term(3.0, (atoms,))], {"group 0": [int(a) for a in atoms]}, options)
    group = Group("group 0", [], [], atoms, 1, 10, [])

    def choose(target: float) -> dict[str, int]:
        if allocation == "uniform":
            return budget.uniform(costs, options, [group], target)
        return budget.allocate(costs, options, target)

    assert choose(18.0) == {"group 0": 4}
    with pytest.raises(EdgekitError, match=r"asks for -60\.0%.* -40\.0% is the most") as caught:
        choose(12.0)
    assert caught.value.code == "EK108"


def test_out_of_reach_is_told_against_the_network_that_was_given() -> None:
    """Half of its cost was dead and is gone already: the user asked for -90 %, and -80 % can be had."""
    net = Net(3, 4, 4)
    program = net.done(net.linear("b", net.relu(net.linear("a", "x", 4, 10)), 10, 2))
    shapes = cost.measured_shapes(program)
    found = trace(program, shapes)
    section = Prune(flops="-90%", multiple=1, most=0.6, allocation="uniform")
    findings = Findings({"a": [int(a) for a in groups.groups(found)[0].atoms]}, {})
    with pytest.raises(EdgekitError, match=r"asks for -90\.0%.* -80\.0% is the most"):
        search.choose(program, found, shapes, section, 2.0 * macs(program), findings)


def test_equal_shares() -> None:
    """Of 8 and of 16 channels the same share, the smallest that meets the budget."""
    sizes = {"small": 8, "large": 16}
    atoms = {"small": np.arange(8), "large": np.arange(16) + 8}
    found = [Group(name, [], [], atoms[name], 1, size, []) for name, size in sizes.items()]
    options = {name: [Option(k, float(k)) for k in range(size // 2 + 1)] for name, size in sizes.items()}
    terms = [Term(1.0, (own,)) for own in atoms.values()]
    costs = Costs(terms, {name: [int(a) for a in own] for name, own in atoms.items()}, options)
    assert budget.uniform(costs, options, found, 24.0) == {"small": 0, "large": 0}
    assert budget.uniform(costs, options, found, 18.0) == {"small": 2, "large": 4}
    assert budget.uniform(costs, options, found, 12.0) == {"small": 4, "large": 8}
    assert budget.uniform(costs, options, found, 23.0) == {"small": 0, "large": 1}


def test_shares_of_named_groups() -> None:
    """The nearest count on offer: of a group in which three of twelve channels hang together, too."""
    found = [
        Group("a", [], [], np.arange(10), 1, 10, []),
        Group("b", [], [], np.arange(4) + 10, 3, 12, []),
        Group("c", [], [], np.arange(8) + 14, 1, 8, []),
    ]
    options = {
        "a": [Option(n, 0.0) for n in (0, 2, 6)],
        "b": [Option(n, 0.0) for n in (0, 1, 2, 3)],
        "c": [Option(n, 0.0) for n in (0, 4)],
    }
    assert budget.at_ratio(options, found, {"a": 0.5, "b": 0.5}) == {"a": 2, "b": 2, "c": 0}
    assert budget.at_ratio(options, found, {"a": 0.3, "b": 0.9, "c": 0.2}) == {"a": 1, "b": 3, "c": 0}


# Steps


def group(size: int, width: int = 1, free: int | None = None) -> Group:
    return Group("g", [], [], np.arange(size // width if free is None else free), width, size, [])


@pytest.mark.parametrize(
    ("made", "multiple", "most", "left"),
    [
        (group(64), 8, 0.6, [64, 56, 48, 40, 32]),
        (group(64), 8, 0.5, [64, 56, 48, 40, 32]),
        (group(64), 8, 0.49, [64, 56, 48, 40]),
        (group(64), 16, 0.9, [64, 48, 32, 16]),
        (group(32), 8, 0.9, [32, 24, 16, 8]),
        (group(24), 8, 0.9, [24, 20, 16, 12, 8, 4]),  # small: half the multiple
        (group(24), 8, 0.6, [24, 20, 16, 12]),
        (group(16), 4, 0.99, [16, 12, 8, 4]),
        (group(8), 8, 0.6, [8, 4]),
        (group(7), 8, 0.9, [7, 4]),
        (group(4), 8, 0.99, [4]),  # at least one step stays
        (group(3), 8, 0.99, [3]),
        (group(5), 1, 0.99, [5, 4, 3, 2, 1]),
        (group(3), 2, 0.99, [3, 2, 1]),
        (group(100), 8, 0.2, [100, 96, 88, 80]),
        (group(64, 2), 8, 0.5, [64, 56, 48, 40, 32]),  # atoms of two channels
        (group(24, 3), 8, 0.9, [24, 12]),
        (group(30, 10), 8, 0.9, [30, 20]),
        (group(64, free=10), 8, 0.6, [64, 56]),  # 54 of the channels must stay
        (group(64, free=0), 8, 0.6, [64]),
    ],
)
def test_steps(made: Group, multiple: int, most: float, left: list[int]) -> None:
    found = budget.steps(made, multiple, most)
    assert [made.size - n * made.width for n in found] == left


def test_a_real_allocation_meets_its_budget() -> None:
    """From steps to the pruned program: MACs within the budget, every layer a multiple of four."""
    program = edit.fold_batch_norm(nets.exported("Neck"))
    shapes = cost.measured_shapes(program)
    found = trace(program, shapes)
    chosen = [g for g in groups.groups(found) if len(budget.steps(g, 4, 0.6)) > 1]
    rankings = {g.name: [int(a) for a in g.atoms] for g in chosen}
    options = {g.name: [Option(n, (n / len(g.atoms)) ** 2) for n in budget.steps(g, 4, 0.6)] for g in chosen}
    costs = Costs(budget.mac_terms(program, found, shapes), rankings, options)
    full = macs(program)
    for target in (0.9 * full, 0.6 * full):
        for choice in (
            budget.allocate(costs, options, target), budget.uniform(costs, options, chosen, target),
        ):  # fmt: skip
            gone = {a for n, k in choice.items() for a in rankings[n][: options[n][k].removed]}
            pruned = remove(program, found, gone)
            assert 0.75 * target < macs(pruned) <= target
            for made in chosen:
                axis = found.of(made.producers[0], "out").axis  # type: ignore[union-attr]
                left = pruned.params[made.producers[0]].shape[axis]
                assert left % 4 == 0 or left == made.size or (made.size < 16 and left % 2 == 0)
