"""The quantized Paddle program: against fake quantization by hand, and what Paddle Lite makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgekit.backends import lite
from edgekit.backends import paddle as backend
from edgekit.program import edit, graph
from edgekit.program.graph import Program, inputs
from edgekit.quantization import table, write_paddle
from edgekit.quantization.table import Table
from tests.program import nets


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Table]:
    folder = nets.export(nets.make(nets.Mixed), tmp_path_factory.mktemp("mixed"))
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    return program, nets.calibrated(program, folder / "calibration", nets.pictures(16))


def convolve(x: npt.NDArray[np.float64], w: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Stride 2, padding 1, as in nets.Plain."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    return np.einsum("nchwij,ocij->nohw", windows, w)


def test_a_convolution_by_hand(tmp_path: Path) -> None:
    program = graph.load(nets.export(nets.make(nets.Plain), tmp_path))
    made = nets.calibrated(program, tmp_path / "c", nets.pictures(8))
    # Below the maximum, so that values are clipped.
    clip = 1.7
    made = made.model_copy(
        update={"activations": {**made.activations, "x": table.Activation(threshold=clip, maximum=4)}}
    )
    feeds = nets.pictures(3, seed=11)
    assert max(np.abs(feed["x"]).max() for feed in feeds) > 2 * clip
    got = nets.run(write_paddle.write(program, made), tmp_path / "q", feeds)
    weight = program.params["conv2d_0.w_0"].astype(np.float64)
    unit = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    weight = np.rint(weight / unit) * unit
    # Paddle's quantize_linear reaches to -128, as uint8 with zero point 128 does in ONNX.
    for feed, answer in zip(feeds, got, strict=True):
        steps = np.clip(np.rint(feed["x"].astype(np.float64) / clip * 127), -128, 127)
        np.testing.assert_allclose(
            answer[program.fetches[0]], convolve(steps / 127 * clip, weight), atol=1e-5
        )


def test_what_is_in_the_program(mixed: tuple[Program, Table]) -> None:
    program, scales = mixed
    made = write_paddle.write(program, scales)
    weights = {layer.weight for layer in scales.quantized}
    assert len(weights) == 8 and write_paddle.int8_weights(made) == weights
    assert all(made.params[name].dtype == np.int8 for name in weights)
    assert not [n for n, v in made.params.items() if v.dtype == np.float32 and v.ndim > 1]  # no float copy
    assert made.feeds == program.feeds and made.fetches == program.fetches
    # An input that two layers read is quantized once.
    sources = [inputs(op, "X")[0] for op in made.ops if op.type == "quantize_linear"]
    assert sorted(sources) == sorted({layer.input for layer in scales.quantized}) and len(sources) == 7
    for name in sources:
        assert made.params[f"{name}@scale"] == np.float32(scales.activations[name].threshold)


def test_a_layer_left_in_float_stays_as_it_is(mixed: tuple[Program, Table], tmp_path: Path) -> None:
    program, _ = mixed
    scales = nets.calibrated(program, tmp_path / "c", nets.pictures(4), ["conv2d_*"])
    made = write_paddle.write(program, scales)
    assert write_paddle.int8_weights(made) == {"linear_0.w_0"}
    for name in program.params:
        if name != "linear_0.w_0":
            np.testing.assert_array_equal(made.params[name], program.params[name])


def test_close_to_float(mixed: tuple[Program, Table], tmp_path: Path) -> None:
    program, scales = mixed
    targets = {"logits": scales.layers[-1].output}
    feeds = nets.pictures(4, seed=21)
    wanted = nets.run(edit.cut(program, targets), tmp_path / "a", feeds)
    got = nets.run(edit.cut(write_paddle.write(program, scales), targets), tmp_path / "b", feeds)
    for before, after in zip(wanted, got, strict=True):
        assert 0.99 <= nets.cosine(before["logits"], after["logits"]) < 0.999999


def test_the_simulation_gives_the_same_numbers(mixed: tuple[Program, Table], tmp_path: Path) -> None:
    program, scales = mixed
    feeds = nets.pictures(3, seed=31)
    wanted = nets.run(write_paddle.write(program, scales), tmp_path, feeds)
    made = write_paddle.simulated(graph.load(tmp_path))
    assert not write_paddle.int8_weights(made)
    (tmp_path / "s").mkdir()
    graph.write(made, tmp_path / "s")
    files = [tmp_path / "s" / "inference.pdmodel", tmp_path / "s" / "inference.pdiparams"]
    run = backend.load(*files, optimise=False, threads=1)
    for feed, before in zip(feeds, wanted, strict=True):
        for name, value in run(feed).items():
            np.testing.assert_allclose(value, before[name], rtol=0, atol=1e-6)


def test_unrounded_is_the_program_with_rounded_weights(mixed: tuple[Program, Table], tmp_path: Path) -> None:
    program, scales = mixed
    made = write_paddle.unrounded(write_paddle.write(program, scales))
    assert [op.type for op in made.block.ops] == [op.type for op in program.block.ops]
    assert set(made.params) == set(program.params)
    for name, value in program.params.items():
        scale = max(scales.weights[name]) if name in scales.weights else 0
        np.testing.assert_allclose(made.params[name], value, atol=0.51 * scale)
    again = write_paddle.write(made, scales)
    for name in write_paddle.int8_weights(again):
        np.testing.assert_array_equal(again.params[name], write_paddle.write(program, scales).params[name])


@pytest.mark.parametrize(
    ("keep_float", "convolutions", "depthwise"),
    [([], 6, 1), (["depthwise"], 6, 0), (["first:3"], 4, 0)],
    ids=["all", "depthwise", "first"],
)
def test_kernels_of_paddle_lite(
    keep_float: list[str], convolutions: int, depthwise: int, mixed: tuple[Program, Table], tmp_path: Path
) -> None:
    """Lite has exactly the int8 kernels that the table asks for, and the others in float."""
    program, _ = mixed
    scales = nets.calibrated(program, tmp_path / "c", nets.pictures(4), keep_float)
    graph.write(edit.compact(write_paddle.write(program, scales)), tmp_path)
    lite.optimise(tmp_path / "inference.pdmodel", tmp_path / "inference.pdiparams", "arm", tmp_path / "m.nb")
    found: dict[tuple[str, str], int] = {}
    for kernel, count in lite.kernels(tmp_path / "m.nb").items():
        kind, _, target, precision, _ = kernel.split("/")
        assert target in ("ARM", "HOST")
        found[kind, precision] = found.get((kind, precision), 0) + count
    assert found.get(("conv2d", "INT8"), 0) == convolutions
    assert found.get(("depthwise_conv2d", "INT8"), 0) == depthwise
    assert found.get(("conv2d", "FP32"), 0) == 6 - convolutions
    assert found.get(("depthwise_conv2d", "FP32"), 0) == 1 - depthwise
    assert not {kind for kind, _ in found} & {"quantize_linear", "dequantize_linear"}
