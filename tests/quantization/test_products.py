"""Hard swishes from levels: against float ones, against NumPy's, and by what ONNX Runtime makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import paddle
import pytest

from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import products, repair, rule, write_onnx
from edgekit.quantization.products import Reach
from edgekit.quantization.repair import Int8
from edgekit.quantization.table import Product, Table, output_grid
from tests.program import nets
from tests.quantization.test_repair import FEEDS, PICTURES, UNSEEN, Steep, ranges
from tests.quantization.test_write_onnx import optimised

Floats = npt.NDArray[np.float32]


def swish(y: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    return np.asarray(y * np.minimum(np.maximum(y + 3, 0), 6) / 6, np.float64)


@dataclass
class Made:
    folder: Path
    int8: Int8
    without: Int8  # the same scales of what layers read, hard swishes in float

    def model(self, table: Table, name: str) -> Path:
        file = self.folder / f"{name}.onnx"
        if not file.is_file():
            floats = onnx.load(nets.to_onnx(self.int8.program, self.folder / f"{name}-o"))
            onnx.save(write_onnx.write(floats, table), file)
        return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    paddle.disable_static()
    folder = tmp_path_factory.mktemp("products")
    net = nets.export(nets.make(Steep), folder / "net")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(net)))
    layers = rule.layers(program, [])
    reach = ends(program, folder)
    found, _ = repair.grids(
        program, layers, ranges(program, folder / "r"), PICTURES, lambda: None, factors=True, outputs=reach
    )
    chosen, levels = repair.chosen(program, layers, found)
    even, names = repair.evened(program, layers, chosen)
    scales = nets.calibrated(even, folder / "c", FEEDS)
    yield Made(
        folder,
        Int8(even, repair.with_grids(scales, chosen, names, levels)),
        Int8(even, repair.with_grids(scales, chosen, names, {})),
    )


def ends(program: Program, folder: Path) -> dict[str, tuple[Floats, Floats]]:
    names = [layer.output for layer in rule.layers(program, [])]
    seen = nets.run(edit.cut(program, {name: name for name in names}), folder / "y", FEEDS)
    return {
        name: (
            np.min([one[name].min((0, 2, 3)) for one in seen], 0),
            np.max([one[name].max((0, 2, 3)) for one in seen], 0),
        )
        for name in names
    }


def run(file: Path) -> Floats:
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, feed)[0] for feed in UNSEEN])


def test_all_hard_swishes_between_int8_layers_are_integers(made: Made) -> None:
    """Three of them, none by float ops: ONNX Runtime really runs each as products of uint8."""
    table = made.int8.table
    assert len(table.products) == 3
    assert any(table.activations[p.tensor].factors is not None for p in table.products.values())
    kinds = [
        node.op_type
        for node in optimised(made.model(table, "levels"), ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    ]
    assert kinds.count("QLinearConv") == 4
    assert kinds.count("QLinearMul") >= 3
    assert not {"HardSwish", "HardSigmoid", "Mul", "BatchNormalization"} & set(kinds)


def test_answers_are_as_near_as_with_float_hard_swishes(made: Made) -> None:
    """What rounding before a hard swish costs is in both; the one has levels for each channel besides."""
    program = made.int8.program
    (name,) = program.fetches
    wanted = np.concatenate([one[name] for one in nets.run(program, made.folder / "w", UNSEEN)])
    levels, floats = (
        run(made.model(table, what))
        for table, what in ((made.int8.table, "levels"), (made.without.table, "floats"))
    )
    off = [np.square(got - wanted).mean() / wanted.var() for got in (levels, floats)]
    assert off[1] < 0.01
    assert off[0] < 3 * off[1]
    assert not np.array_equal(levels, floats)


def test_each_value_is_the_hard_swish_of_its_level(made: Made) -> None:
    """What a layer reads against NumPy, from the levels that ONNX Runtime made of the layer before: within
    one level, for the gate is rounded, too."""
    table = made.int8.table
    for layer in table.quantized:
        if layer.output not in table.products:
            continue
        product = table.products[layer.output]
        activation = table.activations[product.tensor]
        model = onnx.load(made.model(table, "levels"))
        convolutions = {node.input[1]: node for node in model.graph.node if node.op_type == "Conv"}
        makers = {name: node for node in model.graph.node for name in node.output}
        reader = next(each for each in table.quantized if each.input == product.tensor)
        made_by, read_by = convolutions[f"{layer.weight}.d"], convolutions[f"{reader.weight}.d"]
        after = next(node for node in model.graph.node if made_by.output[0] in node.input)
        assert after.op_type == "QuantizeLinear"
        for name in (after.output[0], makers[read_by.input[0]].input[0]):
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        *_, levels, read = session.run(None, UNSEEN[0])
        steps, zero = output_grid(table, layer)
        y = (levels.astype(np.float64) - zero) * steps.reshape(1, -1, 1, 1)
        s = np.ones(1) if activation.factors is None else np.asarray(activation.factors)
        step, point = activation.grid
        wanted = np.clip(swish(y) / s.reshape(1, -1, 1, 1) / step + point, 0, 255)
        assert len(np.unique(levels)) > 50
        # The gate's levels are 1 / 255 apart, and the lower half of them lies .002 lower.
        slack = 0.5 + 0.004 * np.abs(y / s.reshape(1, -1, 1, 1)).max() / step
        assert np.abs(read - wanted).max() <= slack


def test_minus_three_nothing_and_three_are_levels_where_channels_have_one_unit() -> None:
    reach = Reach.of(np.array([-20, -1], np.float32), np.array([11, 2], np.float32))
    found = products.levels(reach, "x", None, lambda product: product.step)
    assert found.step * found.zero_point == pytest.approx(3)
    whole = products.levels(reach, "x", None, lambda product: -product.step)
    assert (255 - whole.zero_point) * whole.step >= 11


def test_all_values_lie_between_the_levels_of_their_channels() -> None:
    rng = np.random.default_rng(1)
    lows, highs = -rng.uniform(0, 30, 32), rng.uniform(0.1, 60, 32)
    reach = Reach.of(lows.astype(np.float32), highs.astype(np.float32))
    for factors in products.candidates(reach, (0.0, 0.5, 1.0)):
        if factors is None:
            continue
        shares = factors * 255
        assert shares.max() == 255 and shares.min() >= 1
        np.testing.assert_allclose(shares, np.rint(shares), atol=1e-9)
        product = products.levels(reach, "x", factors, lambda each: -each.step)
        least = -product.zero_point * product.step * factors
        most = (255 - product.zero_point) * product.step * factors
        slack = 0.51 * product.step * factors
        assert (least <= np.maximum(lows, -3) + slack).all() and (most >= highs - slack).all()
        y = np.linspace(least, most, 4001)
        assert products.lowest(product, factors) <= (swish(y) / factors).min() + 1e-9


def test_no_levels_where_another_op_reads_the_hard_swish(tmp_path: Path) -> None:
    """`Mixed` adds the one, and puts the other beside another tensor."""
    paddle.disable_static()
    program = edit.lite_ready(
        edit.fold_batch_norm(graph.load(nets.export(nets.make(nets.Mixed), tmp_path / "m")))
    )
    assert products.places(program, rule.layers(program, [])) == {}


def test_no_levels_where_a_layer_is_float(made: Made) -> None:
    net = graph.load(nets.export(nets.make(Steep), made.folder / "again"))
    program = edit.lite_ready(edit.fold_batch_norm(net))
    layers = rule.layers(program, [])
    assert len(products.places(program, layers)) == 3
    for name, left in ((layers[0].name, 2), (layers[1].name, 1), (layers[3].name, 2)):
        some = rule.layers(program, [name])
        assert len(products.places(program, some)) == left, name


def test_noise_is_what_rounding_does(made: Made) -> None:
    rng = np.random.default_rng(2)
    y = (rng.normal(size=(20000, 4)) * [0.5, 2, 8, 30]).astype(np.float32)
    reach = Reach.of(y.min(0), y.max(0))
    factors = np.array([15, 60, 130, 255]) / 255
    product = Product(tensor="x", step=2 * float((reach.highs / factors).max()) / 255, zero_point=127)
    found = products.noise(y, reach, product, factors)
    # In the linear part of the last channel: a step's square over twelve.
    linear = y[:, 3] > 4
    assert found[3] == pytest.approx((product.step**2 / 12) * linear.mean(), rel=0.2)
    assert (np.diff(found) > 0).all()
