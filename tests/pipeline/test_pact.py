"""PACT from the shell: the chain of FPGM and PACT in one command, and what it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Cli = Callable[..., Any]

SETTINGS = ("quantize.method=pact", "quantize.pact.minutes=0.03", "quantize.pact.batch=4")


def options(*settings: str) -> list[str]:
    return [part for text in settings for part in ("--set", text)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, root = np.random.default_rng(3), tmp_path_factory.mktemp("pictures")
    for split, count in (("calibration", 24), ("evaluation", 6)):
        (root / split).mkdir()
        for k in range(count):
            small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            cv2.imwrite(str(root / split / f"{k}.png"), cv2.resize(small, (32, 32)))
    return root


def test_fpgm_then_pact_in_one_command(world: Any, inside: Cli, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = inside(
        "compress", "--recipe", world.recipe, "--data", pictures, "--out", out,
        *options(*SETTINGS, "prune.flops=-25%", "prune.rounds=1", "prune.multiple=4", "validate.gates={}"),
    )  # fmt: skip
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    assert [stage["name"] for stage in report["stages"]] == [
        "fetch", "sensitivity", "prune", "original", "quantize", "pact", "export", "convert", "validate",
    ]  # fmt: skip
    lineage = json.loads((out / "paddle" / "model.json").read_text())["lineage"]
    pact = next(entry for entry in lineage if entry["stage"] == "pact")
    assert pact["loss_after"] <= pact["loss_before"]
    # What is written is what was trained: the table's thresholds have moved as the lineage says.
    before = json.loads((stage(world, report, "quantize") / "quantization.json").read_text())
    after = json.loads((out / "paddle" / "quantization.json").read_text())
    inputs = {layer["input"] for layer in after["layers"] if layer["int8"]}
    moved = [after["activations"][n]["threshold"] / before["activations"][n]["threshold"] for n in inputs]
    assert pact["clipping"]["least"] == pytest.approx(min(moved))
    assert pact["clipping"]["most"] == pytest.approx(max(moved))
    assert {"int8.onnx", "int8.paddle"} <= set(report["metrics"])


def stage(world: Any, report: Any, name: str) -> Path:
    from edgekit.stage_cache import folder_of

    key = next(one["key"] for one in report["stages"] if one["name"] == name)
    return folder_of(world.cache, name, key)


def test_labels_are_for_training(world: Any, inside: Cli, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a.png 1\n")
    done = inside(
        "quantize", world.stage("fetch"), "--recipe", world.recipe, "--labels", tmp_path / "labels.txt"
    )
    assert done.code == 2 and "EK107" in done.error() and "pact" in done.error()


def test_too_few_pictures(world: Any, inside: Cli) -> None:
    done = inside("quantize", world.stage("fetch"), "--recipe", world.recipe, *options(*SETTINGS))
    assert done.code == 4 and "EK407" in done.error()
