"""The main job on real weights, short. It shares the user's cache: the weights are fetched once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgekit.cachedir import cache_dir

SHORT = ("data.calibration.count=8", "data.evaluation.count=6", "validate.gates=null")


@pytest.mark.network
@pytest.mark.slow
def test_picodet_s(edgekit: Any, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    options = [word for text in SHORT for word in ("--set", text)]
    done = edgekit("compress", "--recipe", "picodet_s", *options, "--out", out, cache=cache_dir())
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    assert report["gates"] == []
    metrics = report["metrics"]
    assert metrics["fp32.onnx"]["max_abs_diff"] <= 1e-3
    assert metrics["fp32.onnx"]["identical_answers"] == 1
    assert metrics["fp32.nb"]["cosine"] >= 0.9999
    assert metrics["int8.onnx"]["size_ratio"] <= 0.4
    assert metrics["int8.onnx~int8.paddle"]["cosine"] > 0.9

    # Every convolution that the table calls int8 is one in the .nb, and no other is.
    int8 = [layer for layer in report["layers"] if layer["int8"] and layer["type"] != "matmul"]
    floats = [layer for layer in report["layers"] if not layer["int8"] and layer["type"] != "matmul"]
    assert len(int8) > 50 and floats
    found = kernels(out / "picodet_s.int8.nb")
    assert set(found) <= {"ARM/INT8", "ARM/FP32"}
    assert found["ARM/INT8"] == len(int8)
    assert found["ARM/FP32"] == len(floats)
    assert set(kernels(out / "picodet_s.fp32.nb")) == {"ARM/FP32"}
    assert "kernels" in report["not_executed"][0] and "not executed here" in report["not_executed"][0]


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
