"""The int8 ONNX: what is in it, what ONNX Runtime makes of it, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import paddle
import pytest
from onnx import TensorProto, helper, numpy_helper
from paddle import nn

from edgekit.backends import onnx as backend
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import write_onnx, write_paddle
from edgekit.quantization.table import Channels, Table, output_grid
from tests.program import nets


@dataclass
class Made:
    program: Program
    table: Table
    floats: onnx.ModelProto
    model: onnx.ModelProto
    file: Path


def make(kind: Any, folder: Path) -> Made:
    nets.export(nets.make(kind), folder)
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    table = nets.calibrated(program, folder / "c", nets.pictures(16))
    return quantized(program, table, onnx.load(nets.to_onnx(program, folder / "o")), folder)


def quantized(program: Program, table: Table, floats: onnx.ModelProto, folder: Path) -> Made:
    model = write_onnx.write(floats, table)
    onnx.save(model, folder / "int8.onnx")
    return Made(program, table, floats, model, folder / "int8.onnx")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    yield make(nets.Mixed, tmp_path_factory.mktemp("mixed"))


def optimised(model: Path, level: Any) -> list[Any]:
    """The nodes that ONNX Runtime really runs."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(model.with_name("optimised.onnx"))
    options.log_severity_level = 4
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return list(onnx.load(options.optimized_model_filepath).graph.node)


@pytest.mark.parametrize("level", ["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_every_int8_layer_runs_as_integers(level: str, mixed: Made) -> None:
    kinds = [node.op_type for node in optimised(mixed.file, getattr(ort.GraphOptimizationLevel, level))]
    assert kinds.count("QLinearConv") == 5  # the other two see one pixel
    assert not {"Conv", "FusedConv", "Relu"} & set(kinds)  # a ReLU is the lower end of the range
    assert kinds.count("QGemm") == 3 and not {"MatMul", "Gemm"} & set(kinds)


@pytest.mark.parametrize(("shape", "kernel"), [((32,), "QGemm"), ((5, 32), "MatMulIntegerToFloat")])
def test_matmuls_run_as_integers(shape: tuple[int, ...], kernel: str, tmp_path: Path) -> None:
    """With and without a dimension between batch and channels (text recognition has one)."""
    program = edit.lite_ready(graph.load(nets.export(nets.make(nets.Matmuls), tmp_path, (None, *shape))))
    feeds = nets.pictures(8, shape=shape)
    table = nets.calibrated(program, tmp_path / "c", feeds)
    model = write_onnx.write(onnx.load(nets.to_onnx(program, tmp_path / "o")), table)
    onnx.save(model, tmp_path / "q.onnx")
    kinds = [
        n.op_type for n in optimised(tmp_path / "q.onnx", ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    ]
    assert kinds.count(kernel) == 1 and kinds.count("MatMul") + kinds.count("Gemm") == 3
    (wanted,) = nets.run(program, tmp_path / "f", feeds[:1])
    (got,) = backend.load(tmp_path / "q.onnx", threads=1)(feeds[0]).values()
    (before,) = wanted.values()
    assert nets.sqnr(before[..., -16:], got[..., -16:]) > 25
    np.testing.assert_allclose(got[..., :-16], before[..., :-16], atol=1e-5)


def test_what_is_float_stays_float(mixed: Made, tmp_path: Path) -> None:
    table = nets.calibrated(mixed.program, tmp_path / "c", nets.pictures(4), ["depthwise", "last:1"])
    made = quantized(mixed.program, table, mixed.floats, tmp_path)
    kinds = [node.op_type for node in optimised(made.file, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)]
    assert (kinds.count("QLinearConv"), kinds.count("QGemm")) == (4, 2)
    assert kinds.count("Conv") + kinds.count("FusedConv") == 1
    assert kinds.count("MatMul") + kinds.count("Gemm") == 1


def test_weights_are_stored_as_int8_and_only_so(mixed: Made) -> None:
    initializers = {i.name: i for i in mixed.model.graph.initializer}
    for layer in mixed.table.quantized:
        weight = mixed.program.params[layer.weight]
        weight = weight.reshape(weight.shape[:2]) if layer.pooled else weight
        shapes = [i for i in initializers.values() if list(i.dims) == list(weight.shape)]
        assert [i.data_type for i in shapes if i.name.startswith(layer.weight)] == [TensorProto.INT8]
        # The integers times the table's scales are the weights, within half a step.
        integers = numpy_helper.to_array(initializers[f"{layer.weight}.q"])
        unit = np.array(mixed.table.weights[layer.weight])
        unit = unit.reshape([-1 if k == layer.axis else 1 for k in range(weight.ndim)])
        assert np.abs(integers * unit - weight).max() <= unit.max() * 0.5001
        assert np.abs(integers).max() == 127
    floats = [i for i in initializers.values() if i.data_type == TensorProto.FLOAT]
    large = [i for i in floats if len(i.dims) > 1 and list(i.dims[1:]) != [1, 1]]
    assert not large
    assert mixed.file.stat().st_size < 0.6 * mixed.floats.ByteSize()


def test_activations_are_uint8(mixed: Made) -> None:
    values = {i.name: numpy_helper.to_array(i) for i in mixed.model.graph.initializer}
    thresholds = {float(np.float32(a.threshold / 127)) for a in mixed.table.activations.values()}
    lows = {0, *(a.floor for a in mixed.table.activations.values() if a.floor is not None)}
    assert lows == {0, -0.375, -3}  # relu, hard swish, what a hard swish reads
    tops = [a.threshold for a in mixed.table.activations.values()]
    by_output = {layer.output: layer for layer in mixed.table.quantized}
    channels = {float(output_grid(mixed.table, by_output[name])[0].max()) for name in mixed.table.outputs}
    quantizers = [node for node in mixed.model.graph.node if node.op_type == "QuantizeLinear"]
    assert quantizers
    for node in quantizers:
        scale, zero = values[node.input[1]], values[node.input[2]]
        assert zero.dtype == np.uint8 and scale.shape == ()
        if int(zero) == 128:
            assert float(scale) in thresholds | channels
        else:
            steps = [
                (top - low) / 255 for top in tops for low in lows if round(-low * 255 / (top - low)) == zero
            ]
            assert float(scale) in channels or any(float(scale) == np.float32(step) for step in steps)


def test_inputs_and_outputs_keep_their_names(mixed: Made) -> None:
    for part in ("input", "output"):
        assert [v.name for v in getattr(mixed.model.graph, part)] == [
            v.name for v in getattr(mixed.floats.graph, part)
        ]
    assert mixed.model.graph.output[0].name == mixed.program.fetches[0]


def test_answers(mixed: Made, tmp_path: Path) -> None:
    """Close to float, and to Paddle's simulation of the quantized program."""
    feeds = nets.pictures(4, seed=41)
    name = mixed.program.fetches[0]
    floats = nets.run(mixed.program, tmp_path / "f", feeds)
    simulated = nets.run(write_paddle.write(mixed.program, mixed.table), tmp_path / "s", feeds)
    run = backend.load(mixed.file, threads=1)
    for feed, wanted, simulation in zip(feeds, floats, simulated, strict=True):
        got = run(feed)[name]
        assert nets.cosine(wanted[name], got) >= 0.99
        assert nets.cosine(simulation[name], got) >= 0.99


def test_the_float_model_is_left_alone(mixed: Made) -> None:
    before = mixed.floats.SerializeToString()
    write_onnx.write(mixed.floats, mixed.table)
    assert mixed.floats.SerializeToString() == before


def test_equal_input_equal_bytes(mixed: Made) -> None:
    assert write_onnx.write(mixed.floats, mixed.table).SerializeToString() == mixed.file.read_bytes()


def test_a_layer_that_the_model_lacks(mixed: Made) -> None:
    strange = mixed.table.layers[0].model_copy(update={"weight": "elsewhere"})
    table = mixed.table.model_copy(
        update={
            "layers": [*mixed.table.layers, strange],
            "weights": {**mixed.table.weights, "elsewhere": [1.0]},
        }
    )
    with pytest.raises(KeyError, match="elsewhere"):
        write_onnx.write(mixed.floats, table)


def test_a_relu_whose_input_is_an_output_is_not_fused(mixed: Made, tmp_path: Path) -> None:
    layer = next(x for x in mixed.table.quantized if x.relu)
    program = edit.cut(mixed.program, {"raw": layer.output, "after": str(layer.relu)})
    table = nets.calibrated(program, tmp_path / "c", nets.pictures(8))
    onnx.save(write_onnx.write(onnx.load(nets.to_onnx(program, tmp_path)), table), tmp_path / "q.onnx")
    feed = nets.pictures(1, seed=51)
    (wanted,) = nets.run(program, tmp_path / "f", feed)
    got = backend.load(tmp_path / "q.onnx")(feed[0])
    assert wanted["raw"].min() < -0.1
    assert nets.cosine(wanted["raw"], got["raw"]) > 0.99
    assert nets.cosine(wanted["after"], got["after"]) > 0.99


def channels(made: Made, folder: Path) -> list[float]:
    """SQNR of each output channel."""
    feeds, name = nets.pictures(4, seed=61), made.program.fetches[0]
    wanted = np.concatenate([a[name] for a in nets.run(made.program, folder / "f", feeds)])
    run = backend.load(made.file, threads=1)
    got = np.concatenate([run(feed)[name] for feed in feeds])
    return [nets.sqnr(wanted[:, c], got[:, c]) for c in range(wanted.shape[1])]


def test_uneven_output_channels_keep_their_precision(tmp_path: Path) -> None:
    """One scale for all channels of an output ruins the small ones; a threshold per channel does not."""
    made = make(nets.Uneven, tmp_path)
    (reach,) = made.table.outputs.values()
    assert max(reach.highs) / min(reach.highs) > 100
    with_channels = channels(made, tmp_path)
    # Still one integer convolution.
    kinds = [node.op_type for node in optimised(made.file, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)]
    assert kinds.count("QLinearConv") == 1
    one_scale = made.table.model_copy(update={"outputs": {}})
    without = channels(quantized(made.program, one_scale, made.floats, tmp_path), tmp_path)
    assert min(with_channels) > 30
    assert min(without) < 5
    assert abs(max(with_channels) - max(without)) < 6  # the largest channel was well off anyway


def test_each_channels_levels_lie_between_its_own_ends(tmp_path: Path) -> None:
    """A channel from 16 to 24 has 255 levels there, not 43."""

    class Lopsided(nets.Uneven):
        def __init__(self) -> None:
            super().__init__()
            weight = self.conv.weight
            self.conv.bias.set_value(20 * paddle.sqrt(paddle.square(weight).sum((1, 2, 3))))

    made = make(Lopsided, tmp_path)
    ((name, reach),) = made.table.outputs.items()
    assert reach.lows is not None
    own = channels(made, tmp_path)
    ends = np.maximum(np.abs(reach.lows), np.abs(reach.highs))
    even = Channels(highs=ends.tolist(), lows=(-ends).tolist())
    table = made.table.model_copy(update={"outputs": {name: even}})
    around_zero = channels(quantized(made.program, table, made.floats, tmp_path), tmp_path)
    assert np.mean(np.subtract(own, around_zero)) > 6


def test_channel_factors_cost_no_bit(tmp_path: Path) -> None:
    """BatchNormalization gives what the multiplication gives; other multiplications stay."""
    rng = np.random.default_rng(0)
    factors = {"c": (5, 1, 1), "one": (1, 1, 1), "row": (5,)}
    constants = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in factors.items()
    ]
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["y"]),
        helper.make_node("Mul", ["one", "y"], ["z"]),
        helper.make_node("Mul", ["z", "row"], ["answer"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 5, 7, 5]) for name in ("x", "answer")]
    graph_ = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph_, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    feed = {"x": rng.normal(size=(2, 5, 7, 5)).astype(np.float32)}
    answers = []
    for file in (tmp_path / "plain.onnx", tmp_path / "scaled.onnx"):
        onnx.save(model, file)
        answers.append(backend.load(file, threads=1)(feed)["answer"])
        write_onnx._scale_channels(model)
    assert [node.op_type for node in onnx.load(tmp_path / "scaled.onnx").graph.node] == [
        "BatchNormalization",
        "Mul",
        "Mul",
    ]
    np.testing.assert_array_equal(*answers)


def test_behind_a_pooling_products_of_integers_answer_in_float(tmp_path: Path) -> None:
    """ONNX Runtime pools in integers when a quantized layer follows, and then wants one scale."""
    made = make(nets.Squeezed, tmp_path)
    assert len(made.table.quantized) == 2 and made.table.layers[0].output not in made.table.outputs
    kinds = [node.op_type for node in optimised(made.file, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)]
    assert kinds.count("QLinearConv") == kinds.count("QGemm") == 1 and "QLinearGlobalAveragePool" in kinds
    assert [layer.pooled for layer in made.table.quantized] == [False, True]
    (gate,) = (layer for layer in made.table.quantized if layer.pooled)
    assert gate.output not in made.table.activations
    feed = nets.pictures(1, seed=61)[0]
    (wanted,) = nets.run(made.program, tmp_path / "f", [feed])
    got = backend.load(made.file, threads=1)(feed)
    assert nets.sqnr(next(iter(wanted.values())), next(iter(got.values()))) > 25


class Three(nn.Layer):  # type: ignore[misc]
    """Convolutions and ReLUs; the weights of the second differ a hundredfold from channel to channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 8, 1), nn.Conv2D(8, 4, 1)
        spread = np.geomspace(0.01, 1, 8, dtype=np.float32)
        self.second.weight.set_value(self.second.weight * paddle.to_tensor(spread).reshape([8, 1, 1, 1]))
        self.third.weight.set_value(self.third.weight / paddle.to_tensor(spread).reshape([1, 8, 1, 1]))

    def forward(self, x: Any) -> Any:
        act = nn.functional.relu
        return self.third(act(self.second(act(self.first(x)))))


def test_a_float_layer_between_int8_ones_stays_float(tmp_path: Path) -> None:
    """ONNX Runtime would round its weights with one scale: as it runs and without any optimization the
    answers are the same, save for the last bit."""
    nets.export(nets.make(Three), tmp_path)
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(tmp_path)))
    (_, middle, _) = nets.calibrated(program, tmp_path / "a", nets.pictures(4)).layers
    table = nets.calibrated(program, tmp_path / "c", nets.pictures(16), [middle.name])
    made = quantized(program, table, onnx.load(nets.to_onnx(program, tmp_path / "o")), tmp_path)
    kinds = [node.op_type for node in optimised(made.file, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)]
    assert kinds.count("QLinearConv") == 2 and {"Conv", "FusedConv"} & set(kinds)
    answers = []
    for level in (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = ort.InferenceSession(str(made.file), options, providers=["CPUExecutionProvider"])
        answers.append(np.concatenate([session.run(None, feed)[0] for feed in nets.pictures(4, seed=8)]))
    assert nets.sqnr(answers[1], answers[0]) > 45


class Constant(nn.Layer):  # type: ignore[misc]
    """Two channels whose weights are all but nothing beside their bias, as training leaves dead ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 4, 1)
        sizes = np.array([1, 1, 1e-11, 1, 1, 1e-9, 1, 1], np.float32)
        self.first.weight.set_value(self.first.weight * paddle.to_tensor(sizes).reshape([8, 1, 1, 1]))
        self.first.bias.set_value(paddle.to_tensor(np.array([0, 0, 2, 0, 0, 1, 0, 0], np.float32)))

    def forward(self, x: Any) -> Any:
        return self.second(nn.functional.relu(self.first(x)))


def test_constant_channels_keep_their_value(tmp_path: Path) -> None:
    nets.export(nets.make(Constant), tmp_path)
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(tmp_path)))
    table = nets.calibrated(program, tmp_path / "c", nets.pictures(16))
    made = quantized(program, table, onnx.load(nets.to_onnx(program, tmp_path / "o")), tmp_path)
    for initializer in made.model.graph.initializer:
        if initializer.data_type == TensorProto.INT32:
            assert np.abs(numpy_helper.to_array(initializer).astype(np.int64)).max() < 2**30
    feeds = nets.pictures(4, seed=8)
    (name,) = program.fetches
    wanted = np.concatenate([one[name] for one in nets.run(program, tmp_path / "w", feeds)])
    run = backend.load(made.file)
    got = np.concatenate([next(iter(run(feed).values())) for feed in feeds])
    assert nets.sqnr(wanted, got) > 20
