"""PACT: the net that is trained answers as int8 does, alpha's gradient by hand, and clipping that happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from edgekit.console import Progress
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import pact
from edgekit.quantization.repair import Int8
from edgekit.quantization.table import Activation
from edgekit.training import trainable
from edgekit.training.distil import Examples, Settings, distil
from edgekit.training.graph_training import Clips, Optimizer, Pair, Trainer
from edgekit.training.losses import Moments
from tests.program import nets
from tests.program.nets import conv_bn

FEEDS = nets.pictures(16, seed=11)


class Plain(nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = conv_bn(3, 16, 3), conv_bn(16, 16, 3, groups=16)
        self.last, self.act = nn.Conv2D(16, 8, 1), nn.Hardswish()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.last(self.act(self.depthwise(self.act(self.first(x)))))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Int8:
    paddle.disable_static()
    folder = tmp_path_factory.mktemp("plain")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(nets.export(nets.make(Plain), folder))))
    return Int8(program, nets.calibrated(program, folder / "c", FEEDS))


def with_thresholds(start: Int8, factor: float) -> Int8:
    changed = {
        name: Activation(threshold=factor * old.maximum, maximum=old.maximum)
        for name, old in start.table.activations.items()
    }
    return Int8(start.program, start.table.model_copy(update={"activations": changed}))


def answers(program: Program, folder: Path) -> Any:
    (name,) = program.fetches
    return np.concatenate([got[name] for got in nets.run(program, folder, FEEDS[:4])])


def test_what_is_trained_answers_as_int8_does(start: Int8, tmp_path: Path) -> None:
    wanted = answers(start.simulated(), tmp_path / "a")
    got = answers(pact.trainable(start), tmp_path / "b")
    plain = answers(start.program, tmp_path / "c")
    # An activation next to a tie may fall to the other side.
    assert np.mean(np.square(got - wanted)) < 0.02 * np.mean(np.square(plain - wanted))


def step(program: Program, weights: list[str], clips: Clips) -> dict[str, Any]:
    """The values after one step of plain SGD at rate 1, on the mean square of the output."""
    (name,) = program.fetches
    shape = tuple(program.shape(name)[1:])
    x = np.concatenate([feed["x"] for feed in FEEDS[:2]])
    with trainable.static_mode(1):
        trainer = Trainer(
            program, weights, [Pair(name, "t", "mse")], {"t": Moments(0.0, 1.0)}, {"t": shape}, x.shape[1:],
            Optimizer("sgd", 0.0, 1e9), 1.0, False, clips,
        )  # fmt: skip
        trainer.step(trainer.feed(x, {"t": np.zeros((2, *shape), np.float32)}, None), 1.0)
        return trainer.trained()


def test_alpha_has_the_gradient_of_what_it_clips(start: Int8, tmp_path: Path) -> None:
    """Of the last layer alone, so that all that follows from alpha can be written down."""
    clipped = with_thresholds(start, 0.2)
    (last,) = [layer for layer in clipped.table.layers if layer.name == "conv2d_2"]
    others = [layer.model_copy(update={"int8": layer is last}) for layer in clipped.table.layers]
    only = Int8(clipped.program, clipped.table.model_copy(update={"layers": others}))
    name = pact.clip(last.input)
    program = pact.trainable(only)
    old = float(program.params[name][0])
    unit = float(np.exp2(np.round(np.log2(old))))
    new = float(step(program, [name], Clips((name,)))[name][0])

    inner = {"before": last.input, "after": f"{last.input}.rounded"}
    seen = nets.run(edit.cut(program, inner), tmp_path, FEEDS[:2])
    x, rounded = (np.concatenate([one[key] for one in seen]).astype(np.float64) for key in inner)
    scales = np.asarray(only.table.weights[last.weight])[:, None]
    w = np.rint(program.params[last.weight][:, :, 0, 0] / scales) * scales
    y = np.einsum("oc,nchw->nohw", w, rounded)
    if last.bias is not None:
        y += program.params[last.bias].reshape(1, -1, 1, 1)
    back = np.einsum("oc,nohw->nchw", w, 2 * y / y.size)
    slope = float((back * np.sign(x))[np.abs(x) > old].sum())
    assert (np.abs(x) > old).mean() > 0.01
    # Trained in units of `unit`: the step is unit * (gradient of what is trained) = unit * unit * slope.
    assert new - old == pytest.approx(-unit * unit * slope, rel=1e-3)


def learnt(start: Int8, teacher: Program, folder: Path, decay: float, steps: int = 40) -> tuple[Int8, Any]:
    pictures = [feed["x"][0] for feed in FEEDS]
    names = tuple(pact.clips(start))
    done = distil(
        pact.trainable(start),
        teacher,
        Examples(pictures, "train"),
        Examples(pictures[:4], "held out"),
        Settings(steps=steps, rate=1e-2, threads=1),
        dict.fromkeys(teacher.fetches, "mse"),
        folder,
        Progress(),
        weights=[*trainable.weights(start.program), *names],
        clips=Clips(names, rate=3.0, decay=decay),
    )
    return pact.trained(start, done.program.params), done


def test_thresholds_that_are_far_too_high_come_down(start: Int8, tmp_path: Path) -> None:
    """Stock PACT starts at 100 and stays there: it never clips. Ours moves."""
    high = with_thresholds(start, 8.0)
    made, done = learnt(high, start.program, tmp_path / "a", decay=1e-2)
    assert done.best_loss < 0.7 * done.start_loss
    moved = [
        made.table.activations[layer.input].threshold / high.table.activations[layer.input].threshold
        for layer in made.table.quantized
    ]
    assert max(moved) < 0.95


def test_training_mends_thresholds_that_clip_too_much(start: Int8, tmp_path: Path) -> None:
    low = with_thresholds(start, 0.15)
    made, _ = learnt(low, start.program, tmp_path / "a", decay=0.0, steps=120)
    plain = answers(start.program, tmp_path / "f")
    before, after = (
        float(np.square(answers(one.simulated(), tmp_path / str(k)) - plain).mean())
        for k, one in enumerate((low, made))
    )
    assert after < 0.5 * before
    names = {layer.input for layer in made.table.quantized}
    assert any(made.table.activations[n].threshold > 1.05 * low.table.activations[n].threshold for n in names)
    assert all(made.table.activations[n].threshold < made.table.activations[n].maximum for n in names)


def test_an_alpha_that_crosses_zero_leaves_a_scale(start: Int8) -> None:
    values: dict[str, Any] = {name: np.array([-1.0], np.float32) for name in pact.clips(start)}
    made = pact.trained(start, values)
    for layer in made.table.quantized:
        was = start.table.activations[layer.input].threshold
        assert made.table.activations[layer.input].threshold == pytest.approx(0.05 * was)
