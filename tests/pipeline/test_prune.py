"""prune and distil from the shell: bundles, budgets, explanations, mistakes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Callable[..., Any]


@pytest.fixture(scope="session")
def model(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float model folder of the tiny recipe."""
    return world.stage("fetch")


def settings(**values: object) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def test_a_pruned_bundle(world: Any, inside: Cli, tmp_path: Path) -> None:
    """FPGM then KL in one command: the report tells what went, against the float original."""
    out = tmp_path / "bundle"
    gates = "{fp32.onnx/max_abs_diff: '<= 1e-4', fp32.nb/cosine: '>= 0.9999'}"
    done = inside(
        "compress", "--recipe", world.recipe, "--out", out,
        *settings(prune__flops="-25%", prune__rounds=2, prune__multiple=4, validate__gates=gates),
    )  # fmt: skip
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    assert [stage["name"] for stage in report["stages"]] == [
        "fetch", "sensitivity", "prune", "sensitivity", "prune", "original", "quantize", "export",
        "convert", "validate",
    ]  # fmt: skip
    before, after = report["model"]["macs_before"], report["model"]["macs"]
    assert after <= 0.75 * before
    assert {"original", "fp32.paddle", "fp32.onnx", "int8.onnx", "int8.paddle"} <= set(report["metrics"])
    # The float files are held against the pruned program, which differs from the original.
    assert report["metrics"]["fp32.paddle"]["max_abs_diff"] > 1e-3
    assert report["metrics"]["fp32.onnx"]["max_abs_diff"] < 1e-4
    assert report["metrics"]["fp32.onnx"]["size_ratio"] < 1
    assert report["latency"]["original_ms"] > 0
    assert (out / "paddle" / "inference.pdmodel").is_file()
    again = inside(
        "compress", "--recipe", world.recipe, "--out", out, "--dry",
        *settings(prune__flops="-25%", prune__rounds=2, prune__multiple=4, validate__gates=gates),
    )  # fmt: skip
    assert again.code == 0 and "would run" not in again.out
    other = inside(
        "compress", "--recipe", world.recipe, "--out", out, "--dry",
        *settings(prune__flops="-30%", prune__rounds=2, prune__multiple=4, validate__gates=gates),
    )  # fmt: skip
    rows = {line.split()[0]: line for line in reversed(other.out.splitlines())}  # the first of each
    assert "cached" in rows["sensitivity"]  # of the float network: every budget starts from it
    assert "prune.flops" in rows["prune"]


def test_without_int8(world: Any, inside: Cli, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = inside(
        "compress", "--recipe", world.recipe, "--out", out,
        *settings(prune__flops="-25%", prune__rounds=1, prune__multiple=4),
        *settings(quantize="null", validate__gates="{}"),
    )  # fmt: skip
    assert done.code == 0, done.err
    report = json.loads((out / "report.json").read_text())
    assert set(report["latency"]) >= {"original_ms", "float_ms"} and report["latency"]["int8_ms"] is None
    assert "original" in done.out and "x as fast" in done.out


def test_prune_alone_keeps_what_it_was_asked(world: Any, model: Path, inside: Cli, tmp_path: Path) -> None:
    from edgekit.program import cost, graph

    out = tmp_path / "pruned"
    done = inside(
        "prune", model, "--recipe", world.recipe, "--data", world.pictures, "--out", out,
        *settings(prune__ratios="{'conv2d_0': 0.5}"),
    )  # fmt: skip
    assert done.code == 0, done.err
    before, after = graph.load(model), graph.load(out)
    assert before.params["conv2d_0.w_0"].shape[0] == 16 and after.params["conv2d_0.w_0"].shape[0] == 8
    assert after.params["conv2d_2.w_0"].shape == (32, 8, 3, 3)
    assert sum(cost.layer_costs(after).values()) < sum(cost.layer_costs(before).values())
    lineage = json.loads((out / "model.json").read_text())["lineage"]
    assert [entry["stage"] for entry in lineage] == ["fetch", "prune"]


def test_the_sensitivity_table_is_kept(world: Any, model: Path, inside: Cli, tmp_path: Path) -> None:
    done = inside(
        "prune", model, "--recipe", world.recipe, "--flops", "-25%", "--out", tmp_path / "a",
        *settings(prune__multiple=4, prune__rounds=1),
    )  # fmt: skip
    assert done.code == 0, done.err
    table = json.loads((tmp_path / "a" / "sensitivity.json").read_text())
    assert (tmp_path / "a" / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    losses = [point[1] for point in table["points"]["conv2d_0"]]
    assert losses[0] == 0 and losses[-1] > 0
    assert sorted(table["rankings"]["conv2d_0"]) == sorted(set(table["rankings"]["conv2d_0"]))


def test_each_recovery_has_its_figure(world: Any, model: Path, inside: Cli, tmp_path: Path) -> None:
    """The error of the outputs before and after; the last one is what the written program does."""
    from edgekit import plan
    from edgekit.backends import paddle as backend
    from edgekit.calibration.judging import raw_outputs
    from edgekit.console import Progress
    from edgekit.data.images import read_image
    from edgekit.folder import ModelFolder
    from edgekit.program import edit, graph
    from edgekit.tasks.preprocessing import preprocess

    out, data = tmp_path / "out", world.pictures / "calibration"
    done = inside(
        "prune", model, "--recipe", world.recipe, "--data", data, "--out", out,
        *settings(prune__ratios="{'conv2d_0': 0.5}", prune__recover="[statistics, refit]"),
    )  # fmt: skip
    assert done.code == 0, done.err
    (entry,) = (e for e in ModelFolder.open(out).info.lineage if e["stage"] == "prune")
    assert list(entry["errors"]) == ["removed", "statistics", "refit"]
    assert len(set(entry["errors"].values())) == 3
    assert f"{entry['errors']['refit']:.3g} refit" in done.out

    chosen = plan.pictures(None, data, "calibration", tmp_path, True, Progress(io.StringIO()))
    pictures = [read_image(path) for path in chosen.paths[3::4]]  # held out: nothing was fitted to these
    logits = []
    for folder in (model, out):
        (name,) = raw_outputs(graph.load(folder))
        scratch = tmp_path / f"logits-{folder.name}"
        scratch.mkdir()
        graph.write(edit.cut(graph.load(folder), {"logits": name}), scratch)
        run = backend.load(scratch / "inference.pdmodel", scratch / "inference.pdiparams")
        how = ModelFolder.open(model).info.preprocess
        logits.append([run({"x": preprocess(picture, how)[None]})["logits"] for picture in pictures])
    each = [((b - a) ** 2).mean() / a.var() for a, b in zip(*logits, strict=True)]
    assert entry["pictures"] == len(chosen.paths) and pictures
    assert entry["errors"]["refit"] == pytest.approx(np.mean(each), rel=1e-3)


def test_explain(model: Path, inside: Cli) -> None:
    done = inside("prune", model, "--explain", "--json", "-")
    assert done.code == 0, done.err
    rows = {row["group"]: row for row in json.loads(done.out)["groups"]}
    assert rows["conv2d_0"]["made_by"] == ["conv2d_0"] and rows["conv2d_0"]["read_by"] == ["conv2d_2"]
    assert rows["conv2d_0"]["most"] == 8 and not rows["conv2d_0"]["why"]
    head = rows["linear_0"]
    assert head["most"] == 0 and "softmax" in head["why"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--flops", "-99%"], "EK108", "the most that can be reached"),
        (["--set", "prune.skip=[conv9*]", "--flops", "-20%"], "EK105", "conv9*"),
        (["--set", "prune.ratios={nothing: 0.5}"], "EK105", "nothing"),
        (["--set", "prune.skip=['*']", "--flops", "-20%"], "EK109", "No group"),
        (["--flops", "25"], "EK103", "-25%"),
        (["--flops", "-20%", "--params", "-20%"], "EK103", "one of flops"),
        (["--labels", "labels.txt"], "EK107", "--distil"),
    ],
)
def test_mistakes(
    world: Any, model: Path, inside: Cli, tmp_path: Path, options: list[str], code: str, says: str
) -> None:
    done = inside("prune", model, "--recipe", world.recipe, *options, "--out", tmp_path / "out")
    assert done.code == 2
    assert code in done.error() and says in done.error()
    assert not (tmp_path / "out").exists()


def test_only_dead_channels_without_a_budget(world: Any, model: Path, inside: Cli, tmp_path: Path) -> None:
    """A channel whose filter is zero goes, and the answers stay."""
    from edgekit.backends import paddle as backend
    from edgekit.program import graph

    spoilt = tmp_path / "spoilt"
    program = graph.load(model)
    weight = program.params["conv2d_0.w_0"].copy()
    weight[[3, 5, 7]] = 0
    program.params["conv2d_0.w_0"] = weight
    gone = np.isin(np.arange(16), [3, 5, 7])
    for norm in ("batch_norm2d_0", "batch_norm2d_1"):
        # Both activations, hardswish and relu, make 0 of it, and zero padding then changes nothing.
        for slot, value in ((".b_0", -4), (".w_1", 0)):
            old = program.params[norm + slot]
            program.params[norm + slot] = np.where(gone, value, old).astype(np.float32)
    spoilt.mkdir()
    (spoilt / "model.json").write_text((model / "model.json").read_text())
    graph.write(program, spoilt)
    done = inside("prune", spoilt, "--data", world.pictures, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "3 dead channels" in done.out
    after = graph.load(tmp_path / "out")
    assert after.params["conv2d_0.w_0"].shape[0] == 13
    feed = {"x": np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)}
    one, two = (
        backend.load(folder / "inference.pdmodel", folder / "inference.pdiparams")(feed)
        for folder in (spoilt, tmp_path / "out")
    )
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=1e-5)
