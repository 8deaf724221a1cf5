"""`edgekit compress` on a tiny text detector, whose input has the page's aspect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from edgekit.backends import lite
from edgekit.data.images import image_set
from edgekit.folder import ModelFolder, ModelInfo, TextDetectionPost
from edgekit.stages import distil
from edgekit.tasks import text_detection
from edgekit.tasks.preprocessing import preprocess

RECIPE = """
name: finder
task: text_detection
weights:
  - file: MODELS/finder
    files: {pdmodel: {path: model.pdmodel}, pdiparams: {path: model.pdiparams}}
program: {outputs: {map: OUTPUT}, input_shape: [1, 3, 64, 64]}
preprocess:
  resize: {kind: page, height: 64, width: 64, longest: 128, interpolation: linear}
  channels: bgr
  mean: [0.5, 0.5, 0.5]
  std: [0.25, 0.25, 0.25]
postprocess: {kind: text_detection, map: map, threshold: 0.5, box_threshold: 0.5, min_size: 1}
labels: text.txt
quantize: {method: kl}
validate:
  gates: {fp32.onnx/agreement_hmean: "== 1", fp32.nb/cosine: ">= 0.9999", int8.onnx/cosine: ">= 0.99"}
"""
# Height and width of pictures, and of the network's input.
SIZES = {
    (96, 128): (96, 128),
    (128, 90): (128, 96),
    (20, 50): (32, 64),
    (300, 150): (128, 64),
    (64, 64): (64, 64),
}


def noise(size: tuple[int, int], seed: int) -> Any:
    small = np.random.default_rng(seed).integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3))
    return cv2.resize(small.astype(np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)


def write_pictures(root: Path, split: str, count: int) -> None:
    (root / split).mkdir(parents=True)
    for k in range(count):
        picture = noise(list(SIZES)[k % len(SIZES)], k if split == "evaluation" else 100 + k)
        cv2.imwrite(str(root / split / f"{split}{k}.png"), picture)


@pytest.fixture
def recipe(world: Any, tmp_path: Path) -> Path:
    from edgekit.program import graph

    output = graph.load(world.models / "finder").fetches[0]
    file = tmp_path / "finder.yaml"
    file.write_text(RECIPE.replace("MODELS", str(world.models)).replace("OUTPUT", output))
    (tmp_path / "text.txt").write_text("text\n")
    return file


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for split in ("calibration", "evaluation"):
        write_pictures(tmp_path / "pages", split, len(SIZES))
    return tmp_path / "pages"


def test_pages_of_any_shape_through_all_stages(
    recipe: Path, pictures: Path, inside: Any, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    done = inside("compress", "--recipe", recipe, "--data", pictures, "--out", bundle, cache=tmp_path / "c")
    assert done.code == 0, done.err
    report = json.loads((bundle / "report.json").read_text())
    assert report["metrics"]["fp32.nb"]["n"] == len(SIZES), "Paddle Lite runs every shape"
    assert report["metrics"]["int8.onnx"]["agreement_n"] > len(SIZES)
    # Costs are those of the nominal shape: 32 x 32 places of 16 channels behind a kernel of 3 x 3 x 3.
    assert report["layers"][0]["macs"] == 32 * 32 * 16 * 27

    manifest = json.loads((bundle / "manifest.json").read_text())
    side = {"min": 32, "max": 128, "multiple": 32}
    assert manifest["allowed_sides"] == {"x": {"height": side, "width": side}}
    assert manifest["inputs"][0]["shape"] == [-1, 3, -1, -1]
    assert manifest["outputs"][0]["shape"] == [-1, 1, -1, -1]
    info = ModelFolder.open(bundle / "paddle").info
    assert isinstance(info.postprocess, TextDetectionPost)

    for kind in ("fp32", "int8"):
        session = onnxruntime.InferenceSession(str(bundle / f"finder.{kind}.onnx"))
        for size in (*((32 * k, 32) for k in (1, 2, 4)), (128, 128), (32, 96)):
            (found,) = session.run(None, {"x": np.zeros((2, 3, *size), np.float32)})
            assert found.shape == (2, 1, *size)

    # The golden vectors hold the shapes, with the answer that belongs to each in pixels of its picture.
    shapes = set()
    for folder in sorted((bundle / "golden").iterdir()):
        picture, tensor = cv2.imread(str(folder / "picture.png")), np.load(folder / "input.npy")
        shapes.add(tensor.shape[2:])
        assert tensor.shape[2:] == SIZES[picture.shape[:2]]
        assert np.array_equal(tensor[0], preprocess(picture, info.preprocess))
        raw = np.load(next(folder.glob("int8.onnx.*.npy")))
        assert raw.shape[2:] == tensor.shape[2:]
        said = json.loads((folder / "answers.json").read_text())["int8.onnx"]["regions"]
        found = text_detection.postprocess(raw[0, 0], info.postprocess, picture.shape[:2])
        assert [region["points"] for region in said] == found.quads.tolist()
    assert len(shapes) >= 2
    assert any("/INT8" in kernel for kernel in lite.kernels(bundle / "finder.int8.nb"))


def test_training_sees_parts_of_large_pages_and_all_of_small_ones(tmp_path: Path) -> None:
    resize = {"kind": "page", "height": 64, "width": 96, "longest": 128, "interpolation": "linear"}
    info = ModelInfo.model_validate(
        {
            "name": "m", "task": "text_detection", "inputs": [], "outputs": [], "labels": ["text"],
            "postprocess": {"kind": "text_detection", "map": "m"},
            "preprocess": {"resize": resize, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)},
        }
    )  # fmt: skip
    write_pictures(tmp_path, "training", 25)
    paths = sorted((tmp_path / "training").iterdir())
    images = image_set("pages", tmp_path, paths, None, "")
    train, unseen = distil.examples(ModelFolder(tmp_path, info), images, None)
    assert len(train.pictures) == 23 and len(unseen.pictures) == 2
    places = set()
    for path, part in zip([path for k, path in enumerate(paths) if k % 10 != 9], train.pictures, strict=True):
        whole = preprocess(cv2.imread(str(path)), info.preprocess)
        assert part.shape == (3, 64, 96) and part.dtype == np.float32
        height, width = (min(pair) for pair in zip(part.shape[1:], whole.shape[1:], strict=True))
        found = [
            (y, x)
            for y in range(whole.shape[1] - height + 1)
            for x in range(whole.shape[2] - width + 1)
            if np.array_equal(part[:, :height, :width], whole[:, y : y + height, x : x + width])
        ]
        assert len(found) == 1
        assert (part[:, height:] == 0).all() and (part[:, :, width:] == 0).all()
        places.add(found[0])
    assert len(places) > 5, "not always the upper left corner"


@pytest.mark.slow
def test_pages_of_any_shape_are_pruned_and_trained_on(recipe: Path, inside: Any, tmp_path: Path) -> None:
    """Training needs pictures of one size: parts of the large pages, and small ones filled up."""
    root = tmp_path / "many"
    for split, count in (("calibration", 8), ("evaluation", 5), ("training", 25)):
        write_pictures(root, split, count)
    words = ("quantize.method=pact", "quantize.pact.minutes=0.03", "validate.gates=null", "prune.rounds=1")
    options = [
        word for text in (*words, "prune.flops=-20%", "prune.distil.minutes=0.03") for word in ("--set", text)
    ]
    bundle = tmp_path / "bundle"
    done = inside("compress", "--recipe", recipe, "--data", root, "--out", bundle, *options)
    assert done.code == 0, done.err
    info = ModelFolder.open(bundle / "paddle").info
    stages = {entry["stage"]: entry for entry in info.lineage}
    assert stages["prune"]["macs"][1] <= 0.81 * stages["prune"]["macs"][0]
    for name in ("distil", "pact"):
        assert stages[name]["pictures"] == 25
        assert stages[name]["loss_after"] <= stages[name]["loss_before"]
    assert info.inputs[0].shape == [-1, 3, -1, -1]
    assert json.loads((bundle / "report.json").read_text())["metrics"]["int8.onnx"]["n"] == 5


@pytest.mark.parametrize(
    ("model", "words"), [("detector", "exported for a height of 32"), ("fixed_finder", "up to 128x128")]
)
def test_a_program_of_one_size_is_no_finder_of_pages(
    world: Any, recipe: Path, inside: Any, tmp_path: Path, model: str, words: str
) -> None:
    from edgekit.program import graph

    before, output = (graph.load(world.models / name).fetches[0] for name in ("finder", model))
    text = recipe.read_text().replace("/finder\n", f"/{model}\n").replace("64, 64]", "32, 32]")
    recipe.write_text(text.replace("height: 64, width: 64", "height: 32, width: 32").replace(before, output))
    done = inside("fetch", "--recipe", recipe, "--out", tmp_path / "f", cache=tmp_path / "c")
    assert done.code == 2 and words in done.error()
