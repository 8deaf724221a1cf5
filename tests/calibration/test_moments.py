"""Second moments and least squares, against numpy on the rows themselves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import paddle
import pytest

from edgekit.calibration import moments, readers
from edgekit.calibration.moments import Moments, collect, layer_answers, means, passes, step, without
from edgekit.calibration.readers import Doubles
from edgekit.errors import EdgekitError
from edgekit.program.graph import Program
from tests.pruning.small import Array, Net, pictures, values


def nothing() -> None:
    pass


def mixed(n: int, k: int, seed: int = 0) -> Array:
    """Rows whose columns hang together and have means."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, k)) @ rng.normal(size=(k, k)) + rng.normal(size=k)).astype(np.float32)


def with_ones(x: Array) -> Doubles:
    return np.concatenate([x.astype(np.float64), np.ones((len(x), 1))], axis=1)


def of(x: Array) -> Moments:
    """Every row a picture of its own."""
    return Moments.of(x, len(x), 0)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    x = mixed(60, 5)
    z = with_ones(x)
    sizes = [0, 8, 20, 24, 60]
    parts = [
        Moments.of(x[a:b], (b - a) // 4, a // 4) for a, b in pairwise(sizes)
    ]  # four rows of each picture
    found = parts[0].plus(parts[1]).plus(parts[2].plus(parts[3]))
    assert found.n == 60
    np.testing.assert_allclose(found.matrix, z.T @ z / 60, rtol=1e-5)
    np.testing.assert_allclose(found.matrix[:-1, -1], x.mean(0), rtol=1e-5)
    assert found.matrix[-1, -1] == pytest.approx(1)
    odd = np.arange(60) // 4 % 2 == 1
    assert found.counts == (32, 28)
    for half, chosen in enumerate((z[~odd], z[odd])):
        np.testing.assert_allclose(found.sums[half], chosen.T @ chosen, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gone", [[2], [0, 4], [1, 2, 3], [5]])
def test_without_is_least_squares_against_the_layers_own_answers(
    bias: bool, gone: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "RIDGES", (1e-9,))
    x, weights = mixed(200, 6), np.random.default_rng(1).normal(size=(3, 7))
    keep = np.ones(6, bool)
    keep[gone] = False
    found = without(weights, of(x), keep, bias)
    z = with_ones(x)
    columns = [*np.flatnonzero(keep), *([6] if bias else [])]
    target = z @ weights.T if bias else z[:, :-1] @ weights[:, :-1].T
    solved = np.linalg.lstsq(z[:, columns], target, rcond=None)[0].T
    np.testing.assert_allclose(found[:, columns], solved, rtol=1e-3, atol=1e-4)
    assert (found[:, gone] == 0).all()
    if not bias:
        assert np.array_equal(found[:, 6], weights[:, 6])
    assert not np.allclose(found, np.where(np.r_[keep, True], weights, 0), atol=0.01)  # refitted indeed


def test_the_ridge_costs_next_to_nothing() -> None:
    """Where there are rows enough."""
    x, weights = mixed(400, 6), np.random.default_rng(1).normal(size=(3, 7))
    keep, z = np.arange(6) != 3, with_ones(x)
    target, columns = z @ weights.T, [0, 1, 2, 4, 5, 6]
    best = np.linalg.lstsq(z[:, columns], target, rcond=None)[0]
    least = np.square(z[:, columns] @ best - target).mean()
    got = np.square(z @ without(weights, of(x), keep, True).T - target).mean()
    dropped = np.square(z[:, 3:4] @ weights[:, 3:4].T).mean()
    assert 0.2 * dropped > got >= least * (1 - 1e-6)
    assert got <= least * 1.01


@pytest.mark.parametrize("n", [60, 400])
@pytest.mark.parametrize("bias", [True, False])
def test_a_channel_that_the_others_can_express_costs_nothing(bias: bool, n: int) -> None:
    x, weights = mixed(n, 6), np.random.default_rng(1).normal(size=(3, 7))
    x[:, 3] = 2 * x[:, 0] - x[:, 1] + (0.5 if bias else 0)
    keep = np.arange(6) != 3
    found = without(weights, of(x), keep, bias)
    z = with_ones(x)
    target = z @ weights.T
    error = np.abs(z @ found.T - target).max() / np.abs(target).max()
    assert error < 1e-3
    assert np.abs(z[:, 3:4] @ weights[:, 3:4].T).max() / np.abs(target).max() > 0.1


def test_without_nothing_changes_nothing() -> None:
    x, weights = mixed(50, 4), np.random.default_rng(1).normal(size=(3, 5))
    assert np.array_equal(without(weights, of(x), np.ones(4, bool), True), weights)


def test_without_anything_the_bias_is_the_mean_answer() -> None:
    x, weights = mixed(50, 4), np.random.default_rng(1).normal(size=(3, 5))
    found = without(weights, of(x), np.zeros(4, bool), True)
    np.testing.assert_allclose(found[:, -1], (with_ones(x) @ weights.T).mean(0), rtol=1e-3)
    assert (found[:, :-1] == 0).all()


Part = tuple[Doubles, Doubles]


def products(z: Doubles, missing: Doubles) -> Part:
    return z.T @ z / len(z), missing.T @ z / len(z)


def halves(z: Doubles, missing: Doubles) -> list[Part]:
    return [products(z[k::2], missing[k::2]) for k in range(2)]


def test_a_step_finds_a_known_map() -> None:
    z, wanted = with_ones(mixed(300, 5)), np.random.default_rng(2).normal(size=(3, 6))
    missing = z @ wanted.T
    found = step(*products(z, missing), halves(z, missing), 300)
    assert np.square(z @ (found - wanted).T).mean() < 1e-3 * np.square(missing).mean()


def test_a_step_leaves_alone_what_the_rows_do_not_tell() -> None:
    """Where two columns are always equal only their sum matters: each takes half of what is missing."""
    x = mixed(100, 3)
    x[:, 2] = x[:, 1]
    z = with_ones(x)
    missing = z @ np.array([[0.5, 2.0, 0.0, 0.0]]).T
    found = step(*products(z, missing), halves(z, missing), 100)
    np.testing.assert_allclose(found, [[0.5, 1.0, 1.0, 0.0]], atol=0.01)


@pytest.mark.parametrize("noise", [0.0, 1.0, 30.0])
def test_with_few_rows_the_ridge_is_the_one_that_does_best_on_the_other_half(noise: float) -> None:
    """What is missing is mostly noise in the last case: it is better not to follow it."""
    rng = np.random.default_rng(3)
    z = with_ones(mixed(40, 6))
    missing = z @ rng.normal(size=(2, 7)).T + rng.normal(size=(40, 2)) * noise

    def fitted(rows: Doubles, wants: Doubles, ridge: float) -> Doubles:
        """Ridge regression as least squares with rows for the ridge."""
        size = np.sqrt(ridge * np.square(rows).sum() / rows.shape[1])
        more = np.concatenate([rows, size * np.eye(rows.shape[1])])
        wants = np.concatenate([wants, np.zeros((rows.shape[1], wants.shape[1]))])
        return np.linalg.lstsq(more, wants, rcond=None)[0]

    def error(ridge: float) -> float:
        total = 0.0
        for k in range(2):
            solved = fitted(z[k::2], missing[k::2], ridge)
            total += float(np.square(z[1 - k :: 2] @ solved - missing[1 - k :: 2]).sum())
        return total

    best = min(moments.RIDGES, key=error)
    assert (best > moments.RIDGES[0]) == (noise > 0)
    found = step(*products(z, missing), halves(z, missing), 40)
    np.testing.assert_allclose(found, fitted(z, missing, best).T, rtol=1e-6, atol=1e-8)
    enough = moments.ENOUGH * 7
    least = fitted(z, missing, moments.RIDGES[0]).T
    np.testing.assert_allclose(step(*products(z, missing), halves(z, missing), enough), least, rtol=1e-6)


# Collecting


def small(batch: int = -1) -> Program:
    """All kinds of layers, for 8 x 8 pictures."""
    net = Net(3, 8, 8)
    a = net.relu(net.conv("a", "x", 3, 4, 3, pad=1))
    b = net.relu(net.conv("b", a, 4, 5, 3, stride=2))
    c = net.relu(net.transposed("c", b, 5, 4, bias=True))
    program = net.done(net.linear("d", net.pooled(c, 4), 4, 2))
    if batch > 0:
        program.var("x").type.lod_tensor.tensor.dims[0] = batch
    return program


def unfolded(x: Array, k: int, stride: int = 1, pad: int = 0) -> Array:
    """Rows of patches by Paddle's own im2col, [pictures * places, channels * k * k]."""
    paddle.disable_static()
    cut = paddle.nn.functional.unfold(paddle.to_tensor(x), k, stride, pad).numpy()
    return np.concatenate([picture.T for picture in cut])


def test_moments_of_every_layer_are_those_of_its_patches() -> None:
    program, images, counted = small(), pictures(11, 3, 8, 8), []
    layers = readers.readers(program)
    found = collect(program, layers, list(images), lambda: counted.append(1))
    assert len(counted) == 11
    read = {layer.weight: layer.input for layer in layers}
    got = {"x": images, **values(program, images, *(set(read.values()) - {"x"}))}
    wanted = {
        "a.w_0": unfolded(images, 3, 1, 1),
        "b.w_0": unfolded(got[read["b.w_0"]], 3, 2),
        "c.w_0": unfolded(got[read["c.w_0"]], 1),
        "d.w_0": got[read["d.w_0"]],
    }
    assert list(found) == list(wanted)
    for name, x in wanted.items():
        assert found[name].n == len(x)
        z = with_ones(x)
        np.testing.assert_allclose(found[name].matrix, z.T @ z / len(z), rtol=1e-4, atol=1e-5)


def test_means_are_the_last_column_of_the_moments() -> None:
    program = small()
    images = [pictures(1, 3, 8, width)[0] for width in (8, 8, 8, 12)]
    layers = readers.readers(program)
    counted: list[int] = []
    found = means(program, layers, images, lambda: counted.append(1))
    wanted = collect(program, layers, images, lambda: None)
    assert len(counted) == len(images) and set(found) == set(wanted)
    for name, mean in found.items():
        np.testing.assert_allclose(mean, wanted[name].matrix[:, -1], rtol=1e-5, atol=1e-6)


def test_pictures_of_one_size_share_a_batch() -> None:
    images = [np.zeros((3, side, 8), np.float32) for side in (8, 8, 8, 16, 8, 8)]
    found = [(start, batch.shape) for start, batch in moments.batches(images, small(-1))]
    assert found == [(0, (3, 3, 8, 8)), (3, (1, 3, 16, 8)), (4, (2, 3, 8, 8))]


@pytest.mark.parametrize("most", [7, 256])
def test_a_program_for_one_picture_at_a_time_gives_the_same(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More pictures than fit into one batch, in two batches or one by one, seen in the same places."""
    monkeypatch.setattr(moments, "PLACES", most)
    images = list(pictures(11, 3, 8, 8))
    sizes = [[len(batch) for _, batch in moments.batches(images, small(b))] for b in (-1, 1)]
    assert sizes == [[8, 3], [1] * 11]
    found, answered = [], []
    for batch in (-1, 1):
        program = small(batch)
        found.append(collect(program, readers.readers(program), images, nothing))
        answered.append(layer_answers(program, readers.readers(program), images, nothing))
    for name in found[0]:
        assert found[0][name].n == found[1][name].n
        np.testing.assert_allclose(found[0][name].matrix, found[1][name].matrix, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answered[0][name], answered[1][name], rtol=1e-4, atol=1e-5)
    assert found[0]["a.w_0"].n == 11 * min(most, 64)


@pytest.mark.parametrize("most", [5, 256])
def test_answers_fit_the_rows_of_the_same_layer(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Least squares from the rows to the answers finds the layer's own weights and bias."""
    monkeypatch.setattr(moments, "PLACES", most)
    program, images, counted = small(), pictures(16, 3, 8, 8), []
    layers = readers.readers(program)
    found = layer_answers(program, layers, list(images), lambda: counted.append(1))
    assert len(counted) == 16 and list(found) == ["a.w_0", "b.w_0", "c.w_0", "d.w_0"]
    for layer in layers:
        weight = layer.matrix(program.params[layer.weight])
        x = np.concatenate(
            [
                readers.rows(layer, values[layer.input], weight.shape[1], most, start)
                for start, values in passes(program, [layer.input], list(images))
            ]
        )
        bias = program.params[layer.bias] if layer.bias else np.zeros(len(weight))
        np.testing.assert_allclose(x @ weight.T + bias, found[layer.weight], atol=1e-4)
    assert [layer.bias for layer in layers] == ["a.b_0", "b.b_0", None, "d.b_0"]


def test_tensors_on_either_side_of_a_batch_norm() -> None:
    """Paddle's passes make one op of a transposed convolution, its bias and its batch norm."""
    net = Net(3, 8, 8)
    raw = net.transposed("up", net.relu(net.conv("a", "x", 3, 4)), 4, 5, bias=True)
    normed = net.norm("n", raw, 5)
    program = net.done(net.conv("b", net.relu(normed), 5, 2))
    images, names = pictures(2, 3, 8, 8), [raw, normed, "up.raw", "b", "b.raw"]
    ((_, found),) = passes(program, names, list(images), optimise=False)
    for name, value in values(program, images, *names).items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_values_that_are_not_finite_are_refused() -> None:
    net = Net(3, 8, 8)
    root = net.op("sqrt", {"X": net.conv("a", "x", 3, 4)})
    program = net.done(net.conv("b", root, 4, 2))
    with pytest.raises(EdgekitError, match=f"{root} holds values that are not finite") as caught:
        collect(program, readers.readers(program), list(pictures(2, 3, 8, 8)), nothing)
    assert caught.value.code == "EK501"
    images = pictures(3, 3, 8, 8)
    images[2, 0, 3, 3] = np.inf
    with pytest.raises(EdgekitError, match="x holds values that are not finite"):
        collect(small(), readers.readers(small()), list(images), nothing)
    images[2, 0, 3, 3] = 0
    assert len(collect(small(), readers.readers(small()), list(images), nothing)) == 4


def test_inputs_need_no_run() -> None:
    """Asked for the pictures alone, and for pictures beside something computed."""
    program, images = small(), pictures(9, 3, 8, 8)
    alone = list(passes(program, ["x"], list(images)))
    assert [(start, list(found)) for start, found in alone] == [(0, ["x"]), (8, ["x"])]
    assert np.array_equal(np.concatenate([found["x"] for _, found in alone]), images)
    both = list(passes(program, ["x", "a.raw", "a.raw"], list(images)))
    assert [set(found) for _, found in both] == [{"x", "a.raw"}] * 2
    wanted = values(program, images, "a.raw")["a.raw"]
    np.testing.assert_allclose(np.concatenate([found["a.raw"] for _, found in both]), wanted, atol=1e-5)


@pytest.mark.parametrize(("side", "together"), [(32, 8), (224, 8), (416, 2), (960, 1)])
def test_large_pictures_come_in_smaller_batches(side: int, together: int) -> None:
    """So that memory does not grow with them."""
    net = Net(3, -1, -1)
    program = net.done(net.relu("x"))
    given = [np.full((3, side, side), k, np.float32) for k in range(9)]
    found = list(moments.batches(given, program))
    assert [start for start, _ in found] == list(range(0, 9, together))
    assert max(len(batch) for _, batch in found) == together
    assert [float(p[0, 0, 0]) for _, batch in found for p in batch] == list(range(9))
