"""`edgekit analyze`: the stage on a float and on a quantized folder, and the command."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import pytest
from paddle import nn

from edgekit.cachedir import cache_dir
from edgekit.calibration.judging import held_out
from edgekit.console import Progress
from edgekit.data.images import ImageSet, image_set
from edgekit.errors import EdgekitError
from edgekit.folder import ClassificationPost, ModelFolder, ModelInfo, Preprocess, Resize, TensorSpec
from edgekit.program import graph
from edgekit.quantization import analysis, table, write_paddle
from edgekit.quantization.analysis import Analysis
from edgekit.recipe import Quantize
from edgekit.stages import analyze, quantize
from edgekit.stages.agreement import picture
from tests.program import nets
from tests.program.nets import conv_bn

Cli = Callable[..., Any]


class Steep(nn.Layer):  # type: ignore[misc]
    """Channels a hundredfold apart between a convolution and a depthwise one, which evens them out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = conv_bn(3, 16, 3), conv_bn(16, 16, 3, groups=16)
        self.last, self.act, self.head = conv_bn(16, 16, 1), nn.Hardswish(), nn.Linear(16, 20)
        self.pool = nn.AdaptiveAvgPool2D(1)
        sizes = np.geomspace(0.05, 5, 16).astype(np.float32).reshape(16, 1, 1, 1)
        self.first[0].weight.set_value(self.first[0].weight * paddle.to_tensor(sizes))
        self.depthwise[0].weight.set_value(self.depthwise[0].weight / paddle.to_tensor(sizes))

    def forward(self, x: Any) -> Any:
        x = self.act(self.last(self.act(self.depthwise(self.act(self.first(x))))))
        return nn.functional.softmax(20 * self.head(paddle.flatten(self.pool(x), 1)))


class Empty(nn.Layer):  # type: ignore[misc]
    """Parameters, but none that a layer multiplies by."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.pool = nn.BatchNorm2D(3), nn.AdaptiveAvgPool2D(1)

    def forward(self, x: Any) -> Any:
        return nn.functional.softmax(paddle.flatten(self.pool(self.norm(x)), 1))


def folder(kind: Callable[[], Any], where: Path) -> ModelFolder:
    where.mkdir()
    nets.export(nets.make(kind), where)
    (name,) = graph.load(where).fetches
    side = nets.SIDE
    info = ModelInfo(
        name="steep", task="classification", labels=[],
        inputs=[TensorSpec(name="x", shape=[-1, 3, side, side])],
        outputs=[TensorSpec(name=name, shape=[-1, 20])],
        preprocess=Preprocess(
            resize=Resize(kind="exact", height=side, width=side, interpolation="linear"),
            mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25),
        ),
        postprocess=ClassificationPost(probabilities=name),
    )  # fmt: skip
    ModelFolder(where, info).save_info()
    return ModelFolder.open(where)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    root = tmp_path_factory.mktemp("pictures")
    paths = [root / f"{k:02}.png" for k in range(56)]
    for k, path in enumerate(paths):
        cv2.imwrite(str(path), np.random.default_rng(k).integers(0, 256, (20, 20, 3), np.uint8))
    return image_set("noise", root, paths, None, "")


@pytest.fixture(scope="module")
def steep(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    paddle.disable_static()
    return folder(Steep, tmp_path_factory.mktemp("steep") / "float")


@pytest.fixture(scope="module")
def quantized(steep: ModelFolder, images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """With factors, GPTQ and the worst layer in float."""
    out = tmp_path_factory.mktemp("int8")
    section = Quantize.model_validate({"rescue": {"error": 1e-9, "macs": 0.3, "params": 0.3}})
    quantize.run(steep, section, images, out, Progress())
    return ModelFolder.open(out)


def run(model: ModelFolder, images: ImageSet, out: Path) -> Analysis:
    out.mkdir()
    analyze.run(model, Quantize(), images, out, Progress())
    assert "What is wrong" in (out / analyze.PAGE).read_text()
    found = analysis.load(out)
    assert found is not None
    return found


def test_a_float_model(steep: ModelFolder, images: ImageSet, tmp_path: Path) -> None:
    found = run(steep, images, tmp_path / "o")
    layers = found.layers
    assert found.state == "plain kl" and found.pictures == len(held_out(images.paths)[1]) == 14
    assert [layer.error for layer in layers] == sorted((layer.error for layer in layers), reverse=True)
    assert len(layers) == 4 and all(layer.int8 for layer in layers) and found.floats == []
    # Made uneven by hand: what the depthwise one reads.
    assert layers[0].type == "depthwise_conv2d"
    assert layers[0].sentence.startswith("The largest channel it reads is ")
    said = found.confirmation
    assert said is not None and said.metric == "top1_agreement"
    assert said.names == [layer.name for layer in layers]
    # All four in float: that is the float network.
    assert said.error_without < 1e-10 < said.error and said.agreement_without == 1
    assert said.pictures == 14  # the others are those that GPTQ would have seen


def test_a_quantized_folder_is_what_its_table_says(
    steep: ModelFolder, quantized: ModelFolder, images: ImageSet, tmp_path: Path
) -> None:
    subject = analyze.of_table(quantized)
    scales = table.load(quantized.path)
    assert any(known.factors for known in scales.activations.values())
    assert 0 < len(scales.quantized) < len(scales.layers) == 4
    feeds = nets.pictures(4, seed=9)
    (name,) = subject.program.fetches

    def answers(program: Any, where: str) -> list[Any]:
        return [answer[name] for answer in nets.run(program, tmp_path / where, feeds)]

    truth = answers(graph.load(steep.path), "truth")
    int8 = answers(write_paddle.simulated(graph.load(quantized.path / table.INT8)), "int8")
    every = [layer.name for layer in scales.quantized]
    assert max(np.abs(a - b).max() for a, b in zip(truth, int8, strict=True)) > 1e-3
    for wanted, made in (
        (truth, subject.program),
        (truth, subject.network(every)),
        (int8, subject.network(())),
    ):
        for a, b in zip(wanted, answers(made, "made"), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)

    found = run(quantized, images, tmp_path / "o")
    assert found.state == "kl + thresholds + equalise + rescue + gptq"
    assert {layer.name for layer in found.layers} == set(every)
    assert {layer.name: layer.reason for layer in found.floats} == {
        layer.name: layer.reason for layer in scales.layers if not layer.int8
    }
    assert any(layer.evened for layer in found.layers)


def test_after_training_weights_are_taken_together(
    quantized: ModelFolder, images: ImageSet, tmp_path: Path
) -> None:
    """As PACT leaves a folder: other parameters than the float program's, and the lineage says so."""
    trained = tmp_path / "trained"
    shutil.copytree(quantized.path, trained)
    network, scales = write_paddle.unrounded(graph.load(trained / table.INT8)), table.load(trained)
    network.params["linear_0.b_0"] = np.random.default_rng(0).normal(size=20).astype(np.float32)
    int8 = write_paddle.write(network, scales)
    graph.write(int8, trained / table.INT8)
    lineage = [*quantized.info.lineage, {"stage": "pact"}]
    model = ModelFolder(trained, quantized.info.model_copy(update={"lineage": lineage}))
    subject = analyze.of_table(model)
    feeds = nets.pictures(3, seed=9)
    for made, wanted in ((subject.program, network), (subject.network(()), write_paddle.simulated(int8))):
        for a, b in zip(
            nets.run(made, tmp_path / "a", feeds), nets.run(wanted, tmp_path / "b", feeds), strict=True
        ):
            for name in subject.program.fetches:
                np.testing.assert_allclose(a[name], b[name], atol=2e-5)
    found = run(model, images, tmp_path / "o")
    assert found.state.endswith("gptq + pact") and found.confirmation is not None
    # Each alone against the trained network, all of them against the float one beside it.
    assert found.confirmation.error > 0.5
    assert sum(layer.error for layer in found.layers) < 0.05
    assert all(layer.sqnr_weight is None or layer.sqnr_weight > 100 for layer in found.layers)


def test_the_rescue_keeps_what_it_chose_by(quantized: ModelFolder) -> None:
    found, scales = analysis.load(quantized.path), table.load(quantized.path)
    assert found is not None
    assert found.state == "kl + thresholds + equalise"
    assert found.confirmation is None
    assert {layer.name: layer.int8 for layer in found.layers} == {
        layer.name: layer.int8 for layer in scales.of("lite").layers
    }
    for layer in found.layers:
        reason = next(each.reason for each in scales.layers if each.name == layer.name)
        assert layer.int8 or f"{layer.error:.2g} in Paddle Lite" in reason


def test_nothing_to_analyse(
    steep: ModelFolder, quantized: ModelFolder, images: ImageSet, tmp_path: Path
) -> None:
    empty = folder(Empty, tmp_path / "empty")
    with pytest.raises(EdgekitError, match="no convolution or matmul") as caught:
        analyze.run(empty, Quantize(), images, tmp_path, Progress())
    assert caught.value.code == "EK110"
    with pytest.raises(EdgekitError, match=r"conv2d_0: quantize\.float: \*") as caught:
        analyze.run(steep, Quantize.model_validate({"float": ["*"]}), images, tmp_path, Progress())
    assert caught.value.code == "EK110"


def test_a_table_of_another_program(quantized: ModelFolder, steep: ModelFolder, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(quantized.path, broken)
    text = (broken / table.FILE).read_text()
    weight = table.load(broken).quantized[0].weight
    (broken / table.FILE).write_text(text.replace(weight, f"other_{weight}"))
    with pytest.raises(EdgekitError, match="belongs to others") as caught:
        analyze.of_table(ModelFolder.open(broken))
    assert caught.value.code == "EK409"
    shutil.rmtree(broken / table.INT8)
    with pytest.raises(EdgekitError, match="int8/ program") as caught:
        analyze.of_table(ModelFolder.open(broken))
    assert caught.value.code == "EK401"


def test_the_command(world: Any, inside: Cli, tmp_path: Path) -> None:
    out = tmp_path / "o"
    program = world.models / "classifier" / "model.pdmodel"
    command = ("analyze", program, "--recipe", world.recipe, "--out", out)
    done = inside(*command, "--dry")
    assert done.code == 0 and "analyze    would run" in done.out and not out.exists()
    done = inside(*command)
    assert done.code == 0, done.err
    found = analysis.load(out)
    assert found is not None
    for layer in found.layers:
        (line,) = (line for line in done.out.splitlines() if line.startswith(f"{layer.name} "))
        assert line.endswith(layer.sentence) and f"{layer.error:.2g}" in line
    said = found.confirmation
    assert said is not None
    assert f"all of them int8: error {said.error:.3g}, top1_agreement" in done.out
    assert str(out / "analysis.html") in done.out and (out / "analysis.html").is_file()
    done = inside(*command, "--json", "-")
    assert "(cached)" in done.err
    printed = json.loads(done.out)
    assert printed["out"] == str(out)
    assert Analysis.model_validate({key: printed[key] for key in Analysis.model_fields}) == found
    # A bundle as it is, with pictures of one's own.
    done = inside("analyze", world.bundle, "--data", world.pictures, "--out", tmp_path / "b")
    assert done.code == 0, done.err
    assert "tiny, kl + thresholds" in done.out and "+ gptq: 4 int8 layers" in done.out
    done = inside(*command[:2], "--data", world.pictures)
    assert done.code == 2 and "error EK107" in done.error() and "--recipe" in done.error()
    done = inside(*command, "--set", "quantize.float=['*']")
    assert done.code == 2 and "error EK110" in done.error()


def test_the_bundle_tells_it_too(world: Any) -> None:
    report = json.loads((world.bundle / "report.json").read_text())
    found = analysis.load(world.bundle / "paddle")
    assert found is not None
    assert report["analysis"] == found.model_dump(mode="json")
    page = (world.bundle / "report.html").read_text()
    assert "What int8 costs, layer by layer" in page and found.layers[0].sentence in html.unescape(page)


@pytest.mark.network
@pytest.mark.slow
def test_the_five_worst_of_picodet_recover_more_than_any_random_five(tmp_path: Path) -> None:
    from edgekit import plan, recipe
    from edgekit.stages import fetch

    asked = recipe.load("picodet_s")
    fetch.run(asked, tmp_path, cache_dir(), False, print)
    model = ModelFolder.open(tmp_path)
    chosen = plan.pictures(asked, None, "calibration", cache_dir(), False, Progress())
    pictures = [picture(path, model.info) for path in chosen.paths[::2]]
    subject = analyze.plain(model, Quantize(), [picture.tensor for picture in pictures], Progress())
    fitted, some = held_out(pictures)
    names = [layer.name for layer in analyze.ranked(model.info, subject, some, Progress()).layers]
    # On pictures that the ranking has not seen.
    measured = analyze.trial(model.info, subject, fitted[:16])
    none, agreed = measured(())
    error, agreement = measured(names[:5])
    assert agreement is not None and agreed is not None
    rng = np.random.default_rng(0)
    for _ in range(10):
        other, other_agreement = measured(rng.choice(names, 5, replace=False).tolist())
        assert other_agreement is not None
        assert error < other and agreement > other_agreement
    assert error < 0.6 * none and agreement > agreed + 0.2
