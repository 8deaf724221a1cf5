"""Layers as linear maps: what `rows` says a layer reads, times its weights, is what Paddle answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from edgekit.calibration.readers import Doubles, Reader, answers, readers, rows
from edgekit.program import cost
from edgekit.program.graph import AttrValue, Program, set_attr
from edgekit.pruning.remove import remove
from edgekit.pruning.trace import trace
from tests.pruning.small import Array, Net, pictures, values

ALL = 10**6


def only(program: Program) -> Reader:
    found = readers(program)
    assert len(found) == 1
    return found[0]


def columns(program: Program, reader: Reader) -> int:
    return reader.matrix(program.params[reader.weight]).shape[1]


@dataclass(frozen=True)
class Seen:
    """A layer of a program, and what Paddle makes of its input."""

    program: Program
    reader: Reader
    x: Array
    y: Array
    matrix: Doubles

    def rows(self, most: int = ALL, first: int = 0) -> Array:
        return rows(self.reader, self.x, self.matrix.shape[1], most, first)

    def answers(self, most: int = ALL, first: int = 0) -> Array:
        return answers(self.reader, self.y, most, first)


def look(program: Program, count: int = 3) -> Seen:
    reader = only(program)
    x = pictures(count, *program.shape("x")[1:])
    got = {"x": x, **values(program, x, *({reader.input, reader.output} - {"x"}))}
    matrix = reader.matrix(program.params[reader.weight])
    return Seen(program, reader, got[reader.input], got[reader.output], matrix)


def convolution(kernel: tuple[int, int], **attrs: AttrValue) -> Program:
    net = Net(3, 9, 8)
    given: dict[str, AttrValue] = {
        "strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1,
        "padding_algorithm": "EXPLICIT", "data_format": "NCHW", **attrs,
    }  # fmt: skip
    ins: dict[str, str | list[str]] = {"Input": "x", "Filter": net.param("w", 5, 3, *kernel)}
    return net.done(net.op("conv2d", ins, given, "y", "Output"))


CONVOLUTIONS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "1 x 1": ((1, 1), {}),
    "1 x 1, stride": ((1, 1), {"strides": [2, 3]}),
    "3 x 3": ((3, 3), {}),
    "padded": ((3, 3), {"paddings": [1, 1]}),
    "padded unevenly": ((3, 3), {"paddings": [2, 1]}),
    "four paddings": ((3, 3), {"paddings": [1, 0, 2, 3], "strides": [2, 1]}),
    "oblong": ((2, 3), {"paddings": [0, 2], "strides": [1, 2]}),
    "dilated": ((3, 2), {"dilations": [2, 3], "paddings": [1, 2]}),
    "everything": ((3, 2), {"dilations": [2, 1], "paddings": [3, 0, 1, 2], "strides": [3, 2]}),
    "valid": ((3, 3), {"padding_algorithm": "VALID", "paddings": [1, 1]}),
}


def matmul(shape: tuple[int, ...], turned: bool) -> Program:
    net = Net(*shape)
    return net.done(net.linear("fc", "x", shape[-1], 5, turned=turned, bias=False))


def mul(shape: tuple[int, ...], first: int) -> Program:
    net = Net(*shape)
    k = int(np.prod(shape[first - 1 :]))
    attrs: dict[str, AttrValue] = {"x_num_col_dims": first, "y_num_col_dims": 1}
    return net.done(net.op("mul", {"X": "x", "Y": net.param("w", k, 5)}, attrs, "y"))


def transposed() -> Program:
    net = Net(4, 5, 6)
    return net.done(net.transposed("up", "x", 4, 3))


PROGRAMS = {
    **{name: lambda k=kernel, a=attrs: convolution(k, **a) for name, (kernel, attrs) in CONVOLUTIONS.items()},
    "transposed": transposed,
    "matmul of vectors": lambda: matmul((7,), False),
    "matmul of tokens": lambda: matmul((6, 7), False),
    "matmul of a picture's lines": lambda: matmul((3, 4, 7), False),
    "turned matmul of vectors": lambda: matmul((7,), True),
    "turned matmul of tokens": lambda: matmul((6, 7), True),
    "mul of a picture": lambda: mul((3, 2, 4), 1),
    "mul of tokens": lambda: mul((6, 7), 2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_rows_times_weights_are_the_answers(name: str) -> None:
    seen = look(PROGRAMS[name]())
    x, y = seen.rows(), seen.answers()
    assert y.size == seen.y.size
    assert np.array_equal(np.sort(y, axis=None), np.sort(seen.y, axis=None))  # each answer once
    np.testing.assert_allclose(x @ seen.matrix.T, y, atol=1e-5)
    weight = seen.program.params[seen.reader.weight]
    restored = seen.reader.restore(seen.matrix, weight.shape)
    assert restored.dtype == np.float32 and np.array_equal(restored, weight)
    assert seen.matrix.shape[1] % seen.reader.taps == 0


@pytest.mark.parametrize("name", ["padded", "everything", "transposed", "matmul of tokens", "mul of tokens"])
def test_a_sample_of_places(name: str) -> None:
    """No place twice, others for each picture, and answers from the same places as rows."""
    seen = look(PROGRAMS[name]())
    most = 4
    x, y = seen.rows(most), seen.answers(most)
    assert len(x) == len(y) == 3 * most
    np.testing.assert_allclose(x @ seen.matrix.T, y, atol=1e-5)
    count = len(seen.answers()) // 3
    places = []
    for k in range(3):
        everywhere = seen.answers()[k * count : (k + 1) * count]
        own = y[k * most : (k + 1) * most]
        found = [np.flatnonzero((everywhere == row).all(1)) for row in own]
        assert all(len(f) == 1 for f in found)
        places.append(tuple(int(f[0]) for f in found))
        assert len(set(places[-1])) == most
    assert len(set(places)) == 3


@pytest.mark.parametrize("most", [3, ALL])
@pytest.mark.parametrize("name", ["everything", "transposed", "matmul of tokens", "matmul of vectors"])
def test_pictures_together_or_one_by_one(name: str, most: int) -> None:
    seen = look(PROGRAMS[name]())
    alone = [look_at(seen, k) for k in range(3)]
    for k, one in enumerate(alone):
        size = len(seen.rows(most, 5)) // 3
        assert np.array_equal(one.rows(most, 5 + k), seen.rows(most, 5)[k * size : (k + 1) * size])
        assert np.array_equal(one.answers(most, 5 + k), seen.answers(most, 5)[k * size : (k + 1) * size])


def look_at(seen: Seen, k: int) -> Seen:
    return Seen(seen.program, seen.reader, seen.x[k : k + 1], seen.y[k : k + 1], seen.matrix)


def test_a_pruned_program_is_looked_at_in_the_same_places() -> None:
    net = Net(3, 8, 8)
    a = net.relu(net.conv("a", "x", 3, 6, 3, pad=1))
    program = net.done(net.conv("b", a, 6, 5, 3, pad=1, stride=2))
    found = trace(program, cost.measured_shapes(program))
    made = found.of("a.w_0", "out")
    assert made is not None
    pruned = remove(program, found, {int(made.atoms[1]), int(made.atoms[4])})
    images = pictures(2, 3, 8, 8)
    seen = []
    for each in (program, pruned):
        reader = next(r for r in readers(each) if r.weight == "b.w_0")
        got = values(each, images, reader.input, reader.output)
        x = rows(reader, got[reader.input], columns(each, reader), 5, 0)
        y = answers(reader, got[reader.output], 5, 0)
        np.testing.assert_allclose(x @ reader.matrix(each.params["b.w_0"]).T, y, atol=1e-5)
        seen.append(x)
    kept = np.delete(seen[0].reshape(10, 6, 9), [1, 4], axis=1).reshape(10, -1)
    np.testing.assert_allclose(seen[1], kept, atol=1e-6)


def test_two_layers_are_looked_at_in_places_of_their_own() -> None:
    net = Net(3, 8, 8)
    program = net.done(net.conv("a", "x", 3, 4, bias=False), net.conv("b", "x", 3, 4, bias=False))
    x = pictures(1, 3, 8, 8)
    one, two = (rows(reader, x, 3, 6, 0) for reader in readers(program))
    assert not np.array_equal(one, two)


# Biases


def biased(axis: int, shape: tuple[int, ...], side: int) -> tuple[Program, bool]:
    """A convolution to 5 channels and a sum; whether Paddle adds one number to each channel."""
    net = Net(3, side, side)
    raw = net.conv("a", "x", 3, 5, bias=False)
    program = net.done(net.add(raw, net.param("b", *shape), axis, out="y"))
    got = values(program, pictures(1, 3, side, side), raw, "y")
    added = (got["y"] - got[raw]).reshape(5, -1)
    one_each = np.allclose(added, added[:, :1], atol=1e-5) and len(set(added[:, 0].round(3))) == 5
    return program, one_each


@pytest.mark.parametrize(
    ("axis", "shape"), [(1, (5,)), (-1, (1, 5, 1, 1)), (-1, (5, 1, 1)), (0, (1, 5, 1, 1)), (1, (5, 1, 1))]
)
def test_the_bias_of_a_convolution(axis: int, shape: tuple[int, ...]) -> None:
    for side in (8, 5):
        program, one_each = biased(axis, shape, side)
        assert one_each and only(program).bias == "b"


@pytest.mark.parametrize(
    ("axis", "shape"), [(-1, (5,)), (-1, (5, 1)), (2, (5,)), (-1, (1, 1, 5, 1)), (-1, (1,)), (-1, (5, 5))]
)
def test_what_is_added_along_height_or_width_is_no_bias(axis: int, shape: tuple[int, ...]) -> None:
    """Five channels, five lines and five columns: only the axis tells them apart."""
    program, one_each = biased(axis, shape, 5)
    assert not one_each and only(program).bias is None


def test_the_bias_of_a_matrix_product() -> None:
    net = Net(5, 7)
    vectors = net.linear("tokens", "x", 7, 5)
    lines = net.add(net.linear("lines", "x", 7, 5, bias=False), net.param("positions", 5, 1))
    program = net.done(vectors, lines)
    assert [(r.weight, r.bias) for r in readers(program)] == [
        ("tokens.w_0", "tokens.b_0"),
        ("lines.w_0", None),
    ]


def test_a_bias_that_two_layers_share_stays_as_it_is() -> None:
    net = Net(3, 4, 4)
    raws = [net.conv(name, "x", 3, 5, bias=False) for name in "ab"]
    bias = net.param("bias", 5)
    program = net.done(*(net.add(raw, bias, 1) for raw in raws))
    assert [r.bias for r in readers(program)] == [None, None]


def test_an_answer_that_somebody_else_reads_has_no_bias() -> None:
    net = Net(3, 4, 4)
    raw = net.conv("a", "x", 3, 5, bias=False)
    biased = net.add(raw, net.param("b", 5), 1)
    assert only(net.done(biased, net.relu(raw))).bias is None
    net = Net(3, 4, 4)
    net.conv("a", "x", 3, 5)
    assert only(net.done("a", "a.raw")).bias is None  # an output of the network
    net = Net(3, 4, 4)
    net.conv("a", "x", 3, 5)
    assert only(net.done("a")).bias == "a.b_0"


def test_a_sum_with_something_computed_has_no_bias() -> None:
    net = Net(5, 4, 4)
    program = net.done(net.add(net.conv("a", "x", 5, 5, bias=False), "x"))
    assert only(program).bias is None


def test_one_bias_for_all_taps_of_a_transposed_convolution_is_none_of_a_row() -> None:
    """Its rows are taps; their bias is shared, so that no row has one of its own."""
    net = Net(4, 3, 3)
    program = net.done(net.transposed("up", "x", 4, 3, bias=True))
    assert only(program).bias is None


# What is no such layer


def test_the_order_is_that_of_the_program() -> None:
    net = Net(3, 8, 8)
    a = net.relu(net.conv("z", "x", 3, 4))
    b = net.pooled(net.conv("m", a, 4, 6), 6)
    program = net.done(net.linear("a", b, 6, 2))
    assert [(r.weight, r.input, r.output) for r in readers(program)] == [
        ("z.w_0", "x", "z.raw"),
        ("m.w_0", a, "m.raw"),
        ("a.w_0", b, "a.raw"),
    ]


def test_layers_that_share_their_weight_are_left_out() -> None:
    net = Net(3, 4, 4)
    a = net.conv("a", "x", 3, 3, bias=False)
    again = {"Input": a, "Filter": "a.w_0"}
    b = net.op("conv2d", again, {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1]}, slot="Output")
    program = net.done(net.conv("c", b, 3, 2))
    assert [r.weight for r in readers(program)] == ["c.w_0"]
    net = Net(4, 4)
    program = net.done(net.linear("fc", "x", 4, 4, bias=False), net.relu("fc.w_0"))
    assert readers(program) == []  # somebody else reads the weight, too


@pytest.mark.parametrize(
    "attrs",
    [
        {"padding_algorithm": "SAME"},
        {"groups": 3},
        {"groups": 3, "padding_algorithm": "VALID"},
        {"data_format": "NHWC"},
    ],
)
def test_convolutions_that_are_left_out(attrs: dict[str, Any]) -> None:
    net = Net(3, 8, 8)
    program = net.done(net.conv("a", "x", 3, 6, 3, groups=attrs.get("groups", 1)))
    assert attrs.get("groups", 1) > 1 or len(readers(program)) == 1
    for op in program.ops:
        for name, value in attrs.items():
            if op.type == "conv2d":
                set_attr(op, name, value)
    assert readers(program) == []


@pytest.mark.parametrize(
    ("k", "stride", "attrs"),
    [
        (3, 2, {}),
        (2, 1, {}),
        (2, 2, {"paddings": [1, 1]}),
        (2, 2, {"output_padding": [1, 1]}),
        (2, 2, {"output_size": [9, 9]}),
        (2, 2, {"padding_algorithm": "SAME"}),
        (2, 2, {"dilations": [2, 2]}),
    ],
)
def test_transposed_convolutions_that_are_left_out(k: int, stride: int, attrs: dict[str, Any]) -> None:
    """Their taps overlap, or what they answer is not all taps."""
    for changed, count in ((attrs, 0), ({}, int((k, stride) == (2, 2)))):
        net = Net(4, 4, 4)
        assert len(readers(net.done(net.transposed("up", "x", 4, 3, k, stride=stride, **changed)))) == count


def test_matrix_products_that_are_left_out() -> None:
    net = Net(4, 4)
    computed = net.op("matmul_v2", {"X": "x", "Y": "x"}, {"trans_x": False, "trans_y": True})
    left = net.op("matmul_v2", {"X": net.param("left", 4, 4), "Y": "x"}, {"trans_x": False, "trans_y": False})
    turned = {"X": "x", "Y": net.param("turned", 4, 4)}
    turned_x = net.op("matmul_v2", turned, {"trans_x": True, "trans_y": False})  # type: ignore[arg-type]
    stacked = {"X": "x", "Y": net.param("stacked", 1, 4, 3)}
    many = net.op("matmul_v2", stacked, {"trans_x": False, "trans_y": False})  # type: ignore[arg-type]
    vector = {"X": "x", "Y": net.param("vector", 4)}
    one = net.op("matmul_v2", vector, {"trans_x": False, "trans_y": False})  # type: ignore[arg-type]
    assert readers(net.done(computed, left, turned_x, many, one)) == []


def test_a_computed_filter_is_left_out() -> None:
    net = Net(3, 4, 4)
    made = net.relu(net.param("w", 5, 3, 1, 1))
    attrs: dict[str, AttrValue] = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1}
    program = net.done(net.op("conv2d", {"Input": "x", "Filter": made}, attrs, slot="Output"))
    assert readers(program) == []


def test_all_places_in_order_where_there_are_no_more_than_wanted() -> None:
    reader = Reader("conv", "x", "w", "y", None)
    x = np.arange(2 * 16, dtype=np.float32).reshape(2, 1, 4, 4)
    assert np.array_equal(rows(reader, x, 1, 16, 0).reshape(-1), np.arange(32))
    assert len(rows(reader, x, 1, 15, 0)) == 30
