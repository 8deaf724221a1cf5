"""`edgekit compress` on a tiny recogniser of lines, whose input is as wide as the line needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from edgekit.backends import lite
from edgekit.folder import ModelFolder
from edgekit.tasks.preprocessing import preprocess
from edgekit.tasks.text_recognition import decode

RECIPE = """
name: reader
task: text_recognition
weights:
  - file: MODELS/reader
    files: {pdmodel: {path: model.pdmodel}, pdiparams: {path: model.pdiparams}}
program: {input_shape: [1, 3, 16, 64]}
preprocess:
  resize: {kind: line, height: 16, width: 64, widest: 256, interpolation: linear}
  channels: bgr
  mean: [0.5, 0.5, 0.5]
  std: [0.5, 0.5, 0.5]
postprocess: {kind: text_recognition, probabilities: OUTPUT}
labels: letters.txt
quantize: {method: kl}
validate: {gates: {fp32.onnx/agreement_exact: "== 1", fp32.nb/cosine: ">= 0.9999", size_ratio: "<= 1.5"}}
"""
WIDTHS = (40, 64, 100, 100, 300)  # in pixels, of pictures 20 high


@pytest.fixture
def recipe(world: Any, tmp_path: Path) -> Path:
    from edgekit.program import graph

    output = graph.load(world.models / "reader").fetches[0]
    file = tmp_path / "reader.yaml"
    file.write_text(RECIPE.replace("MODELS", str(world.models)).replace("OUTPUT", output))
    (tmp_path / "letters.txt").write_text("a\nb\nc\nd\n")
    return file


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for split in ("calibration", "evaluation"):
        (tmp_path / "lines" / split).mkdir(parents=True)
        for k, width in enumerate(WIDTHS):
            noise = rng.integers(0, 256, (4, width // 5, 3)).astype(np.uint8)
            line = cv2.resize(noise, (width, 20), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(tmp_path / "lines" / split / f"{split}{k}.png"), line)
            rows.append(f"{split}/{split}{k}.png\tabc\n")
    (tmp_path / "lines" / "rec_gt.txt").write_text("".join(rows))
    return tmp_path / "lines"


def test_lines_of_any_width_through_all_stages(
    recipe: Path, pictures: Path, inside: Any, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    done = inside("compress", "--recipe", recipe, "--data", pictures, "--out", bundle, cache=tmp_path / "c")
    assert done.code == 0, done.err
    report = json.loads((bundle / "report.json").read_text())
    metrics = report["metrics"]
    for name in ("fp32.paddle", "fp32.onnx", "int8.onnx", "int8.paddle"):
        assert metrics[name]["n"] == len(WIDTHS) and metrics[name]["cer_n"] == 3 * len(WIDTHS)
        assert metrics[name]["cer"] > 0
    rise = metrics["int8.onnx"]["cer"] - metrics["fp32.paddle"]["cer"]
    assert metrics["int8.onnx"]["cer_rise"] == pytest.approx(rise, abs=1e-9)
    assert metrics["int8.onnx"]["agreement_cer"] < 0.5 and metrics["fp32.nb"]["n"] == len(WIDTHS)
    assert any(layer["type"] == "matmul" and layer["int8"] for layer in report["layers"])
    # Costs are those of the least width: 8 * 32 places of 16 channels behind a kernel of 3 x 3 x 3.
    assert report["layers"][0]["macs"] == 8 * 32 * 16 * 27

    info = ModelFolder.open(bundle / "paddle").info
    assert info.inputs[0].shape == [-1, 3, 16, -1] and info.outputs[0].shape == [-1, -1, 6]
    session = onnxruntime.InferenceSession(str(bundle / "reader.int8.onnx"))
    for width in (64, 80, 240):
        image = np.random.default_rng(width).integers(0, 256, (16, width, 3)).astype(np.uint8)
        (steps,) = session.run(None, {"x": preprocess(image, info.preprocess)[None]})
        assert steps.shape == (1, width // 8, 6)
        assert len(decode(steps[0], info.labels, info.postprocess).text) <= width // 8

    # The golden vectors hold two shapes, with the text that belongs to each.
    widths = set()
    for folder in sorted((bundle / "golden").iterdir()):
        tensor = np.load(folder / "input.npy")
        widths.add(tensor.shape[-1])
        raw = np.load(next(folder.glob("int8.onnx.*.npy")))
        said = json.loads((folder / "answers.json").read_text())["int8.onnx"]
        found = decode(raw[0], info.labels, info.postprocess)
        assert said == {"text": found.text, "score": pytest.approx(found.score)}
    assert len(widths) >= 2
    assert any("/INT8" in kernel for kernel in lite.kernels(bundle / "reader.int8.nb"))


def test_lines_of_any_width_are_trained_on(recipe: Path, inside: Any, tmp_path: Path) -> None:
    """Training needs pictures of one size: parts of the long lines."""
    root, rng = tmp_path / "many", np.random.default_rng(0)
    (root / "training").mkdir(parents=True)
    for split, widths in (("calibration", WIDTHS), ("evaluation", WIDTHS), ("training", WIDTHS * 5)):
        (root / split).mkdir(exist_ok=True)
        for k, width in enumerate(widths):
            noise = rng.integers(0, 256, (4, width // 5, 3)).astype(np.uint8)
            cv2.imwrite(str(root / split / f"{k}.png"), cv2.resize(noise, (width, 20)))
    words = ("quantize.method=pact", "quantize.pact.minutes=0.03", "validate.gates={}", "prune.rounds=1")
    options = [
        word for text in (*words, "prune.flops=-20%", "prune.distil.minutes=0.03") for word in ("--set", text)
    ]
    bundle = tmp_path / "bundle"
    done = inside("compress", "--recipe", recipe, "--data", root, "--out", bundle, *options)
    assert done.code == 0, done.err
    info = ModelFolder.open(bundle / "paddle").info
    stages = {entry["stage"]: entry for entry in info.lineage}
    for name in ("distil", "pact"):
        assert stages[name]["pictures"] == 5 * len(WIDTHS)
        assert stages[name]["loss_after"] <= stages[name]["loss_before"]
    assert info.inputs[0].shape == [-1, 3, 16, -1]
    assert json.loads((bundle / "report.json").read_text())["metrics"]["int8.onnx"]["n"] == len(WIDTHS)


def test_a_dictionary_of_the_wrong_length(recipe: Path, pictures: Path, inside: Any, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("a\nb\nc\n")
    done = inside("compress", "--recipe", recipe, "--data", pictures, "--out", tmp_path / "b", cache=tmp_path)
    assert done.code == 4
    assert "6 classes, expected 5 for a dictionary of 3 characters" in done.error()


def test_a_program_of_one_width_needs_a_recipe_of_one_width(
    world: Any, recipe: Path, pictures: Path, inside: Any, tmp_path: Path
) -> None:
    text = recipe.read_text().replace("/reader\n", "/classifier\n").replace("16, 64]", "32, 32]")
    text = text.replace("height: 16, width: 64", "height: 32, width: 32")
    text = re.sub(r"probabilities: \S+?}", "probabilities: p}", text)
    recipe.write_text(text.replace("{input", "{outputs: {p: softmax_0.tmp_0}, input"))
    done = inside("fetch", "--recipe", recipe, "--out", tmp_path / "f", cache=tmp_path / "c")
    assert done.code == 2 and "width of 32" in done.error() and "widest" in done.error()
