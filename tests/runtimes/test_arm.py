"""`edgekit arm`: the C++ runner on emulated ARM cores against x86, damaged bundles, the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit import cli
from edgekit.backends import onnx as onnx_backend
from edgekit.backends.arm import emulated
from edgekit.data.files import sha256_of
from tests.conftest import World


def said(stage: str | None, ratio: float | str = 30.0) -> dict[str, Any]:
    failed = None if stage is None else {"stage": stage, "where": "golden/1/input.npy", "why": "reasons"}
    return {
        "bundle": "net",
        "model": "int8.onnx",
        "failed": failed,
        "golden": [
            {"sqnr_db": {"a": "equal", "b": 50.0}, "least_db": {"a": 45.0, "b": 45.0}},
            {"sqnr_db": {"a": "equal", "b": ratio}, "least_db": {"a": 45.0, "b": 20.5}},
        ],
    }


def test_each_bundle_runs_on_each_core_and_the_worst_output_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def self_test(bundle: Path, cpu: str, kind: str | None, log: object) -> list[dict[str, Any]]:
        asked.append((bundle.name, cpu, kind))
        return [said(None)]

    monkeypatch.setattr(emulated, "self_test", self_test)
    code = cli.main(["arm", "self-test", str(tmp_path), "--model", "int8", "--model", "fp32"])
    assert (code, asked) == (0, [(tmp_path.name, c, k) for c in ("a53", "a76") for k in ("int8", "fp32")])
    printed = capsys.readouterr().out
    assert "passed  net int8.onnx on an emulated a53" in printed
    assert "raw outputs at 30.0 dB (at least 20.5)" in printed


def test_a_failure_is_named_and_exits_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = iter([said(None, "equal"), said("pre-processing")])
    monkeypatch.setattr(emulated, "self_test", lambda *_: [next(stages)])
    assert cli.main(["arm", "self-test", str(tmp_path), "--json", str(tmp_path / "found.json")]) == 3
    error = capsys.readouterr().err
    assert "EK304" in error and "pre-processing: golden/1/input.npy" in error
    found = json.loads((tmp_path / "found.json").read_text())["self_tests"]
    assert [(one["cpu"], one["failed"] is None) for one in found] == [("a53", True), ("a76", False)]


def rehash(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    for file in manifest["files"]:
        file["sha256"] = sha256_of(bundle / file["name"])
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def damage_golden(bundle: Path) -> None:
    path = bundle / "golden/1/fp32.onnx.probabilities.npy"
    np.save(path, np.load(path) * np.float32(1.02))
    rehash(bundle)


def damage_mean(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["preprocess"]["mean"][1] += 0.02
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def damage_model(bundle: Path) -> None:
    data = bytearray((bundle / "tiny.fp32.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "tiny.fp32.onnx").write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "stage", "where"),
    [
        (None, None, ""),
        (damage_golden, "inference", "golden/1/fp32.onnx.probabilities.npy"),
        (damage_mean, "pre-processing", "golden/0/input.npy"),
        (damage_model, "files", "tiny.fp32.onnx is damaged"),
    ],
)
def test_the_self_test_names_what_is_damaged(
    world: World, tmp_path: Path, damage: Callable[[Path], None] | None, stage: str | None, where: str
) -> None:
    bundle = Path(shutil.copytree(world.bundle, tmp_path / "bundle"))
    if damage is not None:
        damage(bundle)
    (found,) = emulated.self_test(bundle, "a53", "fp32", print)
    failed = found["failed"]
    if stage is None:
        assert failed is None
    else:
        assert (failed["stage"], where in failed["where"] + failed["why"]) == (stage, True), failed


def integers_only(folder: Path) -> tuple[Path, Any]:
    """A bundle of one network, all int8 between its first and its last op: a convolution with per-channel
    scales, a depthwise one and a pointwise one, as in MobileNet; and an input for it."""
    random = np.random.default_rng(3)
    nodes, weights = [], []

    def constant(name: str, value: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def levels(name: str, scale: float, zero: int) -> list[str]:
        return [constant(f"{name}.s", np.float32(scale)), constant(f"{name}.z", np.uint8(zero))]

    def quantized(source: str, name: str, scale: float, zero: int) -> str:
        grid = levels(name, scale, zero)
        nodes.append(helper.make_node("QuantizeLinear", [source, *grid], [f"{name}.q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}.q", *grid], [name]))
        return name

    at = quantized("x", "input", 0.0157, 128)
    for k, (out, into, kernel, groups) in enumerate([(24, 3, 3, 1), (24, 1, 3, 24), (37, 24, 1, 1)]):
        scales = random.uniform(0.002, 0.02, out).astype(np.float32)
        integers = random.integers(-127, 128, (out, into, kernel, kernel), np.int8)
        name = f"conv{k}"
        inputs = [
            constant(f"{name}.w.q", integers),
            constant(f"{name}.w.s", scales),
            constant(f"{name}.w.z", np.zeros(out, np.int8)),
        ]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.w"], axis=0))
        bias_scales = scales * np.float32(0.0157 if k == 0 else 0.05)
        inputs = [
            constant(f"{name}.b.q", random.integers(-3000, 3000, out, np.int32)),
            constant(f"{name}.b.s", bias_scales),
            constant(f"{name}.b.z", np.zeros(out, np.int32)),
        ]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.b"], axis=0))
        pads = [kernel // 2] * 4
        nodes.append(
            helper.make_node(
                "Conv", [at, f"{name}.w", f"{name}.b"], [name], pads=pads, group=groups,
                strides=[2, 2] if k == 0 else [1, 1],
            )
        )  # fmt: skip
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
        at = quantized(f"{name}.relu", f"out{k}" if k < 2 else "y", 0.05, 0)
    graph = helper.make_graph(
        nodes, "integers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 45, 61])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "net.int8.onnx")
    manifest = {
        "schema_version": 1,
        "name": "net",
        "task": "classification",
        "inputs": [{"name": "x", "shape": [1, 3, 45, 61], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": [-1], "dtype": "float32"}],
        "preprocess": {
            "resize": {"kind": "exact", "height": 45, "width": 61, "interpolation": "linear"},
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
        "postprocess": {"kind": "classification", "probabilities": "y"},
        "labels": [],
        "files": [
            {"name": "net.int8.onnx", "role": "int8.onnx", "sha256": sha256_of(folder / "net.int8.onnx")}
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    feed = random.uniform(-2, 2, (1, 3, 45, 61)).astype(np.float32)
    np.save(folder / "feed.npy", feed)
    return folder, feed


@pytest.mark.slow
@pytest.mark.parametrize("cpu", emulated.CPUS)
def test_int8_layers_give_the_same_bits_on_every_core_as_on_x86(cpu: str, tmp_path: Path) -> None:
    """With dot products and without, there and here."""
    folder, feed = integers_only(tmp_path)
    out = tmp_path / "out"
    words = [*emulated.command(cpu, print), "infer", folder, folder / "feed.npy", out, "--model", "int8"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    wanted = onnx_backend.load(folder / "net.int8.onnx")({"x": feed})["y"]
    assert len(np.unique(wanted)) > 50
    np.testing.assert_array_equal(np.load(out / "y.npy"), wanted)
