"""What is trained and what is not, and gradients against Paddle's dygraph mode and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.program import edit, graph
from edgekit.program.graph import Program, inputs
from edgekit.training import trainable
from edgekit.training.distil import Examples, Settings, distil
from edgekit.training.graph_training import Optimizer, Pair, Trainer
from edgekit.training.losses import Moments
from tests.program import nets
from tests.training import worlds
from tests.training.worlds import Floats


def step(program: Program, weights: list[str], target: str, x: Floats, answer: Floats) -> dict[str, Any]:
    """The weights after one step of plain SGD at rate 1, on the squared error at `target`."""
    with trainable.static_mode(1):
        trainer = Trainer(
            program,
            weights,
            [Pair(target, "t", "mse")],
            {"t": Moments(0.0, 1.0)},
            {"t": answer.shape[1:]},
            x.shape[1:],
            Optimizer("sgd", 0.0, 1e9),
            1.0,
            False,
        )
        trainer.step(trainer.feed(x, {"t": answer}, None), 1.0)
        return trainer.trained()


def power_of_two(value: Any) -> Any:
    return np.exp2(np.round(np.log2(value)))


def scales(net: Any) -> dict[str, Any]:
    """Root mean square of each output channel's weights, and for its bias their norm."""
    found = {}
    for layer in net.sublayers():
        if hasattr(layer, "weight"):
            weight = layer.weight.numpy()
            axes = tuple(range(1, weight.ndim)) if weight.ndim == 4 else 0
            found[layer.weight.name] = power_of_two(np.sqrt(np.square(weight).mean(axes, keepdims=True)))
            found[layer.bias.name] = power_of_two(np.sqrt(np.square(weight).sum(axes)))
    return found


def test_weights_are_filters_matrices_and_biases(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    found = trainable.weights(program)
    depthwise = inputs(nets.first(program, "depthwise_conv2d"), "Filter")
    assert sorted(found + depthwise) == sorted(program.params) and len(found) == 11
    mixed = worlds.program(nets.Mixed, tmp_path / "mixed")
    # 7 convolutions, one of them depthwise, with biases from folded batch norms; a linear layer
    assert len(trainable.weights(mixed)) == 15


def test_constants_of_box_decoding_are_no_weights(tmp_path: Path) -> None:
    program = worlds.program(nets.Matmuls, tmp_path, shape=(None, 32))
    kept = {name for name, value in program.params.items() if value.shape in ((32, 8), (8,))}
    assert len(kept) == 2
    assert set(trainable.weights(program)) == set(program.params) - kept


def test_gradients_are_those_of_dygraph(tmp_path: Path) -> None:
    net = nets.make(worlds.Branches)
    rng = np.random.default_rng(7)
    for layer in net.sublayers():
        if hasattr(layer, "bias"):  # Paddle starts with zeros
            layer.bias.set_value(rng.normal(size=layer.bias.shape).astype(np.float32))
    program = edit.fold_batch_norm(graph.load(nets.export(net, tmp_path)))
    logits = nets.output_of(program, "elementwise_add", -1)
    x = np.concatenate([feed["x"] for feed in nets.pictures(4)])
    answer = np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32)
    paddle.disable_static()
    loss = paddle.mean(paddle.square(net.logits(paddle.to_tensor(x)) - paddle.to_tensor(answer)))
    loss.backward()
    units = scales(net)
    names = {p.name: by_value(program, p.numpy()) for p in net.parameters()}
    assert len(set(names.values())) == len(program.params) == 12
    found = step(program, list(program.params), logits, x, answer)
    for p in net.parameters():
        got = found[names[p.name]].reshape(p.shape)
        expected = p.numpy() - units[p.name] ** 2 * p.grad.numpy()
        moved = np.abs(expected - p.numpy()).max()
        assert moved > 1e-6, p.name
        np.testing.assert_allclose(got, expected, atol=1e-4 * moved + 1e-6, err_msg=p.name)


def by_value(program: Program, value: Any) -> str:
    """The parameter that holds these numbers: folding renames biases."""
    return next(
        name
        for name, kept in program.params.items()
        if kept.size == value.size and np.array_equal(kept.reshape(-1), value.reshape(-1))
    )


def test_one_step_by_hand(tmp_path: Path) -> None:
    """A convolution, one picture: w - rate scale^2 2 / (n var) * sum of error times input, by `distil`."""
    teacher = worlds.program(nets.Plain, tmp_path / "net")
    student = worlds.perturbed(teacher)
    (name,) = trainable.weights(student)
    x = np.round(nets.pictures(1)[0]["x"][0] * 8) / 8  # exact in half precision
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    patches = np.stack(
        [padded[:, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3] for r in range(8) for c in range(8)]
    ).reshape(64, 27)
    w, target = (p.params[name].reshape(8, 27).astype(np.float64) for p in (student, teacher))
    error, answer = patches @ (w - target).T, patches @ target.T
    unit = power_of_two(np.sqrt(np.square(w).mean(1, keepdims=True))) ** 2
    expected = w - unit * 2 / answer.size / answer.var() * error.T @ patches
    one = Examples([x.astype(np.float32)], "one")
    wanted = Settings(steps=1, rate=1.0, optimizer="sgd", weight_decay=0.0, clip=1e9, warmup=0.0, threads=1)
    losses = {teacher.fetches[0]: "mse"}
    made = distil(student, teacher, one, one, wanted, losses, tmp_path / "run", Progress())
    assert made.start_loss == pytest.approx(np.square(error).mean() / answer.var(), rel=1e-4)
    np.testing.assert_allclose(made.program.params[name].reshape(8, 27), expected, atol=1e-5)
    assert np.abs(expected - w).max() > 1e-3


def test_only_the_named_weights_change_and_no_gradient_goes_below_them(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    head = trainable.weights(program)[-2:]
    x = np.concatenate([feed["x"] for feed in nets.pictures(2)])
    logits = nets.output_of(program, "elementwise_add", -1)
    after = step(program, head, logits, x, np.zeros((2, 20), np.float32))
    assert list(after) == head
    assert all(np.abs(after[name] - program.params[name]).max() > 1e-4 for name in head)
    with trainable.static_mode(1):
        static = trainable.parse(program, head, (3, nets.SIDE, nets.SIDE))
        block = static.global_block()
        needed = {name for name, v in block.vars.items() if not v.stop_gradient}
        with paddle.static.program_guard(static):
            paddle.static.append_backward(paddle.mean(block.var(logits)), parameter_list=head)
        assert not [op.type for op in block.ops if op.type in ("conv2d_grad", "depthwise_conv2d_grad")]
    (matmul,) = (op for op in program.ops if op.type == "matmul_v2")
    assert inputs(matmul, "X")[0] not in needed and logits in needed and set(head) <= needed


def test_a_program_exported_for_one_picture_trains_in_batches(tmp_path: Path) -> None:
    free = worlds.program(worlds.Branches, tmp_path / "free")
    fixed = worlds.program(worlds.Branches, tmp_path / "fixed", shape=(1, 3, nets.SIDE, nets.SIDE))
    x = np.concatenate([feed["x"] for feed in nets.pictures(3)])
    answer = np.zeros((3, 20), np.float32)
    weights = trainable.weights(free)
    one, other = (
        step(p, weights, nets.output_of(p, "elementwise_add", -1), x, answer) for p in (free, fixed)
    )
    for name in weights:
        np.testing.assert_array_equal(one[name], other[name])


def test_what_is_no_parameter_cannot_be_trained(tmp_path: Path) -> None:
    program = worlds.program(worlds.Branches, tmp_path)
    with pytest.raises(EdgekitError, match="'nothing' is no float32 parameter") as error:
        trainable.parse(program, ["nothing"], (3, nets.SIDE, nets.SIDE))
    assert error.value.code == "EK103"


def test_pictures_of_another_size(tmp_path: Path) -> None:
    """As detectors of text take them: a program declares one size and is trained on crops of another."""
    program = worlds.program(nets.Plain, tmp_path)
    (weight,), (end,) = trainable.weights(program), program.fetches
    x = np.random.default_rng(0).normal(size=(2, 3, 10, 12)).astype(np.float32)
    after = step(program, [weight], end, x, np.zeros((2, 8, 5, 6), np.float32))
    assert np.abs(after[weight] - program.params[weight]).max() > 1e-4
