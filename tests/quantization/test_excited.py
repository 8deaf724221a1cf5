"""Thresholds by channel in the int8 ONNX, through a squeeze-and-excitation block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paddle
from paddle import nn

from edgekit.backends import onnx as onnx_backend
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import repair, write_onnx
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
