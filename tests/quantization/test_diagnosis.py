"""Figures of single layers against plain numpy, and the sentence that follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest
from paddle import nn

from edgekit.calibration.judging import Judge
from edgekit.folder import ClassificationPost, ModelInfo, Preprocess, Resize
from edgekit.program import graph
from edgekit.program.graph import Program
from edgekit.quantization import analysis, diagnosis, sensitivity
from edgekit.quantization.analysis import Analysis, Channels, LayerFigures
from edgekit.quantization.noise import BINS, Reading
from edgekit.quantization.table import Activation, Layer, Table
from tests.program import nets

Doubles = npt.NDArray[np.float64]

GAINS = np.array([1, 2, 3, 6, 7, 14, 60, 127], np.float32)
INFO = ModelInfo(
    name="hand", task="classification", inputs=[], outputs=[], labels=[],
    preprocess=Preprocess(
        resize=Resize(kind="exact", height=16, width=16, interpolation="linear"),
        mean=(0, 0, 0), std=(1, 1, 1),
    ),
    postprocess=ClassificationPost(probabilities="y"),
)  # fmt: skip


class Hand(nn.Layer):  # type: ignore[misc]
    """Three pointwise convolutions: the second reads channels that reach 1, 2, 3, 6, 7, 14, 60 and 127, and
    evens them out again."""

    def __init__(self) -> None:
        super().__init__()
        self.spread, self.even, self.mix = (
            nn.Conv2D(i, o, 1, bias_attr=False) for i, o in ((3, 8), (8, 8), (8, 4))
        )
        fan = np.zeros((8, 3, 1, 1), np.float32)
        fan[np.arange(8), np.arange(8) % 3, 0, 0] = GAINS
        self.spread.weight.set_value(fan)
        self.even.weight.set_value(np.diag(1 / GAINS)[:, :, None, None])

    def forward(self, x: Any) -> Any:
        return self.mix(self.even(self.spread(x)))


def pictures() -> list[npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    made = rng.uniform(-1, 1, (6, 3, 16, 16)).astype(np.float32)
    made[:, :, 0, 0] = 1
    return list(made)


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Table]:
    paddle.disable_static()
    folder = tmp_path_factory.mktemp("hand")
    program = graph.load(nets.export(nets.make(Hand), folder))
    scales = nets.calibrated(program, folder / "c", [{"x": picture[None]} for picture in pictures()])
    uneven = scales.layers[1].input
    # A step of 1: a channel has as many levels as it reaches.
    changed = {**scales.activations, uneven: Activation(threshold=127, maximum=127)}
    return program, scales.model_copy(update={"activations": changed})


def looked_at(program: Program, scales: Table) -> Analysis:
    judge = Judge(program, pictures(), lambda answers: {})
    costs = sensitivity.alone(program, scales, judge, lambda: None, weights=program)["lite"]
    return diagnosis.analysis(INFO, "by hand", scales, costs, program, program, 6)


def test_the_uneven_layer_comes_first_and_is_told_with_its_numbers(hand: tuple[Program, Table]) -> None:
    found = looked_at(*hand)
    names = [layer.name for layer in hand[1].layers]
    worst = found.layers[0]
    assert worst.name == names[1] and worst.error > 10 * found.layers[1].error
    # The median of 6 and 7 is 6.5; 1, 2, 3, 6 and 7 are fewer than 8.
    assert worst.sentence == (
        "The largest channel it reads is 19.5 times the median: 5 of 8 get fewer than 8 of 127 levels."
    )
    assert worst.ranges == pytest.approx(GAINS.tolist())
    assert sum(worst.histogram or []) == 6 * 8 * 16 * 16
    assert (worst.threshold, worst.clipped, worst.channels.few, worst.channels.alive) == (127, 0, 5, 8)
    # Weights of 1 / gain: all channels then count alike, and own scales would leave (1/8) sum of
    # (gain / 127)^2 * (1 / gain)^2 over the largest of these.
    spared = 1 - 8 / float((127**2 / GAINS.astype(np.float64) ** 2).sum())
    assert worst.channels.spared == pytest.approx(spared, rel=1e-6)
    assert worst.from_input == pytest.approx(1)  # its weights are exact


def test_sqnr_is_that_of_numpy(hand: tuple[Program, Table]) -> None:
    program, scales = hand
    found = {layer.name: layer for layer in looked_at(program, scales).layers}
    x = np.stack(pictures()).astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    weights = [program.params[layer.weight].astype(np.float64)[:, :, 0, 0] for layer in scales.layers]
    inside = [x, weights[0] @ x, weights[1] @ weights[0] @ x]
    truth = weights[2] @ inside[2]

    def db(wanted: Doubles, got: Doubles) -> float | None:
        noise = float(np.square(got - wanted).sum())
        return 10 * np.log10(np.square(wanted).sum() / noise) if noise > 1e-9 else None

    for k, layer in enumerate(scales.layers):
        step = scales.activations[layer.input].threshold / 127
        read = np.clip(np.rint(inside[k] / step), -127, 127) * step
        unit = np.abs(weights[k]).max(1, keepdims=True) / 127
        rounded = np.rint(weights[k] / unit) * unit
        got = found[layer.name]
        assert got.sqnr_input == pytest.approx(db(inside[k], read), abs=0.01)
        assert got.sqnr_output == pytest.approx(db(weights[k] @ inside[k], rounded @ read), abs=0.01)
        exact = db(weights[k], rounded)
        if exact is None:  # one weight in each row, which is the largest
            assert got.sqnr_weight is None or got.sqnr_weight > 100
        else:
            assert got.sqnr_weight == pytest.approx(exact, abs=0.01)
        after = rounded @ read
        for later in weights[k + 1 :]:
            after = later @ after
        # Every picture weighs the same: the variance is that of each.
        parts = [(truth[:, p : p + 256], after[:, p : p + 256]) for p in range(0, truth.shape[1], 256)]
        error = np.mean([np.square(b - a).mean() / a.var() for a, b in parts])
        assert got.error == pytest.approx(error, rel=1e-3)


def test_what_a_layer_reads_is_counted() -> None:
    x = np.zeros((2, 2, 1, 4), np.float32)
    x[0, 0] = [[3.01, -0.99, 0.4, 0.6]]
    x[1, 1] = [[0.001, 0.51, 0.0, -8.0]]
    reading = Reading(threshold=1.0, maximum=4.0, width=None)
    made = reading.add(x[:1])
    reading.add(x[1:])
    np.testing.assert_allclose(made[0, 0, 0], [1, -126 / 127, 51 / 127, 76 / 127], rtol=1e-6)
    assert (reading.values, reading.clipped, reading.zeroed) == (16, 2, 1)
    np.testing.assert_allclose(reading.ranges, [3.01, 8])
    np.testing.assert_allclose(reading.clipping, [2.01**2, 7**2], rtol=1e-6)
    off = np.square([0.99 - 126 / 127, 0.4 - 51 / 127, 0.6 - 76 / 127, 0.51 - 65 / 127])
    fine = [off[:3].sum(), 0.001**2 + off[3]]
    np.testing.assert_allclose(reading.noise - reading.clipping, fine, rtol=1e-3)
    # Bins of 1 / 16; -8 is beyond the last and counted in it.
    wanted = np.zeros(BINS, np.int64)
    wanted[[0, 6, 8, 9, 15, 48, 63]] = [10, 1, 1, 1, 1, 1, 1]
    np.testing.assert_array_equal(reading.counts, wanted)


def test_a_matmul_reads_rows() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    reading = Reading(threshold=23.0, maximum=23.0, width=4)
    reading.add(x)
    np.testing.assert_array_equal(reading.ranges, [20, 21, 22, 23])


def test_weights_by_input_channel() -> None:
    """Of a convolution in 3 groups, 12 -> 6 channels."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(6, 4, 3, 3))
    found = diagnosis.by_input(a_layer("conv2d"), weight, 12)
    for channel in range(12):
        group = channel // 4
        wanted = weight[2 * group : 2 * group + 2, channel % 4]
        np.testing.assert_array_equal(np.sort(found[channel]), np.sort(wanted.ravel()))


def a_layer(kind: str) -> Layer:
    return Layer(
        name="l", type=kind, input="x", output="y", weight="l.w_0", bias=None, relu=None, axis=0, macs=1,
        params=1, int8=True, reason="",
    )  # fmt: skip


def figures(**changes: Any) -> LayerFigures:
    even = Channels(count=48, alive=48, largest=2.0, median=1.5, few=0, spared=0.4)
    usual: dict[str, Any] = {
        "name": "l", "type": "conv2d", "macs": 1, "int8": True, "error": 0.01, "sqnr_input": 33.3,
        "sqnr_weight": 41.4, "sqnr_output": 28.4, "from_input": 1.0, "threshold": 3.2, "maximum": 6.06,
        "evened": False, "clipped": 0.0, "clipping": 0.0, "zeroed": 0.0, "channels": even,
        "weights_zeroed": 0.02, "silent": 0, "sentence": "",
    }  # fmt: skip
    return LayerFigures(**{**usual, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"error": 1.2e-5}, "Nothing: alone it costs 1e-05 of the outputs' variance."),
        (
            {"clipped": 0.031, "clipping": 0.97},
            "The threshold, 3.2, clips 3.1 % of what it reads, which reaches 6.06: that makes 97% of its "
            "error.",
        ),
        (
            {"channels": Channels(count=9, alive=8, largest=6.0, median=2.0, few=0, spared=0.93)},
            "The largest channel it reads is 3 times the median: by estimate a scale for each would spare "
            "93% of its error.",
        ),
        (
            {"channels": Channels(count=9, alive=8, largest=6.0, median=2.0, few=2, spared=0.5)},
            "The largest channel it reads is 3 times the median: 2 of 8 get fewer than 8 of 127 levels.",
        ),
        (
            {"zeroed": 0.62},
            "A few large values stretch the scale (threshold 3.2): 62% of what it reads rounds to zero.",
        ),
        (
            {"from_input": 0.25, "silent": 4},
            "Its weights make 75% of its error: those of 4 of 48 input channels round to zero.",
        ),
        (
            {"from_input": 0.25, "weights_zeroed": 0.3},
            "Its weights make 75% of its error: a few large ones stretch the scale, and 30% round to zero.",
        ),
        ({"from_input": 0.25}, "Its weights make 75% of its error: rounding leaves them 41 dB."),
        ({}, "No one cause: rounding leaves what it reads 33 dB and its answers 28 dB."),
        (
            {"from_input": None, "sqnr_output": None},
            "No one cause: rounding leaves what it reads 33 dB and its answers as it was.",
        ),
    ],
)
def test_sentences(changes: dict[str, Any], said: str) -> None:
    assert diagnosis.sentence(figures(**changes)) == said


def test_saved_and_loaded(hand: tuple[Program, Table], tmp_path: Path) -> None:
    assert analysis.load(tmp_path) is None
    found = looked_at(*hand)
    found.save(tmp_path)
    assert analysis.load(tmp_path) == found
