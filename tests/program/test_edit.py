"""Edits keep the answers: against the full program, the net in Paddle's dygraph mode, and Paddle Lite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from edgekit.backends import lite
from edgekit.errors import EdgekitError
from edgekit.program import edit, graph
from edgekit.program.graph import Program, attr, inputs, make_op, outputs
from tests.program import nets


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return graph.load(nets.export(nets.make(nets.Mixed), tmp_path_factory.mktemp("mixed")))


def kinds(program: Program) -> list[str]:
    return [op.type for op in program.ops]


def test_cut_gives_the_inner_tensor(mixed: Program, tmp_path: Path) -> None:
    net = nets.make(nets.Mixed)
    seen = []
    net.stem.register_forward_post_hook(lambda layer, given, result: seen.append(result.numpy()))
    feed = nets.pictures(1)[0]
    net(paddle.to_tensor(feed["x"]))
    made = edit.cut(mixed, {"stem": nets.output_of(mixed, "hard_swish")})
    assert made.fetches == ["stem"] and made.feeds == ["x"]
    assert kinds(made) == ["feed", "conv2d", "batch_norm", "hard_swish", "fetch"]
    assert set(made.params) == {name for op in made.ops for name in inputs(op)} & set(mixed.params)
    assert {v.name for v in made.block.vars} >= {"x", "stem"}
    assert not any(v.name == mixed.fetches[0] for v in made.block.vars)
    (got,) = nets.run(made, tmp_path, [feed])
    assert list(got) == ["stem"]
    np.testing.assert_allclose(got["stem"], seen[0], atol=1e-5)


def test_cut_keeps_an_inner_tensor_that_is_read_on(mixed: Program, tmp_path: Path) -> None:
    """Both an inner tensor and what is made of it, in the order that was asked for."""
    inner, last = nets.output_of(mixed, "hard_swish"), mixed.fetches[0]
    feed = nets.pictures(1)[0]
    (whole,) = nets.run(mixed, tmp_path / "whole", [feed])
    for targets in ({"answer": last, "stem": inner}, {"stem": inner, "answer": last}):
        made = edit.cut(mixed, targets)
        assert made.fetches == list(targets)
        (got,) = nets.run(made, tmp_path / "cut", [feed])
        assert list(got) == list(targets)
        np.testing.assert_array_equal(got["answer"], whole[last])
        assert got["stem"].shape == (1, 16, 8, 8)


def test_cut_leaves_the_original(mixed: Program) -> None:
    before = mixed.desc.SerializeToString(deterministic=True)
    edit.cut(mixed, {"y": nets.output_of(mixed, "relu")})
    edit.fold_batch_norm(mixed)
    edit.lite_ready(mixed)
    edit.compact(mixed)
    assert mixed.desc.SerializeToString(deterministic=True) == before


def test_cut_drops_an_input_that_nothing_reads(tmp_path: Path) -> None:
    class Two(paddle.nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = paddle.nn.Linear(2, 2)

        def forward(self, x: Any, y: Any) -> Any:
            return paddle.nn.functional.relu(self.linear(y)), x + y

    spec = [paddle.static.InputSpec([1, 2], "float32", name) for name in "xy"]
    net, feed = nets.make(Two), np.array([[-1, 2]], np.float32)
    paddle.jit.save(net, str(tmp_path / "inference"), input_spec=spec)
    program = graph.load(tmp_path)
    made = edit.cut(program, {"r": nets.output_of(program, "relu")})
    assert made.feeds == ["y"] and attr(nets.first(made, "feed"), "col") == 0
    (got,) = nets.run(made, tmp_path / "cut", [{"y": feed}])
    wanted = np.maximum(net.linear(paddle.to_tensor(feed)).numpy(), 0)
    np.testing.assert_allclose(got["r"], wanted, atol=1e-6)


@pytest.mark.parametrize("targets", [{"y": "nowhere"}, {"x": "hard_swish"}], ids=["unknown", "taken"])
def test_cut_refuses(targets: dict[str, str], mixed: Program) -> None:
    named = {new: nets.output_of(mixed, old) if old != "nowhere" else old for new, old in targets.items()}
    with pytest.raises(EdgekitError) as caught:
        edit.cut(mixed, named)
    assert caught.value.code == "EK103"


def test_cut_of_one_tensor_under_two_names(mixed: Program) -> None:
    inner = nets.output_of(mixed, "hard_swish")
    with pytest.raises(EdgekitError) as caught:
        edit.cut(mixed, {"a": inner, "b": inner})
    assert caught.value.code == "EK103"


def test_fold_batch_norm(mixed: Program, tmp_path: Path) -> None:
    made = edit.fold_batch_norm(mixed)
    assert "batch_norm" not in kinds(made)
    assert kinds(made).count("elementwise_add") == kinds(mixed).count("elementwise_add") - 1 + 5
    assert "reshape2" not in kinds(made)  # of biases, as paddle.jit.save writes them
    assert not [name for name in made.params if "batch_norm" in name and not name.endswith(".bias")]
    feeds = nets.pictures(2)
    wanted, got = nets.run(mixed, tmp_path / "a", feeds), nets.run(made, tmp_path / "b", feeds)
    net = nets.make(nets.Mixed)
    for feed, before, after in zip(feeds, wanted, got, strict=True):
        truth = net(paddle.to_tensor(feed["x"])).numpy()
        np.testing.assert_allclose(before[mixed.fetches[0]], truth, atol=1e-5)
        np.testing.assert_allclose(after[mixed.fetches[0]], truth, atol=1e-5)


@pytest.mark.parametrize("shape", [[1, 8, 1, 1], [8]])
def test_every_form_of_bias_runs_in_paddle_lite(shape: list[int], tmp_path: Path) -> None:
    """Paddle Lite aborts on a bias of shape [1, C, 1, 1]; Paddle 2.6 writes a reshape2 to it."""
    program = graph.load(nets.export(nets.make(lambda: paddle.nn.Conv2D(3, 8, 3)), tmp_path))
    (add,) = [op for op in program.ops if op.type == "elementwise_add"]
    bias = next(name for name in program.params if program.params[name].ndim == 1)
    value = np.linspace(-1, 1, 8, dtype=np.float32)
    program.set_param(bias, value.reshape(shape))
    if len(shape) == 4:
        graph.set_slot(add.inputs, "Y", [bias])
        program.replace_ops(op for op in program.ops if op.type != "reshape2")
    made = edit.lite_ready(edit.fold_batch_norm(program))
    assert kinds(made).count("reshape2") == 0 and made.params[
        inputs(nets.first(made, "elementwise_add"), "Y")[0]
    ].shape == (8,)
    feed = nets.pictures(1)
    (wanted,), (again,) = nets.run(program, tmp_path / "a", feed), nets.run(made, tmp_path / "b", feed)
    folder, name = tmp_path / "b", program.fetches[0]
    np.testing.assert_allclose(again[name], wanted[name], atol=1e-6)
    lite.optimise(folder / "inference.pdmodel", folder / "inference.pdiparams", "x86", tmp_path / "m.nb")
    (got,) = lite.run_x86(tmp_path / "m.nb", feed, made.fetches)
    np.testing.assert_allclose(got[name], wanted[name], atol=1e-5)


def test_fold_keeps_every_batch_norm_output(mixed: Program, tmp_path: Path) -> None:
    """Each folded tensor keeps its name and its value (softmax would hide much)."""
    wanted_names = [outputs(op, "Y")[0] for op in mixed.ops if op.type == "batch_norm"]
    assert len(wanted_names) == 5
    feed = nets.pictures(1)
    targets = {name: name for name in wanted_names}
    (wanted,) = nets.run(edit.cut(mixed, targets), tmp_path / "a", feed)
    (got,) = nets.run(edit.cut(edit.fold_batch_norm(mixed), targets), tmp_path / "b", feed)
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, atol=1e-5, err_msg=name)


def test_shared_weights_are_not_folded(tmp_path: Path) -> None:
    program = graph.load(nets.export(nets.make(nets.Twice), tmp_path))
    made = edit.fold_batch_norm(program)
    assert kinds(made).count("batch_norm") == 2
    feed = nets.pictures(1)
    name = program.fetches[0]
    (wanted,), (got,) = nets.run(program, tmp_path / "a", feed), nets.run(made, tmp_path / "b", feed)
    np.testing.assert_array_equal(got[name], wanted[name])


def test_a_fetched_convolution_is_not_folded(mixed: Program, tmp_path: Path) -> None:
    targets = {"conv": nets.output_of(mixed, "conv2d"), "stem": nets.output_of(mixed, "hard_swish")}
    program = edit.cut(mixed, targets)
    made = edit.fold_batch_norm(program)
    assert "batch_norm" in kinds(made)
    feed = nets.pictures(1)
    (wanted,), (got,) = nets.run(program, tmp_path / "a", feed), nets.run(made, tmp_path / "b", feed)
    for name in targets:
        np.testing.assert_array_equal(got[name], wanted[name])


def test_a_convolution_that_others_read_is_not_folded(mixed: Program) -> None:
    program = mixed.copy()
    conv = nets.output_of(program, "conv2d")
    program.add_var("side", program.shape(conv))
    side = make_op("relu", {"X": [conv]}, {"Out": ["side"]})
    ops = program.ops
    ops.insert(3, side)
    program.replace_ops(ops)
    assert kinds(edit.fold_batch_norm(program)).count("batch_norm") == 1  # that convolution's


def test_lite_ready_runs_in_paddle_lite(mixed: Program, tmp_path: Path) -> None:
    made = edit.lite_ready(edit.fold_batch_norm(mixed))
    shaped = [op for op in made.ops if op.type in edit._XSHAPE]
    assert shaped
    for op in shaped:
        (name,) = outputs(op, "XShape")
        assert made.shape(name) == [0, *made.shape(inputs(op, "X")[0])]
    assert not any(a.name == "op_callstack" for op in made.ops for a in op.attrs)
    small = edit.compact(made)
    assert small.feeds == made.feeds and small.fetches == made.fetches
    feeds = nets.pictures(2)
    wanted = nets.run(mixed, tmp_path / "wanted", feeds)
    for name, program in (("ready", made), ("compact", small)):
        assert nets.run(program, tmp_path / name, feeds)[0].keys() == wanted[0].keys()
        folder = tmp_path / name
        lite.optimise(folder / "inference.pdmodel", folder / "inference.pdiparams", "x86", tmp_path / "m.nb")
        got = lite.run_x86(tmp_path / "m.nb", feeds, made.fetches)
        for before, after in zip(wanted, got, strict=True):
            for output, value in before.items():
                assert nets.cosine(value, after[output]) >= 0.9999
    assert small.desc.ByteSize() < made.desc.ByteSize() < mixed.desc.ByteSize()


def test_lite_ready_gives_relu6_its_threshold(tmp_path: Path) -> None:
    net = nets.make(lambda: paddle.nn.Sequential(paddle.nn.Conv2D(3, 3, 1), paddle.nn.ReLU6()))
    program = graph.load(nets.export(net, tmp_path))
    assert attr(nets.first(edit.lite_ready(program), "relu6"), "threshold") == 6.0


def test_compact_does_not_shadow_an_output(mixed: Program, tmp_path: Path) -> None:
    """An output that is called like one of the short names."""
    program = edit.cut(mixed, {"t3": mixed.fetches[0], "t5": nets.output_of(mixed, "hard_swish")})
    feed = nets.pictures(1)
    (wanted,) = nets.run(program, tmp_path / "a", feed)
    made = edit.compact(program)
    (got,) = nets.run(made, tmp_path / "b", feed)
    assert len({v.name for v in made.block.vars}) == len(made.block.vars)
    for name in ("t3", "t5"):
        np.testing.assert_array_equal(got[name], wanted[name])
