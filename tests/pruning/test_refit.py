"""After channels went: weights that answer as the float network's did, as near as least squares can come."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest

from edgekit.calibration import moments, readers
from edgekit.calibration.readers import Reader
from edgekit.console import Progress
from edgekit.program.graph import Program
from edgekit.pruning import activations, refit
from edgekit.pruning.remove import kept_outputs, remove
from edgekit.pruning.trace import Trace
from edgekit.stages import prune
from tests.pruning import nets
from tests.pruning.small import Array, Net, pictures, values

CALIBRATION = pictures(24, 3, 8, 8)
Make = Callable[[], Program]


def nothing() -> None:
    pass


def kinds() -> Program:
    """Layers of all kinds one after another; the transposed one's taps share a bias, the last has none."""
    net = Net(3, 8, 8)
    a = net.op("hard_swish", {"X": net.conv("a", "x", 3, 10, 3, pad=1)})
    b = net.relu(net.conv("b", a, 10, 12, 3, stride=2))
    c = net.relu(net.transposed("c", b, 12, 8, bias=True))
    d = net.relu(net.linear("d", net.pooled(c, 8), 8, 8, turned=True))
    return net.done(net.linear("e", d, 8, 3, bias=False))


def branches() -> Program:
    """Two branches of unequal depth, brought together by concat, and a residual behind."""
    net = Net(3, 8, 8)
    stem = net.relu(net.conv("stem", "x", 3, 8, 3, pad=1))
    left = net.relu(net.conv("left", stem, 8, 6))
    right = net.relu(net.conv("right2", net.relu(net.conv("right1", stem, 8, 6, 3, pad=1)), 6, 6))
    both = net.op("concat", {"X": [left, right]}, {"axis": 1})
    mixed = net.relu(net.conv("mixed", both, 12, 12))
    total = net.add(mixed, net.conv("again", mixed, 12, 12, 3, pad=1))
    return net.done(net.conv("head", total, 12, 4))


def atoms(found: Trace, layer: str, channels: Sequence[int]) -> set[int]:
    piece = found.of(f"{layer}.w_0", "out")
    assert piece is not None
    return {int(piece.atoms[k]) for k in channels}


def recovered(
    program: Program, found: Trace, gone: set[int], methods: list[str], images: Array = CALIBRATION
) -> Program:
    """Pruned, and refitted as the stage does it."""
    silent = Progress(io.StringIO(), terminal=False)
    pruned, kept = remove(program, found, gone), kept_outputs({}, found, gone)
    made = [pruned, *(m for _, m in prune.recover(program, pruned, kept, methods, list(images), silent))]
    return made[-1]


def error(got: Program, wanted: Program, images: Array) -> float:
    """Mean squared error of the outputs over their variance."""
    (have,), (want,) = (list(values(p, images).values()) for p in (got, wanted))
    return float(np.square(have - want).mean() / want.var())


@pytest.mark.parametrize("methods", [["refit"], ["statistics", "refit"]])
@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (kinds, {"a": [1, 2, 5], "b": [0, 7, 9], "c": [3, 4], "d": [6]}),
        (branches, {"stem": [0, 5], "left": [1], "right1": [3, 4], "right2": [2]}),
    ],
)
def test_refit_brings_the_answers_back(
    make: Make, channels: dict[str, list[int]], methods: list[str]
) -> None:
    """Also for pictures that were not looked at."""
    program = make()
    found = nets.traced(program)
    gone = set().union(*(atoms(found, layer, numbers) for layer, numbers in channels.items()))
    plain, fitted = (recovered(program, found, gone, m) for m in ([], methods))
    assert error(fitted, program, CALIBRATION) < 0.6 * error(plain, program, CALIBRATION)
    fresh = pictures(24, 3, 8, 8, seed=9)
    assert error(fitted, program, fresh) < 0.8 * error(plain, program, fresh)


@pytest.mark.parametrize("layer", ["a", "b", "c", "d"])
def test_a_channel_of_which_there_are_two(layer: str) -> None:
    """One of them goes and nothing is lost: the reader's weights for both come together."""
    program = kinds()
    axis = {"c": 1}.get(layer, 0)
    weight, bias = program.params[f"{layer}.w_0"], program.params[f"{layer}.b_0"]
    np.moveaxis(weight, axis, 0)[5] = np.moveaxis(weight, axis, 0)[2]
    bias[5] = bias[2] = 0.3  # so that it lives behind a ReLU
    found = nets.traced(program)
    gone = atoms(found, layer, [5])
    fresh = pictures(16, 3, 8, 8, seed=9)
    assert error(recovered(program, found, gone, ["refit"]), program, fresh) < 1e-6  # 1e-3 of the answers
    assert error(recovered(program, found, gone, []), program, fresh) > 1e-3


@pytest.mark.parametrize("places", [12, 256])
def test_a_channel_that_is_a_mixture_of_others(places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by two layers, one of them with padding, without an activation before them.

    Also when only some places of each picture are looked at: the same ones before and after.
    """
    monkeypatch.setattr(moments, "PLACES", places)
    monkeypatch.setattr(refit, "PLACES", places)
    net = Net(3, 8, 8)
    a = net.conv("a", "x", 3, 6, 3)
    program = net.done(net.add(net.conv("b", a, 6, 4, 3, pad=1), net.conv("c", a, 6, 4)))
    for name in ("a.w_0", "a.b_0"):
        value = program.params[name]
        value[4] = 0.5 * value[0] - 2 * value[1] + value[5]
    found = nets.traced(program)
    gone = atoms(found, "a", [4])
    assert error(recovered(program, found, gone, ["refit"]), program, CALIBRATION) < 1e-6
    assert error(recovered(program, found, gone, []), program, CALIBRATION) > 1e-2


def rows_of(program: Program, reader: Reader, images: Array) -> tuple[Array, Array]:
    """What the layer reads and what it answers with its bias, [places, ...], by Paddle's own means."""
    op = next(o for o in program.ops if reader.output in [n for s in o.outputs for n in s.arguments])
    assert reader.kind != "transposed"
    told = reader.weight.removesuffix(".w_0") if reader.bias else reader.output
    got = {"x": images, **values(program, images, *({reader.input, told} - {"x"}))}
    x, y = got[reader.input], got[told]
    if op.type == "conv2d":
        paddle.disable_static()
        pads = [reader.padding[0], reader.padding[2], reader.padding[1], reader.padding[3]]
        x = paddle.nn.functional.unfold(paddle.to_tensor(x), reader.kernel, list(reader.stride), pads).numpy()
        x, y = (value.reshape(*value.shape[:2], -1).transpose(0, 2, 1) for value in (x, y))
    return x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])


def with_ones(x: Array) -> npt.NDArray[np.float64]:
    return np.concatenate([x.astype(np.float64), np.ones((len(x), 1))], axis=1)


def least(x: Array, y: Array, bias: bool = True) -> float:
    """The smallest mean squared error of a linear map."""
    z = with_ones(x) if bias else x.astype(np.float64)
    return float(np.square(z @ np.linalg.lstsq(z, y, rcond=None)[0] - y).mean())


@pytest.mark.parametrize("make", [kinds, branches])
def test_every_layer_is_the_best_for_what_the_layers_before_it_deliver(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the finished network a layer comes as near to the float layer's answers as least squares do; where
    an activation follows, nearer to what that makes of them."""
    monkeypatch.setattr(moments, "RIDGES", (1e-9,))
    program = make()
    found = nets.traced(program)
    layers = ["a", "b", "c"] if make is kinds else ["stem", "left", "right1", "right2"]
    rectified = ("b", "d", "stem", "left", "right1", "right2", "mixed")
    followed = dict.fromkeys(rectified, paddle.nn.functional.relu)
    followed["a"] = paddle.nn.functional.hardswish
    gone = set().union(*(atoms(found, layer, [1, 2]) for layer in layers))
    made = recovered(program, found, gone, ["refit"])
    checked = better = 0
    for reader in readers.readers(made):
        if reader.kind == "transposed":
            continue
        original = next(r for r in readers.readers(program) if r.weight == reader.weight)
        _, wanted = rows_of(program, original, CALIBRATION)
        piece = found.of(reader.weight, "out")
        assert piece is not None
        wanted = wanted[:, [int(a) not in gone for a in piece.atoms]]
        x, got = rows_of(made, reader, CALIBRATION)
        z = with_ones(x) if reader.bias is not None else x.astype(np.float64)
        linear = z @ np.linalg.lstsq(z, wanted, rcond=None)[0]
        name = reader.weight.removesuffix(".w_0")
        final, reached, best = (
            followed[name](paddle.to_tensor(value.astype(np.float32))).numpy() if name in followed else value
            for value in (wanted, got, linear)
        )
        error, least_error = (float(np.square(value - final).mean()) for value in (reached, best))
        assert error <= least_error * 1.001 + 1e-9 * final.var(), name
        checked += error > 1e-4 * final.var()
        better += name in followed and error < 0.95 * least_error
    assert checked >= 2 and better >= 1


@pytest.mark.parametrize(
    ("kind", "attrs", "function"),
    [
        ("relu", {}, paddle.nn.functional.relu),
        ("relu6", {}, paddle.nn.functional.relu6),
        ("leaky_relu", {"alpha": 0.1}, lambda x: paddle.nn.functional.leaky_relu(x, 0.1)),
        ("hard_swish", {}, paddle.nn.functional.hardswish),
        ("hard_sigmoid", {"slope": 0.25, "offset": 0.5}, lambda x: paddle.nn.functional.hardsigmoid(x, 0.25)),
        ("tanh", {}, None),
        ("relu", {"read twice": 1}, None),
    ],
)
def test_the_activation_after_a_layer(kind: str, attrs: dict[str, float], function: Any) -> None:
    net = Net(3, 8, 8)
    answer = net.conv("a", "x", 3, 4)
    wanted = {name: value for name, value in attrs.items() if name != "read twice"}
    outputs = [net.op(kind, {"X": answer}, wanted)]
    if "read twice" in attrs:
        outputs.append(net.op("tanh", {"X": answer}))
    program = net.done(*outputs)
    (layer,) = readers.readers(program)
    found = activations.after(program, layer)
    assert (found is None) == (function is None)
    if found is not None:
        x = np.linspace(-8, 8, 401, dtype=np.float32)
        np.testing.assert_allclose(found(x), function(paddle.to_tensor(x)).numpy(), atol=1e-6)


def test_without_a_bias_the_weights_do_what_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias that is fitted with them and dropped would leave worse weights."""
    monkeypatch.setattr(moments, "RIDGES", (1e-9,))
    net = Net(3, 8, 8)
    program = net.done(net.conv("b", net.relu(net.conv("a", "x", 3, 6, 3)), 6, 4, bias=False))
    program.params["a.b_0"] += 2
    found = nets.traced(program)
    made = recovered(program, found, atoms(found, "a", [1, 4]), ["refit"])
    wanted = rows_of(program, readers.readers(program)[1], CALIBRATION)[1]
    x, got = rows_of(made, readers.readers(made)[1], CALIBRATION)
    reached = float(np.square(got - wanted).mean())
    assert reached <= 1.001 * least(x, wanted, bias=False)
    assert reached > 1.03 * least(x, wanted)


def test_statistics_are_the_float_layers() -> None:
    """Mean and variance of every channel of every layer, as Paddle computes them in the finished network."""
    program = branches()
    found = nets.traced(program)
    gone = atoms(found, "stem", [0, 5]) | atoms(found, "right1", [2]) | atoms(found, "left", [1, 3])
    made, plain = (recovered(program, found, gone, m) for m in (["statistics"], []))
    far = 0.0
    for layer in ("stem", "left", "right1", "right2", "mixed", "again", "head"):
        piece = found.of(f"{layer}.w_0", "out")
        assert piece is not None
        keep = [int(a) not in gone for a in piece.atoms]
        want, have, before = (values(p, CALIBRATION, layer)[layer] for p in (program, made, plain))
        want = want[:, keep]
        for power in (np.mean, np.var):
            levels = [power(value, axis=(0, 2, 3)) for value in (want, have, before)]
            np.testing.assert_allclose(levels[1], levels[0], rtol=2e-3, atol=1e-4)
            far = max(far, float(np.abs(levels[2] - levels[0]).max()))
    assert far > 0.1
    assert error(made, program, CALIBRATION) < error(plain, program, CALIBRATION)


def test_a_layer_without_a_bias_gets_the_spread_alone() -> None:
    program = kinds()
    found = nets.traced(program)
    gone = atoms(found, "d", [2, 5])
    made = recovered(program, found, gone, ["statistics"])
    assert "e.b_0" not in made.params
    want, have = (values(p, CALIBRATION)["e.raw"] for p in (program, made))
    np.testing.assert_allclose(have.var(0), want.var(0), rtol=2e-3)
    ratio = made.params["e.w_0"] / np.delete(program.params["e.w_0"], [2, 5], axis=0)
    np.testing.assert_allclose(ratio, ratio[:1].repeat(6, axis=0), rtol=1e-4)


def test_a_channel_that_no_longer_changes_keeps_its_weights() -> None:
    """All that changed in what channel 3 reads went: no gain brings its variance back, but its mean comes."""
    program = branches()
    weight, value = program.params["mixed.w_0"], values(program, CALIBRATION, "right2")["right2"]
    weight[3] = 0
    weight[3, 6] = 1 / np.maximum(value[:, 0], 0).std()
    weight[3, 8], program.params["right2.b_0"][2] = 2, -50  # silent behind its ReLU
    found = nets.traced(program)
    made = recovered(program, found, atoms(found, "right2", [0]), ["statistics"])
    assert all(np.isfinite(value).all() for value in made.params.values())
    assert made.params["mixed.w_0"][3].reshape(-1).tolist() == [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]
    mean = values(program, CALIBRATION, "mixed")["mixed"][:, 3].mean()
    assert made.params["mixed.b_0"][3] == pytest.approx(mean, rel=1e-3)
    assert abs(mean - program.params["mixed.b_0"][3]) > 0.1


@pytest.mark.parametrize("method", ["refit", "statistics"])
def test_an_unpruned_network_stays_as_it_is(method: str) -> None:
    program = branches()
    made = recovered(program, nets.traced(program), set(), [method])
    for name, value in program.params.items():
        np.testing.assert_allclose(made.params[name], value, rtol=1e-3, atol=1e-4)


def test_one_picture_at_a_time() -> None:
    """A program for one picture gives the same weights."""
    made = []
    for batch in (-1, 1):
        program = kinds()
        program.var("x").type.lod_tensor.tensor.dims[0] = batch
        found = nets.traced(program)
        gone = atoms(found, "a", [1, 4]) | atoms(found, "c", [3])
        made.append(recovered(program, found, gone, ["refit"]))
    for name, value in made[0].params.items():
        np.testing.assert_allclose(made[1].params[name], value, rtol=1e-2, atol=1e-3)


def test_in_two_rounds() -> None:
    """Each round's layers answer as the float network's, whatever the round before left of their channels."""
    program = kinds()
    silent = Progress(io.StringIO(), terminal=False)
    made, kept = program, {}
    for channels in ({"a": [1, 4], "c": [2]}, {"a": [0, 7], "b": [3], "c": [1, 6]}):
        found = nets.traced(made)
        gone = set().union(*(atoms(found, layer, numbers) for layer, numbers in channels.items()))
        made, kept = remove(made, found, gone), kept_outputs(kept, found, gone)
        ((_, made),) = prune.recover(program, made, kept, ["refit"], list(CALIBRATION), silent)
    assert {name: left.tolist() for name, left in kept.items()} == {
        "a.w_0": [2, 3, 5, 6, 7, 8], "b.w_0": [0, 1, 2, *range(4, 12)], "c.w_0": [0, 3, 4, 5, 6],
    }  # fmt: skip
    for name in ("a", "b"):
        before, after = (
            next(r for r in readers.readers(p) if r.weight == f"{name}.w_0") for p in (program, made)
        )
        wanted, got = rows_of(program, before, CALIBRATION)[1], rows_of(made, after, CALIBRATION)[1]
        wanted = wanted[:, kept.get(f"{name}.w_0", slice(None))]
        alike = [np.corrcoef(w, g)[0, 1] for w, g in zip(wanted.T, got.T, strict=True)]
        assert min(alike) > 0.5, name  # channels in the wrong order: 0.12 and less


def test_layers_that_are_not_asked_for_stay() -> None:
    program, counted = branches(), []
    found = nets.traced(program)
    pruned = remove(program, found, atoms(found, "stem", [0]))
    before = {name: value.copy() for name, value in pruned.params.items()}
    layers = [r for r in readers.readers(program) if r.weight in ("left.w_0", "mixed.w_0")]
    wanted = moments.layer_answers(program, layers, list(CALIBRATION), nothing)
    made = refit.refit(pruned, wanted, list(CALIBRATION), "refit", lambda: counted.append(1))
    assert len(counted) == 2
    changed = {name for name, value in made.params.items() if not np.array_equal(value, before[name])}
    assert changed == {"left.w_0", "left.b_0", "mixed.w_0", "mixed.b_0"}
    assert all(np.array_equal(pruned.params[name], value) for name, value in before.items())
    assert all(made.params[name].shape == value.shape for name, value in before.items())
    assert all(value.dtype == np.float32 for value in made.params.values())


# Masked: the float network with the readers of some channels refitted


def masked(program: Program, gone: set[int], measured: bool = True) -> Program:
    found = nets.traced(program)
    layers = {r.weight: r for r in readers.readers(program)}
    known = moments.collect(program, list(layers.values()), list(CALIBRATION), nothing) if measured else {}
    return refit.mask_out(program, found, layers, known, gone)


@pytest.mark.parametrize("layer", ["a", "b", "c", "d"])
def test_a_masked_double_costs_nothing(layer: str) -> None:
    program = kinds()
    axis = {"c": 1}.get(layer, 0)
    weight, bias = program.params[f"{layer}.w_0"], program.params[f"{layer}.b_0"]
    np.moveaxis(weight, axis, 0)[5] = np.moveaxis(weight, axis, 0)[2]
    bias[5] = bias[2] = 0.3
    gone = atoms(nets.traced(program), layer, [5])
    before = {name: value.copy() for name, value in program.params.items()}
    made = masked(program, gone)
    assert error(made, program, CALIBRATION) < 1e-5
    assert all(np.array_equal(program.params[name], value) for name, value in before.items())
    assert {name: value.shape for name, value in made.params.items()} == {
        name: value.shape for name, value in before.items()
    }
    assert error(masked(program, gone, measured=False), program, CALIBRATION) > 1e-3


def test_nobody_looks_at_a_masked_channel() -> None:
    """The answers do not change when it is put out for good, whoever reads it, measured or not."""
    for measured in (True, False):
        program = branches()
        gone = atoms(nets.traced(program), "stem", [1, 6])
        made = masked(program, gone, measured)
        wild = made.copy()
        for name in ("stem.w_0", "stem.b_0"):
            wild.params[name] = wild.params[name].copy()
            wild.params[name][[1, 6]] = 50
        assert error(wild, made, CALIBRATION) < 1e-9
        assert all(np.array_equal(made.params[n], program.params[n]) for n in ("mixed.w_0", "head.w_0"))


def test_masked_readers_are_the_best_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "RIDGES", (1e-9,))
    program = branches()
    made = masked(program, atoms(nets.traced(program), "stem", [1, 6]))
    for reader in readers.readers(program):
        if reader.weight in ("left.w_0", "right1.w_0"):
            x, wanted = rows_of(program, reader, CALIBRATION)
            _, got = rows_of(made, reader, CALIBRATION)
            taps = x.shape[1] // 8
            left = np.delete(x.reshape(len(x), 8, taps), [1, 6], axis=1).reshape(len(x), -1)
            reached = float(np.square(got - wanted).mean())
            assert least(left, wanted) * 0.999 <= reached <= least(left, wanted) * 1.001
            assert reached > 1e-4 * wanted.var()


@pytest.mark.parametrize("reader", readers.readers(kinds()), ids=lambda reader: reader.weight)
def test_weights_with_their_bias_and_back(reader: Reader) -> None:
    program = kinds()
    before = {name: value.copy() for name, value in program.params.items()}
    weights = refit.with_bias(program, reader)
    assert weights.shape[1] == reader.matrix(program.params[reader.weight]).shape[1] + 1
    refit.set_weights(program, reader, 2 * weights)
    for name, value in program.params.items():
        own = name in (reader.weight, reader.bias)
        assert value.dtype == np.float32
        assert np.array_equal(value, (2 if own else 1) * before[name])
