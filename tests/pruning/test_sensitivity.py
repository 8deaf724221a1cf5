"""What the loss of channels does to the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from edgekit.calibration import judging, moments, readers
from edgekit.calibration.judging import Reference, loss, raw_outputs
from edgekit.program.graph import Program
from edgekit.pruning import refit, sensitivity
from edgekit.pruning.sensitivity import Point, Probe, options, strengths
from tests.pruning import nets
from tests.pruning.small import Array, Net, pictures, values

IMAGES = pictures(11, 3, 6, 6)


# Losses by hand


def test_loss_by_hand() -> None:
    """Variances 1 and 4, squared errors 0.5 and 1: (0.5 + 0.25) / 2."""
    want = np.array([[0, 2, 0, 2], [1, 5, 5, 1]], np.float32)
    have = np.array([[1, 2, 1, 2], [2, 4, 4, 2]], np.float32)
    assert loss([Reference({"y": want}, {})], [{"y": have}]) == pytest.approx(0.375)
    assert loss([Reference({"y": want}, {})], [{"y": want}]) == 0


def test_outputs_and_batches_count_alike_picture_by_picture() -> None:
    want = np.array([[0, 2]], np.float32)
    off = {error: want + np.float32(error) for error in (0.0, 1.0, 2.0)}
    references = [
        Reference({"y": want, "z": 10 * want}, {}),
        Reference({"y": want.repeat(2, 0), "z": 10 * want.repeat(2, 0)}, {}),
    ]
    got = [
        {"y": off[1.0], "z": 10 * off[0.0]},
        {"y": np.concatenate([off[0.0], off[2.0]]), "z": 10 * np.concatenate([off[1.0], off[0.0]])},
    ]
    assert loss(references, got) == pytest.approx((1 + 0 + 0 + 4 + 1 + 0) / 6)
    with pytest.raises(ValueError, match="zip"):
        loss(references, got[:1])


def test_weighted_loss_by_hand() -> None:
    """Three boxes; the second counts three times the first, the third not at all."""
    want = np.array([[[0, 4], [2, 2], [100, -100]]], np.float32)
    have = np.array([[[1, 4], [2, 4], [0, 0]]], np.float32)
    weights = np.array([[[1.0], [3.0], [0.0]]], np.float32)
    # Shares 1/8 and 3/8; mean 2; variance (4 + 4) / 8; squared error 1/8 + 3/8 * 4.
    wanted = (1 / 8 + 12 / 8) / (8 / 8)
    assert loss([Reference({"boxes": want}, {"boxes": weights})], [{"boxes": have}]) == pytest.approx(wanted)
    as_one = loss([Reference({"boxes": want}, {"boxes": 0 * weights + 7})], [{"boxes": have}])
    assert as_one == pytest.approx(loss([Reference({"boxes": want}, {})], [{"boxes": have}]))


def test_references_hold_what_the_network_answers_batch_by_batch() -> None:
    program = simple()
    asked = []

    def weigh(answers: dict[str, Array]) -> dict[str, Array]:
        asked.append(answers)
        return {"c": answers["c"] ** 2}

    found = judging.references(program, ["c"], list(IMAGES), weigh)
    wanted = values(program, IMAGES, "c")["c"]
    assert [len(reference.values["c"]) for reference in found] == [8, 3] and len(asked) == 2
    np.testing.assert_allclose(np.concatenate([r.values["c"] for r in found]), wanted, atol=1e-5)
    for reference in found:
        assert np.array_equal(reference.weights["c"], reference.values["c"] ** 2)


# From measured points to options


def test_options_between_measured_points() -> None:
    """Roots 0, 0.2, 0.6 at 0, 2, 6: straight lines between them."""
    points = [Point(0, 0.0), Point(2, 0.04), Point(6, 0.36)]
    found = options(points, [0, 1, 2, 3, 4, 5, 6])
    assert [option.removed for option in found] == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(np.sqrt([option.loss for option in found]), [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert [o.removed for o in options(points, [0, 4])] == [0, 4]


@pytest.mark.parametrize("seed", range(5))
def test_options_never_fall_and_are_exact_where_measured(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = [0, *np.sort(rng.choice(np.arange(1, 30), 3, replace=False))]
    losses = [0.0, *rng.exponential(size=3)]
    found = options([Point(int(n), x) for n, x in zip(places, losses, strict=True)], range(31))
    curve = [option.loss for option in found]
    assert all(b >= a for a, b in pairwise(curve))
    for k, place in enumerate(places):
        assert curve[place] == pytest.approx(max(losses[: k + 1]))


def test_more_gone_is_not_thought_better() -> None:
    points = [Point(0, 0.0), Point(2, 0.09), Point(4, 0.04)]
    np.testing.assert_allclose([o.loss for o in options(points, [0, 2, 3, 4])], [0, 0.09, 0.09, 0.09])


def test_strengths() -> None:
    assert strengths([0]) == []
    assert strengths([0, 4]) == [4]
    assert strengths([0, 4, 8]) == [4, 8]
    assert strengths([0, 4, 8, 12, 16, 20]) == [4, 12, 20]


# Measured in a network


def simple() -> Program:
    net = Net(3, 6, 6)
    a = net.relu(net.conv("a", "x", 3, 8, 3, pad=1))
    b = net.relu(net.conv("b", a, 8, 6))
    return net.done(net.conv("c", net.add(b, net.conv("side", a, 8, 6, 3, pad=1)), 6, 3))


def heads() -> Program:
    """A classifier beside a map: the one answer is ready long before the other."""
    net = Net(3, 6, 6)
    a = net.relu(net.conv("a", "x", 3, 8))
    soft = net.op("softmax", {"X": net.linear("logits", net.pooled(a, 8), 8, 4)}, {"axis": -1})
    b = net.relu(net.conv("b", a, 8, 6, 3, pad=1))
    return net.done(net.conv("c", b, 6, 2), soft)


def probe(program: Program, outputs: Sequence[str]) -> Probe:
    layers = {r.weight: r for r in readers.readers(program)}
    known = moments.collect(program, list(layers.values()), list(IMAGES), lambda: None)
    reference = judging.references(program, outputs, list(IMAGES), lambda answers: {})
    return Probe(program, nets.traced(program), layers, known, outputs, reference, list(IMAGES))


def everywhere(found: Probe, gone: set[int]) -> float:
    """The same from a run of the whole network."""
    masked = refit.mask_out(found.program, found.trace, found.layers, found.moments, gone)
    have, want = (values(p, IMAGES, *found.outputs) for p in (masked, found.program))
    total = [
        np.square(h - w).mean() / w.var()
        for name in found.outputs
        for h, w in zip(have[name].astype(np.float64), want[name].astype(np.float64), strict=True)
    ]
    return float(np.mean(total))


@pytest.mark.parametrize("make", [simple, heads])
def test_each_group_alone(make: Callable[[], Program]) -> None:
    """Piece by piece gives what a run of the whole network gives."""
    program = make()
    found, counted = probe(program, raw_outputs(program)), []
    rankings = {
        name: [int(a) for a in group.atoms][::-1]
        for name, group in reversed(nets.groups(program).items())
        if len(group.atoms)
    }
    assert len(rankings) >= 2
    counts = {name: [1, len(ranking) // 2] for name, ranking in rankings.items()}
    points = sensitivity.measure(found, rankings, counts, lambda: counted.append(1))
    assert len(counted) == 2 * len(rankings)
    assert set(points) == set(rankings)
    for name, ranking in rankings.items():
        assert points[name][0] == Point(0, 0.0)
        assert [p.removed for p in points[name]] == [0, *counts[name]]
        for point in points[name][1:]:
            wanted = everywhere(found, set(ranking[: point.removed]))
            assert wanted > 1e-4
            assert point.loss == pytest.approx(wanted, rel=1e-3)


def test_what_nobody_looks_at_costs_nothing() -> None:
    program = simple()
    for layer in ("b", "side"):
        program.params[f"{layer}.w_0"][:, [2, 5]] = 0
    ranking = [int(a) for a in nets.groups(program)["a"].atoms]
    first = [ranking[k] for k in (2, 5, 0, 1, 3, 4, 6, 7)]
    found = probe(program, ["c"])
    points = sensitivity.measure(found, {"a": first}, {"a": [1, 2, 3]}, lambda: None)["a"]
    assert [p.removed for p in points] == [0, 1, 2, 3]
    assert points[1].loss < 1e-9 and points[2].loss < 1e-9 < 1e-3 < points[3].loss


def test_a_double_costs_nothing_and_the_last_of_its_kind_does() -> None:
    program = simple()
    for name in ("a.w_0", "a.b_0"):
        program.params[name][3] = program.params[name][6]
    program.params["a.b_0"][[3, 6]] = 0.5
    ranking = [int(a) for a in nets.groups(program)["a"].atoms]
    order = [ranking[k] for k in (3, 6, 0, 1, 2, 4, 5, 7)]
    points = sensitivity.measure(probe(program, ["c"]), {"a": order}, {"a": [1, 2]}, lambda: None)["a"]
    assert points[1].loss < 1e-5 < 1e-3 < points[2].loss


def test_the_program_stays_as_it_is() -> None:
    program = simple()
    before = {name: value.copy() for name, value in program.params.items()}
    ranking = {"a": [int(a) for a in nets.groups(program)["a"].atoms]}
    sensitivity.measure(probe(program, ["c"]), ranking, {"a": [2, 5]}, lambda: None)
    assert all(np.array_equal(program.params[name], value) for name, value in before.items())
