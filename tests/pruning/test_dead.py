"""Dead channels go, living ones stay, and the answers are what they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgekit.program import edit
from edgekit.program.graph import AttrValue, Program, make_op
from edgekit.pruning import dead
from edgekit.pruning.remove import remove
from tests.pruning import nets
from tests.pruning.small import Net, pictures, values

ONE = 0.7  # what a zero filter of these tests answers; a ReLU makes 0 of the opposite


def kill(net: Net, layer: str, channels: Sequence[int], constant: float = ONE, axis: int = 0) -> None:
    """Filters to zero, so that their channels are their bias everywhere."""
    weight = net.program.params[f"{layer}.w_0"]
    np.moveaxis(weight, axis, 0)[list(channels)] = 0
    if f"{layer}.b_0" in net.program.params:
        net.program.params[f"{layer}.b_0"][list(channels)] = constant


def without_dead(program: Program) -> tuple[Program, int]:
    made, steps = dead.without_dead(program)
    return made, sum(len(atoms) for _, atoms in steps)


def cleaned(program: Program, count: int) -> Program:
    """Without the dead channels, of which there are `count`; the answers to noise are the same."""
    made, gone = without_dead(program)
    assert gone == count
    x = pictures(3, *program.shape(program.feeds[0])[1:])
    got, wanted = values(made, x), values(program, x)
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        change = np.abs(value - value[:1]).max()
        assert change > 1e-3 * np.abs(value).max()  # the picture matters
        assert np.abs(got[name] - value).max() < 1e-5 * max(1.0, change)
    return made


def shapes(program: Program, *layers: str) -> list[tuple[int, ...]]:
    return [program.params[f"{layer}.w_0"].shape for layer in layers]


def test_a_constant_goes_into_the_bias_of_the_next_layer() -> None:
    net = Net(3, 6, 6)
    program = net.done(net.conv("b", net.relu(net.conv("a", "x", 3, 6, 3)), 6, 4))
    kill(net, "a", [1, 4], ONE)
    kill(net, "a", [3], -ONE)
    made = cleaned(program, 3)
    assert shapes(made, "a", "b") == [(3, 3, 3, 3), (4, 3, 1, 1)]
    for layer in "ab":
        kept = [program.params[f"{layer}.w_0"], made.params[f"{layer}.w_0"]]
        assert np.array_equal(np.delete(kept[0], [1, 3, 4], axis="ab".index(layer)), kept[1])
    moved = program.params["b.b_0"] + ONE * program.params["b.w_0"][:, [1, 4], 0, 0].sum(1)
    np.testing.assert_allclose(made.params["b.b_0"], moved, rtol=1e-6)


def test_the_program_that_is_given_stays_as_it_is() -> None:
    net = Net(3, 6, 6)
    program = net.done(net.conv("b", net.relu(net.conv("a", "x", 3, 6)), 6, 4))
    kill(net, "a", [1])
    before = {name: value.copy() for name, value in program.params.items()}
    desc = program.desc.SerializeToString()
    cleaned(program, 1)
    assert program.desc.SerializeToString() == desc and list(program.params) == list(before)
    assert all(np.array_equal(program.params[name], value) for name, value in before.items())


def test_nothing_is_dead() -> None:
    net = Net(3, 6, 6)
    program = net.done(net.conv("b", net.relu(net.conv("a", "x", 3, 6)), 6, 4))
    made = cleaned(program, 0)
    assert all(np.array_equal(made.params[name], value) for name, value in program.params.items())


def test_filters_that_are_noise_are_zero() -> None:
    """Training with weight decay drives them to 1e-38 of their layer."""
    net = Net(3, 6, 6)
    program = net.done(net.conv("b", net.relu(net.conv("a", "x", 3, 6)), 6, 4))
    for channel, size in ((0, 1e-38), (2, 1e-9), (5, 1e-6)):
        program.params["a.w_0"][channel] *= size
    made, count = dead.silenced(program)
    assert count == 2
    assert [bool((row == 0).all()) for row in made.params["a.w_0"]] == [k in (0, 2) for k in range(6)]
    assert np.array_equal(made.params["b.w_0"], program.params["b.w_0"])
    assert program.params["a.w_0"][2].any()  # the program that is given stays as it is
    assert shapes(cleaned(program, 2), "a") == [(4, 3, 1, 1)]


@pytest.mark.parametrize(("pad", "constant", "count"), [(0, ONE, 1), (1, ONE, 0), (1, -ONE, 1), (0, -ONE, 1)])
def test_a_3x3_layer_reads_the_constant(pad: int, constant: float, count: int) -> None:
    """At the border of a padded one it meets zeros: only a channel that is zero itself can go."""
    net = Net(3, 6, 6)
    program = net.done(net.conv("b", net.relu(net.conv("a", "x", 3, 4)), 4, 4, 3, pad=pad))
    kill(net, "a", [2], constant)
    assert shapes(cleaned(program, count), "b") == [(4, 4 - count, 3, 3)]


def test_without_a_bias_only_a_zero_can_go() -> None:
    net = Net(3, 6, 6)
    program = net.done(net.conv("b", net.relu(net.conv("a", "x", 3, 4)), 4, 4, bias=False))
    kill(net, "a", [0], ONE)
    kill(net, "a", [2], -ONE)
    made = cleaned(program, 1)
    assert np.array_equal(made.params["b.w_0"], program.params["b.w_0"][:, [0, 1, 3]])


SAME: dict[str, AttrValue] = {"padding_algorithm": "SAME"}


@pytest.mark.parametrize(
    ("padding", "constant", "count"),
    [
        ({"pad": 1}, ONE, 0),
        ({"pad": 1}, -ONE, 1),
        ({"pad": 0}, ONE, 1),
        (SAME, ONE, 0),
        (SAME, -ONE, 1),
        ({"padding_algorithm": "VALID"}, ONE, 1),
    ],
)
def test_through_a_depthwise_layer(padding: dict[str, Any], constant: float, count: int) -> None:
    net = Net(3, 8, 8)
    a = net.relu(net.conv("a", "x", 3, 4))
    b = net.relu(net.conv("b", a, 4, 4, 3, groups=4, **padding))
    program = net.done(net.conv("c", b, 4, 3))
    program.params["b.b_0"][:] = [0.5, 1.5, 1.0, 2.0]  # no ReLU behind silences a channel altogether
    kill(net, "a", [2], constant)
    made = cleaned(program, count)
    assert shapes(made, "a", "b", "c") == [
        (4 - count, 3, 1, 1),
        (4 - count, 1, 3, 3),
        (3, 4 - count, 1, 1),
    ]


def test_a_depthwise_filter_of_zeros() -> None:
    """What it reads is alive, but nobody else reads that."""
    net = Net(3, 8, 8)
    a = net.relu(net.conv("a", "x", 3, 4))
    b = net.relu(net.conv("b", a, 4, 4, 3, pad=1, groups=4))
    program = net.done(net.conv("c", b, 4, 3))
    kill(net, "b", [3])
    assert shapes(cleaned(program, 1), "a", "b", "c") == [(3, 3, 1, 1), (3, 1, 3, 3), (3, 3, 1, 1)]


def test_a_multiplier_of_channels() -> None:
    """Channel 1 makes channels 2 and 3; both must be dead."""
    for killed, count in (([2], 0), ([2, 3], 1)):
        net = Net(3, 8, 8)
        a = net.relu(net.conv("a", "x", 3, 3))
        b = net.op(
            "depthwise_conv2d",
            {"Input": a, "Filter": net.param("b.w_0", 6, 1, 1, 1)},
            {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 3},
            slot="Output",
        )
        program = net.done(net.conv("c", net.add(b, net.param("b.b_0", 6), 1), 6, 3))
        kill(net, "b", killed)
        assert shapes(cleaned(program, count), "a", "b") == [(3 - count, 3, 1, 1), (6 - 2 * count, 1, 1, 1)]


def test_a_residual_is_dead_when_both_sides_are() -> None:
    net = Net(3, 6, 6)
    a = net.relu(net.conv("a", "x", 3, 5))
    b = net.conv("b", a, 5, 5, 3, pad=1)
    program = net.done(net.conv("c", net.add(a, b), 5, 3))
    kill(net, "a", [0, 2], -ONE)
    kill(net, "b", [1, 2])
    made = cleaned(program, 1)
    assert shapes(made, "a", "b", "c") == [(4, 3, 1, 1), (4, 4, 3, 3), (3, 4, 1, 1)]
    moved = program.params["c.b_0"] + ONE * program.params["c.w_0"][:, 2, 0, 0]
    np.testing.assert_allclose(made.params["c.b_0"], moved, rtol=1e-6)


def test_concat_and_split_carry_dead_channels_along() -> None:
    net = Net(3, 6, 6)
    a, b = net.relu(net.conv("a", "x", 3, 3)), net.relu(net.conv("b", "x", 3, 5))
    both = net.op("concat", {"X": [a, b]}, {"axis": 1})
    left, right = "left", "right"
    net.program.add_var(left, [])
    net.program.add_var(right, [])
    sections = {"axis": 1, "sections": [4, 4], "num": 0}
    net.ops.append(make_op("split", {"X": [both]}, {"Out": [left, right]}, sections))  # type: ignore[arg-type]
    program = net.done(net.conv("c", left, 4, 2), net.conv("d", right, 4, 2))
    kill(net, "a", [1], ONE)  # read by c alone
    kill(net, "b", [0, 3], 2 * ONE)  # by c, by d
    made = cleaned(program, 3)
    assert shapes(made, "a", "b", "c", "d") == [(2, 3, 1, 1), (3, 3, 1, 1), (2, 2, 1, 1), (2, 3, 1, 1)]


@pytest.mark.parametrize("constant", [ONE, -ONE])
def test_times_zero_is_zero_whatever_the_gate(constant: float) -> None:
    """Squeeze and excitation: a zero goes with its gate; a constant that is gated is none any more."""
    net = Net(3, 6, 6)
    a = net.relu(net.conv("a", "x", 3, 4))
    gate = net.op("sigmoid", {"X": net.conv("gate", net.op("pool2d", {"X": "x"}, GLOBAL), 3, 4)})
    program = net.done(net.conv("b", net.add(a, gate, kind="mul"), 4, 3))
    kill(net, "a", [1], constant)
    count = int(constant < 0)
    assert shapes(cleaned(program, count), "a", "gate", "b") == [
        (4 - count, 3, 1, 1),
        (4 - count, 3, 1, 1),
        (3, 4 - count, 1, 1),
    ]


GLOBAL: dict[str, AttrValue] = {"pooling_type": "avg", "ksize": [1, 1], "adaptive": True}


def test_channels_that_nobody_looks_at() -> None:
    """Alive, but the only layer that reads them has zeros for them; a second reader keeps them."""
    net = Net(3, 6, 6)
    a = net.relu(net.conv("a", "x", 3, 4))
    program = net.done(net.conv("b", a, 4, 3, 3, pad=1), net.conv("c", a, 4, 3))
    program.params["b.w_0"][:, [0, 2]] = 0
    program.params["c.w_0"][:, [1, 2]] = 0
    made = cleaned(program, 1)
    assert np.array_equal(made.params["a.w_0"], program.params["a.w_0"][[0, 1, 3]])
    assert np.array_equal(made.params["b.b_0"], program.params["b.b_0"])


def test_a_layer_keeps_one_channel() -> None:
    """All that two layers make is dead, and one of them is all that another reads."""
    net = Net(3, 6, 6)
    a, side = net.relu(net.conv("a", "x", 3, 4)), net.relu(net.conv("side", "x", 3, 4))
    b = net.conv("b", a, 4, 4)
    program = net.done(net.conv("c", net.add(b, side), 4, 2))
    kill(net, "a", range(4))
    made = cleaned(program, 3)
    assert shapes(made, "a", "b") == [(1, 3, 1, 1), (4, 1, 1, 1)]


def test_what_reads_only_the_dead_is_dead() -> None:
    """And goes too, with what reads that, through a layer of another kind."""
    net = Net(3, 6, 6)
    a = net.relu(net.conv("a", "x", 3, 4))
    b = net.relu(net.conv("b", a, 4, 4))
    program = net.done(net.linear("c", net.pooled(b, 4), 4, 3))
    program.params["b.b_0"][:] = 1
    kill(net, "a", [0, 1])
    program.params["b.w_0"][2, [2, 3]] = 0
    program.params["b.b_0"][2] = 3
    made = cleaned(program, 3)
    assert shapes(made, "a", "b", "c") == [(2, 3, 1, 1), (3, 2, 1, 1), (3, 3)]


def test_outputs_of_the_network_stay() -> None:
    net = Net(3, 6, 6)
    a = net.relu(net.conv("a", "x", 3, 4))
    program = net.done(a, net.conv("b", a, 4, 3))
    kill(net, "a", [1])
    assert shapes(cleaned(program, 0), "a") == [(4, 3, 1, 1)]


@pytest.mark.parametrize(
    ("kind", "paddings", "exclusive", "constant", "count"),
    [
        ("avg", [1, 1], False, ONE, 0),
        ("avg", [1, 1], False, -ONE, 1),
        ("avg", [1, 1], True, ONE, 1),
        ("avg", [0, 0], False, ONE, 1),
        ("max", [1, 1], True, ONE, 1),
        ("max", [0, 0], False, ONE, 1),
    ],
)
def test_pooling_keeps_a_constant_unless_it_averages_over_its_padding(
    kind: str, paddings: list[int], exclusive: bool, constant: float, count: int
) -> None:
    net = Net(3, 6, 6)
    attrs: dict[str, AttrValue] = {
        "pooling_type": kind, "ksize": [3, 3], "strides": [1, 1], "paddings": paddings,
        "exclusive": exclusive,
    }  # fmt: skip
    pool = net.op("pool2d", {"X": net.relu(net.conv("a", "x", 3, 4))}, attrs)
    program = net.done(net.conv("b", pool, 4, 3))
    kill(net, "a", [1], constant)
    cleaned(program, count)


def test_an_average_over_padding_that_is_called_same() -> None:
    net = Net(3, 6, 6)
    attrs: dict[str, AttrValue] = {
        "pooling_type": "avg", "ksize": [3, 3], "strides": [1, 1], "paddings": [0, 0], "exclusive": False,
        **SAME,
    }  # fmt: skip
    pool = net.op("pool2d", {"X": net.relu(net.conv("a", "x", 3, 4))}, attrs)
    program = net.done(net.conv("b", pool, 4, 3))
    kill(net, "a", [1])
    cleaned(program, 0)


@pytest.mark.parametrize("kind", ["nearest_interp_v2", "bilinear_interp_v2"])
def test_a_larger_picture_of_a_constant_is_constant(kind: str) -> None:
    net = Net(3, 4, 4)
    attrs: dict[str, AttrValue] = {
        "interp_method": kind.split("_")[0], "scale": [2.0, 2.0], "out_h": -1, "out_w": -1,
        "align_corners": False, "align_mode": 0, "data_layout": "NCHW",
    }  # fmt: skip
    up = net.op(kind, {"X": net.relu(net.conv("a", "x", 3, 4))}, attrs)
    program = net.done(net.conv("b", up, 4, 3))
    kill(net, "a", [1])
    cleaned(program, 1)


@pytest.mark.parametrize("kind", ["hard_swish", "sigmoid", "tanh", "square", "leaky_relu", "hard_sigmoid"])
def test_activations(kind: str) -> None:
    net = Net(3, 4, 4)
    program = net.done(net.conv("b", net.op(kind, {"X": net.conv("a", "x", 3, 4)}), 4, 3))
    kill(net, "a", [1, 2], -2.0)
    cleaned(program, 2)


@pytest.mark.parametrize(("constant", "count"), [(ONE, 0), (-ONE, 1)])
def test_a_transposed_layer_reads_it(constant: float, count: int) -> None:
    net = Net(3, 4, 4)
    a = net.relu(net.conv("a", "x", 3, 4))
    program = net.done(net.transposed("up", a, 4, 3, 3, bias=True))
    kill(net, "a", [1], constant)
    assert shapes(cleaned(program, count), "up") == [(4 - count, 3, 3, 3)]


def test_a_transposed_layer_makes_it() -> None:
    net = Net(3, 4, 4)
    up = net.relu(net.transposed("up", net.relu(net.conv("a", "x", 3, 4)), 4, 5, bias=True))
    program = net.done(net.conv("b", up, 5, 2))
    kill(net, "up", [2, 3], ONE, axis=1)
    assert shapes(cleaned(program, 2), "a", "up", "b") == [(4, 3, 1, 1), (4, 3, 2, 2), (2, 3, 1, 1)]


def test_a_flattened_channel_is_many_columns() -> None:
    net = Net(3, 4, 4)
    a = net.relu(net.conv("a", "x", 3, 4))
    flat = net.op("flatten_contiguous_range", {"X": a}, {"start_axis": 1, "stop_axis": 3})
    program = net.done(net.linear("fc", flat, 64, 5))
    kill(net, "a", [1])
    made = cleaned(program, 1)
    assert shapes(made, "fc") == [(48, 5)]
    moved = program.params["fc.b_0"] + ONE * program.params["fc.w_0"][16:32].sum(0)
    np.testing.assert_allclose(made.params["fc.b_0"], moved, rtol=1e-5)
    program.params["fc.w_0"][32:47] = 0  # all but one of the places of channel 2
    cleaned(program, 1)
    program.params["fc.w_0"][47] = 0
    assert shapes(cleaned(program, 2), "fc") == [(32, 5)]


@pytest.mark.parametrize("turned", [False, True])
def test_a_linear_layer_makes_it(turned: bool) -> None:
    net = Net(6)
    a = net.relu(net.linear("a", "x", 6, 5, turned=turned))
    program = net.done(net.linear("b", a, 5, 2, turned=turned))
    kill(net, "a", [1, 3], ONE, axis=0 if turned else 1)
    assert program.params["b.w_0"].shape == ((2, 5) if turned else (5, 2))
    assert shapes(cleaned(program, 2), "b") == [(2, 3) if turned else (3, 2)]


def test_a_weight_that_two_layers_share() -> None:
    """One of them reads a constant, the other does not: the channel stays, with its neighbour's."""
    net = Net(3, 6, 6)
    a, b = net.relu(net.conv("a", "x", 3, 4)), net.relu(net.conv("b", "x", 3, 4))
    one = net.conv("c", a, 4, 3, bias=False)
    attrs: dict[str, AttrValue] = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1}
    two = net.op("conv2d", {"Input": b, "Filter": "c.w_0"}, attrs, slot="Output")
    program = net.done(one, two)
    kill(net, "a", [0, 1], -ONE)
    kill(net, "b", [1, 2], -ONE)
    assert shapes(cleaned(program, 1), "a", "b", "c") == [(3, 3, 1, 1), (3, 3, 1, 1), (3, 3, 1, 1)]


def test_what_is_added_to_a_constant_place_by_place() -> None:
    """Four channels and four lines: the parameter differs from line to line, so the sum is no constant."""
    for axis, count in ((1, 1), (2, 0)):
        net = Net(3, 4, 4)
        a = net.relu(net.conv("a", "x", 3, 4))
        program = net.done(net.conv("b", net.add(a, net.param("grid", 4), axis), 4, 3))
        kill(net, "a", [1])
        cleaned(program, count)


def test_a_product_over_places_instead_of_channels() -> None:
    """Four channels of four values each; the weight looks at the first value of every channel."""
    net = Net(3, 2, 2)
    a = net.relu(net.conv("a", "x", 3, 4))
    flat = net.op("reshape2", {"X": a}, {"shape": [-1, 4, 4]})
    b = net.linear("b", flat, 4, 3, bias=False)
    c = net.relu(net.linear("c", b, 3, 4))
    program = net.done(net.linear("d", c, 4, 2))
    kill(net, "a", [0])
    program.params["b.w_0"][1:, 1] = 0
    program.params["c.w_0"][[0, 2], 3] = 0
    assert shapes(cleaned(program, 0), "c") == [(3, 4)]


def test_a_grouped_layer_among_the_living() -> None:
    net = Net(3, 6, 6)
    b = net.relu(net.conv("b", net.relu(net.conv("a", "x", 3, 4)), 4, 6, 3, groups=2))
    program = net.done(net.conv("c", b, 6, 2))
    cleaned(program, 0)
    kill(net, "a", [1])  # it would have to go with channel 3, which is alive
    cleaned(program, 0)
    kill(net, "b", [0, 3])
    assert shapes(cleaned(program, 1), "a", "b", "c") == [(4, 3, 1, 1), (4, 2, 3, 3), (2, 4, 1, 1)]


# Real structures, folded as they are pruned


NETS = (
    "Residuals", "Squeezed", "Shuffled", "Neck", "Grouped", "Transposed", "Consumers", "Attention",
    "Twice",
)  # fmt: skip


def test_an_uneven_shuffle_can_still_be_pruned() -> None:
    """One dead channel of a half; all that hangs on the shuffle is as free as before, and goes as well."""
    program = edit.fold_batch_norm(nets.exported("Shuffled"))
    program.params = {name: value.copy() for name, value in program.params.items()}
    before = sum(len(group.atoms) for group in nets.groups(program).values())
    program.params["conv2d_9.w_0"][3] = 0
    made, gone = without_dead(program)
    assert gone == 1
    assert sum(len(group.atoms) for group in nets.groups(made).values()) >= before - 1
    found = nets.traced(made)
    more = nets.choose(found, 1)
    x = nets.pictures(2)
    wanted = nets.answers(nets.silence(made, found, more), x)
    assert nets.difference(nets.answers(remove(made, found, more), x), wanted) < 1e-4


@pytest.mark.parametrize("name", NETS)
def test_answers_of_whole_nets_stay(name: str) -> None:
    """A third of all filters is zero, with biases of both signs."""
    program = edit.fold_batch_norm(nets.exported(name))
    rng = np.random.default_rng(1)
    killed = 0
    for op in program.ops:
        weight = next((n for slot in op.inputs if slot.parameter == "Filter" for n in slot.arguments), None)
        if weight is None:
            continue
        value = program.params[weight].copy()
        chosen = rng.random(len(value)) < 0.3
        value[chosen] = 0
        program.params[weight] = value
        killed += int(chosen.sum())
    made, gone = without_dead(program)
    x = nets.pictures(3)
    assert nets.difference(nets.answers(made, x), nets.answers(program, x)) < 1e-4
    assert killed > 0
    assert gone > 0 or name == "Twice"
    sizes = [sum(value.size for value in of.params.values()) for of in (program, made)]
    assert (sizes[1] < sizes[0]) == (gone > 0)
    assert without_dead(made)[1] == 0
