"""Thresholds by channel in the int8 ONNX, through a squeeze-and-excitation block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paddle
import pytest
from paddle import nn

from edgekit.backends import onnx as onnx_backend
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import repair, write_onnx, write_paddle
from edgekit.quantization.table import Table
from tests.program import nets

FEEDS, UNSEEN = nets.pictures(16), nets.pictures(12, seed=9)
PICTURES = [feed["x"][0] for feed in FEEDS]


class Excited(nn.Layer):  # type: ignore[misc]
    """A squeeze-and-excitation block behind a ReLU whose channels differ a hundredfold."""

    def __init__(self) -> None:
        super().__init__()
        spread = np.geomspace(0.01, 1, 16, dtype=np.float32)
        self.stem = nn.Conv2D(3, 16, 3, padding=1)
        self.stem.weight.set_value(self.stem.weight * paddle.to_tensor(spread).reshape([16, 1, 1, 1]))
        self.stem.bias.set_value(self.stem.bias * paddle.to_tensor(spread))
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.squeeze, self.excite = nn.Conv2D(16, 8, 1), nn.Conv2D(8, 16, 1)
        self.head = nn.Conv2D(16, 8, 1)
        self.head.weight.set_value(self.head.weight / paddle.to_tensor(spread).reshape([1, 16, 1, 1]))

    def forward(self, x: Any) -> Any:
        x = nn.functional.relu(self.stem(x))
        gate = nn.functional.sigmoid(self.excite(nn.functional.relu(self.squeeze(self.pool(x)))))
        return self.head(x * gate)


def opened(kind: Any, folder: Path) -> tuple[Program, Table]:
    paddle.disable_static()
    nets.export(nets.make(kind), folder / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder / "m")))
    return program, nets.calibrated(program, folder / "c", FEEDS)


def by_onnx_runtime(program: Program, table: Table, folder: Path) -> nets.Array:
    model = write_onnx.write(onnx.load(nets.to_onnx(program, folder)), table)
    onnx.save(model, folder / "int8.onnx")
    run = onnx_backend.load(folder / "int8.onnx")
    return np.concatenate([next(iter(run(feed).values())) for feed in UNSEEN])


def by_paddle(program: Program, folder: Path) -> nets.Array:
    return np.concatenate([next(iter(one.values())) for one in nets.run(program, folder, UNSEEN)])


def test_behind_squeeze_and_excitation_channels_have_thresholds_for_nothing(tmp_path: Path) -> None:
    program, table = opened(Excited, tmp_path)
    stem = table.quantized[0]
    assert stem.relu is not None
    # Only the stem: nobody reads its answer in int8.
    layers = [each.model_copy(update={"int8": each.name == stem.name}) for each in table.layers]
    table = table.model_copy(update={"layers": layers, "outputs": {}})
    seen = nets.run(edit.cut(program, {stem.relu: stem.relu}), tmp_path / "r", FEEDS)
    peaks = np.max([one[stem.relu].max((0, 2, 3)) for one in seen], 0)
    better = repair.only_onnx(program, table, {stem.relu: peaks}, {stem.relu: peaks}, PICTURES, lambda: None)
    assert set(better.outputs) == {stem.output}
    wanted = by_paddle(program, tmp_path / "f")
    errors = [
        np.square(by_onnx_runtime(program, each, tmp_path / str(k)) - wanted).mean()
        for k, each in enumerate((table, better))
    ]
    assert errors[1] < 0.3 * errors[0]
    # What makes up for the thresholds multiplies 16 values, not a picture.
    model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "1" / "int8.onnx"))
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    large = [
        node
        for node in model.graph.node
        if node.op_type in ("Mul", "BatchNormalization") and shapes[node.output[0]][2:] != [1, 1]
    ]
    assert len(large) == 1


class Chained(nn.Layer):  # type: ignore[misc]
    """A convolution behind a ReLU whose channels differ a hundredfold, with or without windows."""

    def __init__(self, kernel: int = 1) -> None:
        super().__init__()
        spread = np.geomspace(0.01, 1, 16, dtype=np.float32)
        self.stem = nn.Conv2D(3, 16, 3, padding=1)
        self.stem.weight.set_value(self.stem.weight * paddle.to_tensor(spread).reshape([16, 1, 1, 1]))
        self.stem.bias.set_value(self.stem.bias * paddle.to_tensor(spread))
        self.head = nn.Conv2D(16, 8, kernel)
        self.head.weight.set_value(self.head.weight / paddle.to_tensor(spread).reshape([1, 16, 1, 1]))

    def forward(self, x: Any) -> Any:
        return self.head(nn.functional.relu(self.stem(x)))


@pytest.mark.parametrize("kernel", [1, 3])
def test_before_a_convolution_in_float_channels_have_thresholds_for_nothing(
    kernel: int, tmp_path: Path
) -> None:
    program, table = opened(lambda: Chained(kernel), tmp_path)
    stem = table.quantized[0]
    layers = [each.model_copy(update={"int8": each.name == stem.name}) for each in table.layers]
    table = table.model_copy(update={"layers": layers, "outputs": {}})
    seen = nets.run(edit.cut(program, {stem.relu: stem.relu}), tmp_path / "r", FEEDS)
    peaks = np.max([one[stem.relu].max((0, 2, 3)) for one in seen], 0)
    better = repair.only_onnx(program, table, {stem.relu: peaks}, {stem.relu: peaks}, PICTURES, lambda: None)
    wanted = by_paddle(program, tmp_path / "f")
    errors = [
        np.square(by_onnx_runtime(program, each, tmp_path / str(k)) - wanted).mean()
        for k, each in enumerate((table, better))
    ]
    assert errors[1] < 0.3 * errors[0]
    kinds = [node.op_type for node in onnx.load(tmp_path / "1" / "int8.onnx").graph.node]
    assert not {"Mul", "BatchNormalization"} & set(kinds)


def test_each_file_takes_its_own_layers(tmp_path: Path) -> None:
    """One layer int8 in both, one in ONNX alone, one in Paddle's program alone."""
    program, table = opened(Excited, tmp_path)
    stem, squeeze, excite, head = table.layers
    layers = [
        stem,
        squeeze.model_copy(update={"only": "onnx"}),
        excite,
        head.model_copy(update={"only": "lite"}),
    ]
    table = table.model_copy(update={"layers": layers})
    made = write_paddle.write(program, table.of("lite"))
    assert write_paddle.int8_weights(made) == {stem.weight, excite.weight, head.weight}
    assert made.params[squeeze.weight].dtype == np.float32
    model = write_onnx.write(onnx.load(nets.to_onnx(program, tmp_path / "o")), table.of("onnx"))
    integers = {each.name for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8}
    for layer, wanted in ((stem, True), (squeeze, True), (excite, True), (head, False)):
        assert (f"{layer.weight}.q" in integers) == wanted, layer.name
    # Neither file is the other, and both are near the float answers.
    wanted = by_paddle(program, tmp_path / "f")
    onnx.save(model, tmp_path / "int8.onnx")
    run = onnx_backend.load(tmp_path / "int8.onnx")
    got = np.concatenate([next(iter(run(feed).values())) for feed in UNSEEN])
    lite = by_paddle(write_paddle.simulated(made), tmp_path / "l")
    for answers in (got, lite):
        assert nets.cosine(wanted, answers) > 0.9
    assert not np.allclose(got, lite, atol=1e-6)
