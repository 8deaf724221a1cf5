"""Repairs on small nets: float answers stay, int8 answers come nearer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import paddle
import pytest
from paddle import nn

from edgekit.backends import onnx as onnx_backend
from edgekit.calibration.judging import Judge, loss
from edgekit.calibration.readers import Floats, readers
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import equalise, repair, rounding, rule, sensitivity, write_onnx
from edgekit.quantization.repair import Int8
from edgekit.quantization.table import Activation, Table, dequantized, quantize_weight
from tests.program import nets
from tests.program.nets import conv_bn


class Steep(nn.Layer):  # type: ignore[misc]
    """Pointwise, hard swish, depthwise, hard swish, pointwise: channels a hundredfold apart in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = conv_bn(3, 16, 3), conv_bn(16, 16, 3, groups=16)
        self.last, self.head = conv_bn(16, 16, 1), nn.Conv2D(16, 8, 1)
        self.act = nn.Hardswish()
        sizes = np.geomspace(0.05, 5, 16).astype(np.float32)
        self.first[0].weight.set_value(self.first[0].weight * paddle.to_tensor(sizes).reshape([16, 1, 1, 1]))
        self.depthwise[0].weight.set_value(
            self.depthwise[0].weight / paddle.to_tensor(sizes[::-1].copy()).reshape([16, 1, 1, 1])
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.head(self.act(self.last(self.act(self.depthwise(self.act(self.first(x)))))))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    paddle.disable_static()
    folder = nets.export(nets.make(Steep), tmp_path_factory.mktemp("steep"))
    return edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))


FEEDS = nets.pictures(24, seed=11)
UNSEEN = nets.pictures(8, seed=12)
PICTURES: Sequence[Floats] = [feed["x"][0] for feed in FEEDS]


def ranges(program: Program, folder: Path) -> dict[str, Floats]:
    names = list(dict.fromkeys(layer.input for layer in rule.layers(program, [])))
    inner = {name: name for name in names if name not in program.feeds}
    seen = nets.run(edit.cut(program, inner), folder, FEEDS)
    return {
        name: np.max(
            [np.abs({**feed, **got}[name]).max((0, 2, 3)) for feed, got in zip(FEEDS, seen, strict=True)], 0
        )
        for name in names
    }


def even(program: Program, folder: Path) -> Int8:
    layers = rule.layers(program, [])
    grids, _ = repair.grids(
        program, layers, ranges(program, folder), PICTURES, lambda: None, factors=True, outputs={}
    )
    chosen, _ = repair.chosen(program, layers, grids)
    assert any(grid.factors is not None for grid in chosen.values())
    made, names = repair.evened(program, layers, chosen)
    table = nets.calibrated(made, folder / "c", FEEDS)
    return Int8(made, repair.with_grids(table, chosen, names, {}))


def off(program: Program, made: Program, folder: Path) -> float:
    (name,) = program.fetches
    wanted, got = (nets.run(p, folder / str(k), UNSEEN) for k, p in enumerate((program, made)))
    return float(
        np.mean([np.square(a[name] - b[name]).mean() for a, b in zip(wanted, got, strict=True)])
        / np.var([a[name] for a in wanted])
    )


def test_float_answers_stay(program: Program, tmp_path: Path) -> None:
    made = even(program, tmp_path).program
    assert sum(op.type == "elementwise_mul" for op in made.block.ops) > 0
    assert off(program, made, tmp_path) < 1e-10


def test_a_pooled_tensor_is_not_clipped_and_evened_with_care(tmp_path: Path) -> None:
    """Two dozen values of a channel say nothing of how far other pictures reach."""
    paddle.disable_static()
    folder = nets.export(nets.make(nets.Mixed), tmp_path / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    layers = rule.layers(program, [])
    pooled = nets.output_of(program, "pool2d")
    assert pooled in {layer.input for layer in layers if layer.int8}
    names = list(dict.fromkeys(layer.input for layer in layers if layer.int8))
    inner = {name: name for name in names if name not in program.feeds}
    seen = nets.run(edit.cut(program, inner), tmp_path / "r", FEEDS)
    both = [{**feed, **got} for feed, got in zip(FEEDS, seen, strict=True)]
    tops = {
        name: np.max([np.abs(one[name]).reshape(*one[name].shape[:2], -1).max((0, 2)) for one in both], 0)
        for name in names
    }
    # As if one picture had reached thirtyfold further in one channel: evened out in full, the others of
    # that channel would be all that is seen; clipped, it would be lost.
    tops[pooled] = tops[pooled] * np.r_[30, np.ones(len(tops[pooled]) - 1)].astype(np.float32)
    for factors in (False, True):
        found, _ = repair.grids(program, layers, tops, PICTURES, lambda: None, factors=factors, outputs={})
        grid = found[pooled].grid
        assert grid.threshold >= grid.maximum
        assert (grid.factors is not None) == factors
    assert grid.factors is not None
    assert grid.factors.min() >= max(tops[pooled].min() / tops[pooled].max(), 1e-3) ** 0.5 * 0.999


def test_headroom_is_kept_where_levels_begin_at_a_floor(tmp_path: Path) -> None:
    """ONNX's finer grid of a pooled tensor, too, reaches further than any value that was seen."""
    paddle.disable_static()
    folder = nets.export(nets.make(nets.Mixed), tmp_path / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    pooled = nets.output_of(program, "pool2d")
    old = table.activations[pooled]
    size = program.shape(pooled)[1]
    for headroom in (1.0, 1.5):
        wide = old.model_copy(update={"threshold": headroom * old.maximum, "floor": -0.1 * old.maximum})
        known = table.model_copy(update={"activations": {**table.activations, pooled: wide}})
        tops = {pooled: np.full(size, old.maximum, np.float32)}
        better = repair.only_onnx(program, known, tops, tops, PICTURES, lambda: None)
        assert better.activations[pooled].high == pytest.approx(headroom * old.maximum, rel=1e-5)


def test_factors_bring_answers_nearer(program: Program, tmp_path: Path) -> None:
    plain = Int8(program, nets.calibrated(program, tmp_path / "c", FEEDS))
    evened = even(program, tmp_path)
    errors = [off(program, made.simulated(), tmp_path / str(k)) for k, made in enumerate((plain, evened))]
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize("widest", [rounding.WIDEST, 50])
def test_rounding_brings_answers_nearer(
    program: Program, tmp_path: Path, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With weight scales sixteen times too coarse, so that weights are what is lost."""
    monkeypatch.setattr(rounding, "WIDEST", widest)  # 50: in blocks that no kernel's size divides
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    coarse = {name: [16 * scale for scale in scales] for name, scales in table.weights.items()}
    table = table.model_copy(update={"weights": coarse})
    ready = rounding.rounded(program, table, PICTURES, lambda n: None)
    errors = [
        off(program, Int8(made, table).simulated(), tmp_path / str(k))
        for k, made in enumerate((program, ready))
    ]
    assert errors[1] < 0.85 * errors[0]


def test_rounded_weights_are_what_the_writers_write(program: Program, tmp_path: Path) -> None:
    table: Table = nets.calibrated(program, tmp_path / "c", FEEDS)
    made = rounding.rounded(program, table, PICTURES, lambda n: None)
    changed = 0
    for layer in readers(program):
        scales = np.asarray(table.weights[layer.weight])
        integers = quantize_weight(made.params[layer.weight], table.weights[layer.weight], 0)
        value = integers * scales.reshape(-1, 1, 1, 1)
        np.testing.assert_allclose(made.params[layer.weight], value, atol=1e-6 * float(scales.max()) * 127)
        nearest = quantize_weight(program.params[layer.weight], table.weights[layer.weight], 0)
        assert np.abs(integers.astype(int) - nearest).max() <= 8
        changed += int((integers != nearest).sum())
    assert changed > 0


def test_weights_can_be_had_without_the_biases(program: Program, tmp_path: Path) -> None:
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    made = rounding.rounded(program, table, PICTURES, lambda n: None)
    plain = rounding.without_biases(made, program, table)
    biases = {layer.bias for layer in table.quantized if layer.bias}
    assert biases and any((made.params[name] != program.params[name]).any() for name in biases)
    for name, value in plain.params.items():
        np.testing.assert_array_equal(value, (program if name in biases else made).params[name])


def test_biases_keep_the_means(program: Program, tmp_path: Path) -> None:
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    made = rounding.rounded(program, table, PICTURES, lambda n: None)
    (name,) = program.fetches
    wanted = np.mean([a[name] for a in nets.run(program, tmp_path / "f", FEEDS)], (0, 1, 3, 4))
    rough = np.mean(
        [a[name] for a in nets.run(Int8(program, table).simulated(), tmp_path / "n", FEEDS)], (0, 1, 3, 4)
    )
    got = np.mean(
        [a[name] for a in nets.run(Int8(made, table).simulated(), tmp_path / "r", FEEDS)], (0, 1, 3, 4)
    )
    assert np.abs(got - wanted).max() < 0.25 * np.abs(rough - wanted).max()


def test_each_layer_alone_is_what_the_whole_simulation_says(program: Program, tmp_path: Path) -> None:
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    judge = Judge(program, [feed["x"][0] for feed in UNSEEN], lambda answers: {})
    ticks: list[int] = []
    found = sensitivity.alone(program, table, judge, lambda: ticks.append(1), weights=program)["lite"]
    assert len(ticks) == len(found) == len(table.quantized) == 4
    for name, cost in found.items():
        one = [layer.model_copy(update={"int8": layer.name == name}) for layer in table.layers]
        simulated = Int8(program, table.model_copy(update={"layers": one})).simulated()
        assert cost.error == pytest.approx(judge.error(simulated, optimise=False), rel=1e-3)
    whole = judge.error(Int8(program, table).simulated(), optimise=False)
    assert sum(cost.error for cost in found.values()) == pytest.approx(whole, rel=0.3)


@pytest.mark.parametrize("net", [Steep, "Rectified"])
def test_each_layer_alone_with_its_output_is_what_onnx_runtime_says(net: Any, tmp_path: Path) -> None:
    """Where Paddle Lite leaves what a layer answers float, ONNX Runtime rounds it: by channel, or from 0.
    Levels of what it reads begin at the floor.
    """
    paddle.disable_static()
    folder = nets.export(nets.make(Rectified if net == "Rectified" else net), tmp_path / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    # One layer int8 means that no int8 layer reads what it answers.
    judge = Judge(program, [feed["x"][0] for feed in UNSEEN], lambda answers: {})
    model = onnx.load(nets.to_onnx(program, tmp_path / "o"))
    more = 0
    for layer in table.quantized:
        one = [each.model_copy(update={"int8": each.name == layer.name}) for each in table.layers]
        alone = table.model_copy(update={"layers": one})
        both = sensitivity.alone(
            program, alone, judge, lambda: None, weights=program, targets=("lite", "onnx")
        )
        found = both["onnx"]
        less = both["lite"][layer.name].error
        onnx.save(write_onnx.write(model, alone), tmp_path / "int8.onnx")
        run = onnx_backend.load(tmp_path / "int8.onnx")
        (name,) = judge.names
        got = {name: np.concatenate([next(iter(run(feed).values())) for feed in UNSEEN])}
        assert found[layer.name].error == pytest.approx(loss(judge.reference, [got]), rel=0.05)
        more += found[layer.name].error > 1.2 * less
    assert more > 0


def test_what_a_layer_reads_is_rounded_for_it_alone(tmp_path: Path) -> None:
    """A tensor that goes on past the layer, too: the shortcut stays float."""
    paddle.disable_static()
    folder = nets.export(nets.make(nets.Mixed), tmp_path / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    layer = next(layer for layer in table.quantized if layer.type == "depthwise_conv2d")
    judge = Judge(program, [feed["x"][0] for feed in UNSEEN], lambda answers: {})
    one = [each.model_copy(update={"int8": each.name == layer.name}) for each in table.layers]
    simulated = Int8(program, table.model_copy(update={"layers": one})).simulated()
    found = sensitivity.alone(program, table, judge, lambda: None, weights=program)["lite"]
    assert found[layer.name].error == pytest.approx(judge.error(simulated, optimise=False), rel=1e-3)


def test_onnx_and_paddle_answer_alike(program: Program, tmp_path: Path) -> None:
    made = even(program, tmp_path)
    model = write_onnx.write(onnx.load(nets.to_onnx(made.program, tmp_path / "o")), made.table)
    assert any(known.factors for known in made.table.activations.values())
    onnx.save(model, tmp_path / "int8.onnx")
    run = onnx_backend.load(tmp_path / "int8.onnx")
    simulated = nets.run(made.simulated(), tmp_path / "s", UNSEEN)
    for feed, answer in zip(UNSEEN, simulated, strict=True):
        (one,), (other,) = run(feed).values(), answer.values()
        assert nets.cosine(one, other) > 0.995


class Rectified(nn.Layer):  # type: ignore[misc]
    """A pointwise layer, ReLU, a depthwise layer and another pointwise one; sizes of channels differ."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = conv_bn(3, 16, 3), conv_bn(16, 16, 3, groups=16)
        self.last, self.act = nn.Conv2D(16, 8, 1), nn.ReLU()
        sizes = paddle.to_tensor(np.geomspace(0.02, 2, 16).astype(np.float32))
        self.first[0].weight.set_value(self.first[0].weight * sizes.reshape([16, 1, 1, 1]))
        self.depthwise[0].weight.set_value(self.depthwise[0].weight / sizes.reshape([16, 1, 1, 1]))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.last(self.act(self.depthwise(self.act(self.first(x)))))


def test_outputs_are_judged_by_the_float_layers_that_read_them(tmp_path: Path) -> None:
    """Only ONNX Runtime rounds what the depthwise layer reads, which stays float."""
    paddle.disable_static()
    folder = nets.export(nets.make(Rectified), tmp_path / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    layers = [layer.model_copy(update={"int8": layer.type != "depthwise_conv2d"}) for layer in table.layers]
    table = table.model_copy(update={"layers": layers, "outputs": {}})
    (first,) = [layer for layer in table.quantized if layer.relu]
    seen = nets.run(edit.cut(program, {first.relu or "": first.relu or ""}), tmp_path / "r", FEEDS)
    peaks = np.max([np.abs(one[first.relu]).max((0, 2, 3)) for one in seen], 0)
    better = repair.only_onnx(
        program, table, {first.relu or "": peaks}, {first.relu or "": peaks}, PICTURES, lambda: None
    )
    assert set(better.outputs) == {first.output}
    # The fourth root: channels a hundredfold apart get thresholds threefold apart.
    thresholds, shares = np.asarray(better.outputs[first.output].highs), peaks / peaks.max()
    np.testing.assert_allclose(thresholds / thresholds.max(), np.maximum(shares, 1e-3) ** 0.25, rtol=1e-5)
    errors = []
    for k, known in enumerate((table, better)):
        model = write_onnx.write(onnx.load(nets.to_onnx(program, tmp_path / str(k))), known)
        # Nothing multiplies: it is in the depthwise weights.
        assert not {"Mul", "BatchNormalization"} & {node.op_type for node in model.graph.node}
        onnx.save(model, tmp_path / f"{k}.onnx")
        run = onnx_backend.load(tmp_path / f"{k}.onnx")
        wanted = nets.run(program, tmp_path / f"f{k}", UNSEEN)
        pairs = [
            (next(iter(run(f).values())), next(iter(w.values()))) for f, w in zip(UNSEEN, wanted, strict=True)
        ]
        errors.append(np.mean([np.square(a - b).mean() for a, b in pairs]))
    assert errors[1] < 0.5 * errors[0]


def test_the_unit_of_a_depthwise_layer_in_float_is_no_matter(tmp_path: Path) -> None:
    """Its channels answer in units of their own, which the layer behind it undoes."""
    paddle.disable_static()
    folder = nets.export(nets.make(Rectified), tmp_path / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    layers = rule.layers(program, [])
    (depthwise,) = [layer for layer in layers if layer.type == "depthwise_conv2d"]
    behind = next(layer.input for layer in layers if layer.input == depthwise.relu)
    factors = {behind: np.geomspace(0.01, 1, 16)}
    found = []
    for k, made in enumerate((program, equalise.apply(program, factors, layers))):
        table = nets.calibrated(made, tmp_path / f"c{k}", FEEDS)
        known = [layer.model_copy(update={"int8": layer.name != depthwise.name}) for layer in table.layers]
        table = table.model_copy(update={"layers": known, "outputs": {}})
        relu = next(layer.relu for layer in table.quantized if layer.relu)
        seen = nets.run(edit.cut(made, {relu: relu}), tmp_path / f"r{k}", FEEDS)
        peaks = np.max([np.abs(one[relu]).max((0, 2, 3)) for one in seen], 0)
        better = repair.only_onnx(made, table, {relu: peaks}, {relu: peaks}, PICTURES, lambda: None)
        one = {relu: [better.activations[relu].threshold]}
        found.append({name: reach.highs for name, reach in better.outputs.items()} or one)
    assert found[0].keys() == found[1].keys()
    for name, values in found[0].items():
        np.testing.assert_allclose(found[1][name], values, rtol=1e-4)


def test_taps_of_a_depthwise_layer_make_up_for_each_other(tmp_path: Path) -> None:
    """Smooth pictures: neighbours are alike, and the errors of nine taps cancel."""
    paddle.disable_static()
    folder = nets.export(nets.make(Rectified), tmp_path / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    layers = [
        layer.model_copy(update={"int8": layer.type == "depthwise_conv2d"})
        for layer in nets.calibrated(program, tmp_path / "c", FEEDS).layers
    ]
    table = nets.calibrated(program, tmp_path / "c", FEEDS).model_copy(update={"layers": layers})
    coarse = {name: [16 * scale for scale in scales] for name, scales in table.weights.items()}
    table = table.model_copy(update={"weights": coarse})
    smooth = [
        {"x": cv2.blur(feed["x"][0].transpose(1, 2, 0), (7, 7)).transpose(2, 0, 1)[None]} for feed in FEEDS
    ]
    made = rounding.rounded(program, table, [feed["x"][0] for feed in smooth], lambda n: None)
    (layer,) = table.quantized
    nearest = program.copy()
    nearest.params[layer.weight] = dequantized(program.params[layer.weight], table.weights[layer.weight], 0)
    (name,) = program.fetches
    wanted, plain, fitted = (
        nets.run(each, tmp_path / str(k), smooth) for k, each in enumerate((program, nearest, made))
    )
    # Without the means, which the bias makes up for in any case.
    errors = [
        np.mean([np.var(a[name] - b[name], axis=(2, 3)).mean() for a, b in zip(wanted, got, strict=True)])
        for got in (plain, fitted)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_an_output_of_few_values_is_not_clipped(tmp_path: Path) -> None:
    """What goes from a squeeze-and-excitation block into its gate: two dozen values of a channel."""
    paddle.disable_static()
    folder = nets.export(nets.make(nets.Mixed), tmp_path / "m")
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(folder)))
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    gate = next(op for op in program.block.ops if op.type == "hard_sigmoid").inputs[0].arguments[0]
    peaks = np.geomspace(0.5, 3, 16).astype(np.float32)
    low = Activation(threshold=0.1, maximum=3)
    table = table.model_copy(update={"activations": {**table.activations, gate: low}, "outputs": {}})
    better = repair.only_onnx(program, table, {gate: peaks}, {gate: peaks}, PICTURES, lambda: None)
    assert better.activations[gate].threshold == pytest.approx(3) and gate not in better.outputs


def test_weights_are_not_rounded_for_what_lite_leaves_in_float(program: Program, tmp_path: Path) -> None:
    """A layer that is int8 in ONNX alone, and whose threshold would ruin it on Lite's grid: those behind it
    are rounded as if it were float."""
    table = nets.calibrated(program, tmp_path / "c", FEEDS)
    _, second, *behind = table.layers
    ruined = table.activations[second.input].model_copy(update={"threshold": 1e-3})
    table = table.model_copy(update={"activations": {**table.activations, second.input: ruined}})

    def rounded(change: dict[str, object]) -> Program:
        layers = [
            each.model_copy(update=change) if each.name == second.name else each for each in table.layers
        ]
        there = table.model_copy(update={"layers": layers})
        return rounding.rounded(program, there, PICTURES, lambda count: None)

    alone, in_float, in_both = rounded({"only": "onnx"}), rounded({"int8": False}), rounded({})
    for layer in behind:
        np.testing.assert_allclose(alone.params[layer.weight], in_float.params[layer.weight], atol=1e-6)
        assert not np.allclose(in_both.params[layer.weight], in_float.params[layer.weight], atol=1e-6)
    scales = np.array(table.weights[second.weight]).reshape(-1, 1, 1, 1)
    levels = alone.params[second.weight] / scales
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
