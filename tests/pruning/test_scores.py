"""Which channel goes first, by each criterion."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import paddle
import pytest

from edgekit.calibration import moments, readers
from edgekit.program.graph import Program
from edgekit.pruning import scores
from edgekit.pruning.groups import Group
from edgekit.pruning.scores import Evidence
from tests.pruning import nets
from tests.pruning.small import Array, Net, pictures, values

Doubles = npt.NDArray[np.float64]
IMAGES = pictures(16, 3, 8, 8)


def evidence(program: Program, seed: int = 0, measured: bool = True) -> Evidence:
    layers = {r.weight: r for r in readers.readers(program)}
    known = moments.collect(program, list(layers.values()), list(IMAGES), lambda: None) if measured else {}
    return Evidence(program, nets.traced(program), layers, known, seed)


def order(
    criterion: str, program: Program, group: str = "a", seed: int = 0, measured: bool = True
) -> list[int]:
    """Channel numbers, the first to go first."""
    found = nets.groups(program)[group]
    ranking = scores.ranking(criterion, found, evidence(program, seed, measured))
    assert sorted(ranking) == sorted(int(a) for a in found.atoms)
    piece = nets.traced(program).of(f"{group}.w_0", "out")
    assert piece is not None
    return [list(piece.atoms).index(atom) for atom in ranking]


def simple(seed: int = 0, k: int = 1) -> Program:
    """Six channels behind a ReLU, read by one layer."""
    net = Net(3, 8, 8, seed=seed)
    return net.done(net.conv("b", net.relu(net.conv("a", "x", 3, 6, 3)), 6, 4, k))


def two_readers(seed: int = 0) -> Program:
    """One reads 1 x 1, the other 3 x 3."""
    net = Net(3, 8, 8, seed=seed)
    a = net.relu(net.conv("a", "x", 3, 6, 3))
    return net.done(net.conv("b", a, 6, 4), net.conv("c", a, 6, 5, 3, pad=1))


def sums(points: Doubles) -> Doubles:
    """Of the distances of each point to all, one by one."""
    return np.array([sum(float(np.linalg.norm(p - q)) for q in points) for p in points])


def read(program: Program, layer: str, k: int = 1, pad: int = 0) -> Array:
    """What a layer reads, [channels, taps, places], cut out by Paddle."""
    name = next(r.input for r in readers.readers(program) if r.weight == f"{layer}.w_0")
    x = values(program, IMAGES, name)[name]
    paddle.disable_static()
    rows = paddle.nn.functional.unfold(paddle.to_tensor(x), k, 1, pad).numpy()
    return rows.transpose(1, 0, 2).reshape(x.shape[1], k * k, -1)


def column(program: Program, layer: str) -> Doubles:
    """The weights that a layer has for each of its input channels, [channels, all others]."""
    value = program.params[f"{layer}.w_0"].astype(np.float64)
    return np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)


def test_distances_to_all_others() -> None:
    points = np.random.default_rng(0).normal(size=(9, 5))
    points[4] = points[7]
    np.testing.assert_allclose(scores.fpgm(points), sums(points), rtol=1e-6)
    far = points + 1000  # no cancellation to speak of
    np.testing.assert_allclose(scores.fpgm(far), sums(points), rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_fpgm_on_weights(seed: int) -> None:
    program = simple(seed)
    filters = program.params["a.w_0"].reshape(6, -1).astype(np.float64)
    assert order("fpgm-weights", program) == list(np.argsort(sums(filters)))


@pytest.mark.parametrize("seed", range(3))
def test_fpgm_on_responses(seed: int) -> None:
    """Distances between what channels answer, times what their readers make of them."""
    program = two_readers(seed)
    total = np.zeros(6)
    for layer, k, pad in (("b", 1, 0), ("c", 3, 1)):
        x = read(program, layer, k, pad).astype(np.float64)
        apart = np.sqrt(np.square(x[:, None] - x[None]).mean((2, 3))).sum(1)
        own = apart * np.linalg.norm(column(program, layer), axis=1)
        total += own / own.mean()
    assert order("fpgm", program) == list(np.argsort(total))


def renumbered(program: Program, places: list[int]) -> Program:
    """Channel k of the first layer becomes what channel places[k] was."""
    made = program.copy()
    for name in ("a.w_0", "a.b_0"):
        made.params[name] = program.params[name][places]
    for name in made.params:
        if name in ("b.w_0", "c.w_0"):
            made.params[name] = np.ascontiguousarray(program.params[name][:, places])
    return made


@pytest.mark.parametrize("criterion", ["fpgm", "fpgm-weights", "l1", "energy", "refit"])
def test_what_a_ranking_does_not_depend_on(criterion: str) -> None:
    """The numbers of the channels, the scale of all of them, the scale of what reads them."""
    program = two_readers()
    before = order(criterion, program)
    places = [3, 0, 5, 1, 2, 4]
    assert [places[k] for k in order(criterion, renumbered(program, places))] == before
    scaled = program.copy()
    for name in ("a.w_0", "a.b_0"):
        scaled.params[name] = program.params[name] * np.float32(4)
    scaled.params["b.w_0"] = program.params["b.w_0"] * np.float32(0.5)
    assert order(criterion, scaled) == before


def test_l1_by_hand() -> None:
    program = simple()
    sizes = [3.0, 1.0, 2.0, 6.0, 5.0, 4.0]
    for k, size in enumerate(sizes):
        program.params["a.w_0"][k] = np.float32(size / 27) * (-1) ** k
    assert order("l1", program) == [1, 2, 0, 5, 4, 3]


def test_two_layers_that_make_the_same_channels() -> None:
    """Each counts alike, however large its numbers are; here a's order and b's are opposed, but for one."""
    net = Net(3, 8, 8)
    total = net.add(net.conv("a", "x", 3, 4), net.conv("b", "x", 3, 4))
    program = net.done(net.conv("c", total, 4, 2))
    for k, (one, two) in enumerate([(1.0, 300.0), (2.0, 400.0), (3.0, 100.0), (2.0, 100.0)]):
        program.params["a.w_0"][k], program.params["b.w_0"][k] = one, two
    # Over their means, 2 and 225: 1.83, 2.78, 1.94, 1.44.
    for criterion in ("l1", "fpgm"):
        assert order(criterion, program, measured=False) != [0, 3, 1, 2]  # a alone
    assert order("l1", program) == [3, 0, 2, 1]
    found = nets.groups(program)["a"]
    assert found.producers == ["a.w_0", "b.w_0"]


@pytest.mark.parametrize("seed", range(3))
def test_energy_by_hand(seed: int) -> None:
    program = two_readers(seed)
    total = np.zeros(6)
    for layer, k, pad in (("b", 1, 0), ("c", 3, 1)):
        own = np.square(read(program, layer, k, pad)).mean((1, 2)) * np.square(column(program, layer)).sum(1)
        total += own / own.mean()
    assert order("energy", program) == list(np.argsort(total))


def test_random_is_the_same_for_a_seed_and_another_for_each_group() -> None:
    net = Net(3, 8, 8)
    a = net.conv("a", "x", 3, 16)
    program = net.done(net.conv("c", net.conv("b", a, 16, 16), 16, 2))
    assert order("random", program) == order("random", program)
    assert order("random", program) != order("random", program, seed=1)
    assert order("random", program) != order("random", program, "b")
    assert order("random", program) != list(range(16))


def greedy(program: Program, layers: list[str]) -> list[int]:
    """Each time the channel without which least squares over the rows, for all readers, is best."""
    rows, targets, ridges = [], [], []
    for layer in layers:
        x = read(program, layer)[:, 0].T.astype(np.float64)
        z = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        weights = np.concatenate([column(program, layer), np.zeros((1, len(program.params[f"{layer}.w_0"])))])
        answers = z @ weights
        spread = np.sqrt(answers.var(0).sum() * len(z))
        ridge = np.sqrt(1e-4 * np.square(z).sum() / z.shape[1]) * np.eye(z.shape[1])
        rows.append(z / spread)
        ridges.append(ridge / spread)
        targets.append((answers / spread, ridge @ weights / spread))

    def cost(left: list[int]) -> float:
        """With a ridge towards the weights that are there."""
        total = 0.0
        for z, ridge, (answers, held) in zip(rows, ridges, targets, strict=True):
            everything = np.concatenate([z, ridge]), np.concatenate([answers, held])
            columns = [*left, z.shape[1] - 1]
            solved = np.linalg.lstsq(everything[0][:, columns], everything[1], rcond=None)[0]
            total += float(np.square(everything[0][:, columns] @ solved - everything[1]).sum())
        return total

    left, found = list(range(6)), []
    while left:
        gone = min(left, key=lambda k: cost([j for j in left if j != k]))
        left.remove(gone)
        found.append(gone)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_refit_is_greedy_least_squares(seed: int) -> None:
    net = Net(3, 8, 8, seed=seed)
    a = net.relu(net.conv("a", "x", 3, 6, 3))
    program = net.done(net.conv("b", a, 6, 4), net.conv("c", a, 6, 2))
    program.params["c.w_0"] *= 30  # it counts as much as the other
    assert order("refit", program) == greedy(program, ["b", "c"])


@pytest.mark.parametrize("k", [1, 3])
def test_refit_takes_one_of_two_equal_channels_first_and_the_other_late(k: int) -> None:
    """However much the readers make of it; and never both."""
    program = simple(k=k)
    for name in ("a.w_0", "a.b_0"):
        program.params[name][4] = program.params[name][1]
    program.params["b.w_0"][:, [1, 4]] *= 3
    found = order("refit", program)
    assert found[0] in (1, 4)
    assert {1, 4} - set(found[:3]) != set()
    assert order("energy", program)[0] not in (1, 4)


@pytest.mark.parametrize("criterion", ["fpgm", "energy", "refit"])
def test_what_nobody_looks_at_goes_first(criterion: str) -> None:
    program = two_readers()
    program.params["b.w_0"][:, 3] = 0
    program.params["c.w_0"][:, 3] = 0
    program.params["a.w_0"][3] *= 10
    assert order(criterion, program)[0] == 3
    assert order("l1", program)[0] != 3


@pytest.mark.parametrize(
    ("criterion", "instead"), [("fpgm", "fpgm-weights"), ("energy", "l1"), ("refit", "l1")]
)
def test_where_no_reader_was_measured_the_filters_decide(criterion: str, instead: str) -> None:
    """Read by a grouped convolution, whose rows nobody knows."""
    net = Net(3, 8, 8)
    b = net.conv("b", net.relu(net.conv("a", "x", 3, 8)), 8, 8, groups=2)
    program = net.done(net.conv("c", b, 8, 2))
    assert order(criterion, program, "b") != order(instead, program, "b")
    group = nets.groups(program)["a"]
    known = evidence(program)
    assert group.width == 2 and not set(group.consumers) & set(known.moments)
    assert scores.ranking(criterion, group, known) == scores.ranking(instead, group, known)


def test_a_channel_that_must_stay_is_not_ranked() -> None:
    """Its neighbours are, by what their readers read of them alone."""
    net = Net(3, 8, 8)
    a = net.relu(net.conv("a", "x", 3, 6, 3))
    part = net.op("slice", {"Input": a}, {"axes": [1], "starts": [0], "ends": [2], "decrease_axis": []})
    program = net.done(part, net.conv("b", a, 6, 4))
    group = nets.groups(program)["a"]
    assert len(group.atoms) == 4
    for criterion in scores.NAMES:
        assert set(order(criterion, program)) == {2, 3, 4, 5}
    x = read(program, "b")[2:, 0].astype(np.float64)
    apart = np.sqrt(np.square(x[:, None] - x[None]).mean(2)).sum(1)
    wanted = np.argsort(apart * np.linalg.norm(column(program, "b")[2:], axis=1)) + 2
    assert order("fpgm", program) == list(wanted)


def test_flattened_channels_count_at_all_places() -> None:
    net = Net(3, 2, 2)
    a = net.relu(net.conv("a", "x", 3, 5))
    flat = net.op("flatten_contiguous_range", {"X": a}, {"start_axis": 1, "stop_axis": 3})
    program = net.done(net.linear("fc", flat, 20, 6))
    images = pictures(200, 3, 2, 2)
    layers = {r.weight: r for r in readers.readers(program)}
    known = moments.collect(program, list(layers.values()), list(images), lambda: None)
    found = Evidence(program, nets.traced(program), layers, known)
    x = values(program, images, a)[a]
    own = np.square(x).mean(0).reshape(20) * np.square(program.params["fc.w_0"]).sum(1)
    group: Group = nets.groups(program)["a"]
    assert scores.ranking("energy", group, found) == list(np.argsort(own.reshape(5, 4).sum(1)))


def test_names_are_hashed_the_same_on_every_machine() -> None:
    """PCG64 seeded with the CRC of the group's name, so that a ranking can be repeated anywhere."""
    net = Net(3, 8, 8)
    program = net.done(net.conv("b", net.conv("a", "x", 3, 6), 6, 2))
    drawn = np.random.Generator(np.random.PCG64([7, zlib.crc32(b"a")])).random(6)
    assert order("random", program, seed=7) == list(np.argsort(drawn))
