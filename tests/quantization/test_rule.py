"""Which layers become int8."""

from __future__ import annotations

import pytest

from edgekit.errors import EdgekitError
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import rule
from tests.program import nets

NAMES = [*(f"conv2d_{k}" for k in range(7)), "linear_0"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Program:
    folder = nets.export(nets.make(nets.Mixed), tmp_path_factory.mktemp("mixed"))
    return edit.fold_batch_norm(graph.load(folder))


def floats(program: Program, patterns: list[str]) -> dict[str, str]:
    return {layer.name: layer.reason for layer in rule.layers(program, patterns) if not layer.int8}


def test_all_layers_of_a_net(mixed: Program) -> None:
    found = rule.layers(mixed, [])
    assert [layer.name for layer in found] == NAMES
    assert all(layer.int8 and not layer.reason for layer in found)
    assert [layer.type for layer in found] == ["conv2d", "depthwise_conv2d", *["conv2d"] * 5, "matmul"]
    assert [layer.axis for layer in found] == [0] * 7 + [1]
    assert [bool(layer.bias) for layer in found] == [True] * 8
    # ReLU right behind: depthwise, squeeze, left. Not behind hard swish, hard sigmoid, residual add, softmax.
    assert [layer.name for layer in found if layer.relu] == ["conv2d_1", "conv2d_3", "conv2d_5"]
    for layer in found:
        if layer.relu:
            producer = mixed.producers()[layer.relu]
            assert producer.type == "relu" and graph.inputs(producer) == [layer.output]
        assert mixed.params[layer.weight].size == layer.params
    # Stem of 3 x 3 over 3 channels with a stride, depthwise, pointwise, ..., two groups of 8.
    assert [layer.fan_in for layer in found] == [27, 9, 16, 16, 8, 16, 72, 1]
    assert [layer.stride for layer in found] == [2, *[1] * 7]
    assert found[0].input == "x" and found[2].input == found[1].relu


def test_a_relu_that_is_not_alone_is_not_fused(mixed: Program) -> None:
    """Its input is an output of the program, too."""
    found = rule.layers(mixed, [])
    program = edit.cut(mixed, {"raw": found[1].output, "after": str(found[1].relu)})
    assert rule.layers(program, [])[1].relu is None


def test_a_relu_that_others_read_is_not_fused(mixed: Program) -> None:
    program, layer = mixed.copy(), rule.layers(mixed, [])[1]
    program.add_var("side", program.shape(layer.output))
    ops = program.ops
    after = next(k for k, op in enumerate(ops) if layer.output in graph.outputs(op)) + 1
    ops.insert(after, graph.make_op("relu6", {"X": [layer.output]}, {"Out": ["side"]}))
    program.replace_ops(ops)
    assert rule.layers(program, [])[1].relu is None


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["depthwise"], ["conv2d_1"]),
        (["first:2"], NAMES[:2]),
        (["last:2"], NAMES[-2:]),
        (["last:8"], NAMES),
        (["first:99"], NAMES),
        (["conv2d_[35]"], ["conv2d_3", "conv2d_5"]),
        (["linear*"], ["linear_0"]),
        (["conv2d_6"], ["conv2d_6"]),
        (["first:1", "depthwise", "last:1"], ["conv2d_0", "conv2d_1", "linear_0"]),
    ],
)
def test_patterns(patterns: list[str], names: list[str], mixed: Program) -> None:
    found = floats(mixed, patterns)
    assert list(found) == names
    for reason in found.values():
        assert reason.removeprefix("quantize.float: ") in patterns


@pytest.mark.parametrize(
    "pattern", ["conv2d", "CONV2D_0", "conv2d_99", "first:0", "last:0", "first:", "first:-1", ""]
)
def test_a_pattern_that_matches_nothing(pattern: str, mixed: Program) -> None:
    with pytest.raises(EdgekitError, match="matches no layer") as caught:
        rule.layers(mixed, ["conv2d_0", pattern])
    assert caught.value.code == "EK105"
    assert repr(pattern) in caught.value.message and "conv2d_0" in caught.value.message


def test_depthwise_where_there_is_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = graph.load(nets.export(nets.make(nets.Plain), tmp_path_factory.mktemp("plain")))
    with pytest.raises(EdgekitError) as caught:
        rule.layers(program, ["depthwise"])
    assert caught.value.code == "EK105"


def test_matmuls(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = nets.export(nets.make(nets.Matmuls), tmp_path_factory.mktemp("m"), (None, 32))
    program = graph.load(folder)
    reasons = {layer.name: (layer.int8, layer.reason.split(":")[0]) for layer in rule.layers(program, [])}
    assert list(reasons.values()).count((True, "")) == 1 and reasons["linear_2"] == (True, "")
    assert reasons["linear_0"] == (False, "a small matmul (box decoding)")
    assert reasons["linear_1"] == (False, "reads a softmax")
    assert (False, "a transposed matmul") in reasons.values()


def test_shared_weights(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = graph.load(nets.export(nets.make(nets.Twice), tmp_path_factory.mktemp("twice")))
    found = rule.layers(program, [])
    assert [(layer.int8, layer.reason) for layer in found] == [
        (False, "weights are shared between layers")
    ] * 2


def test_weights_that_are_not_float32(mixed: Program) -> None:
    program = mixed.copy()
    program.set_param("conv2d_0.w_0", program.params["conv2d_0.w_0"].astype("float16"))
    assert rule.layers(program, [])[0].reason == "weights are float16"
