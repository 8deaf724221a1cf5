"""The files under recipes/results and the README's table say what the bundles' reports say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgekit import results
from edgekit.errors import EdgekitError
from edgekit.recipe import recipes_dir
from tests.rehash import rehash

README = Path(__file__).parents[1] / "README.md"


def with_report(bundle: Path, to: Path, **changes: Any) -> Path:
    shutil.copytree(bundle, to)
    report = json.loads((to / "report.json").read_text())
    (to / "report.json").write_text(json.dumps(report | changes))
    rehash(to)
    return to


def test_the_table_in_the_readme_is_that_of_the_recorded_results() -> None:
    results.check_table(README, recipes_dir() / "results")


def test_every_figure_is_the_reports(world: Any, tmp_path: Path) -> None:
    bundle = with_report(world.bundle, tmp_path / "b", host="a CPU", commit="0123456789ab+")
    results.update([bundle], tmp_path / "results", None)
    report = json.loads((bundle / "report.json").read_text())
    text = (tmp_path / "results" / "tiny.yaml").read_text()
    found = yaml.safe_load(text)["presets"]["default"]
    assert (found["host"], found["commit"], found["seed"]) == ("a CPU", "0123456789ab+", report["seed"])
    assert found["minutes"] == round(sum(stage["seconds"] for stage in report["stages"]) / 60, 1)
    assert found["macs"]["float"] == report["model"]["macs"] and "pruned" not in found["macs"]
    sizes = {file["role"]: file["bytes"] for file in report["files"]}
    for name, role in (("float.onnx", "fp32.onnx"), ("int8.onnx", "int8.onnx"), ("int8.nb", "int8.nb")):
        assert found["size_mb"][name] == pytest.approx(sizes[role] / 1e6, abs=6e-4)
    assert found["latency_ms"]["int8"] == pytest.approx(report["latency"]["int8_ms"], rel=6e-3)
    assert set(found["accuracy"]) == {"int8.onnx", "int8.paddle"}  # no labels: nothing to say of float itself
    for target, figures in found["accuracy"].items():
        for name, figure in figures.items():
            assert figure["value"] == pytest.approx(report["metrics"][target][name], abs=6e-4)
            wanted = report["intervals"][target][name]
            assert (figure["low"], figure["high"]) == pytest.approx((wanted["low"], wanted["high"]), abs=6e-4)
            assert figure["n"] == wanted["n"] and figure["low"] <= figure["value"] <= figure["high"]
            assert f"        {name}: {{value: " in text  # a line of its own, for a review
    assert found["accuracy"]["int8.onnx"]["top1_agreement"]["n"] == 6


def test_a_pruned_bundle_has_three_figures(world: Any, tmp_path: Path) -> None:
    report = json.loads((world.bundle / "report.json").read_text())
    metrics = {
        "original": {"n": 6, "top1": 0.75},
        "fp32.paddle": {"n": 6, "top1": 0.7, "top1_agreement": 0.9, "top1_drop": 0.05},
        "int8.onnx": {"n": 6, "top1": 0.65, "top1_agreement": 0.8, "top1_drop": 0.1, "size_ratio": 0.25},
    }
    model = report["model"] | {"macs": 800, "macs_before": 1000, "params_before": 10}
    times = {"original_ms": 4.0, "float_ms": 3.0, "int8_ms": 2.0, "slow_int8": False}
    latency = report["latency"] | times
    bundle = with_report(world.bundle, tmp_path / "b", metrics=metrics, model=model, latency=latency)
    results.update([bundle], tmp_path / "results", None)
    found = results.load(tmp_path / "results" / "tiny.yaml").presets["default"]
    assert (found.macs["float"], found.macs["pruned"]) == (1000, 800)
    values = {name: figures["top1"].value for name, figures in found.accuracy.items()}
    assert values == {"float": 0.75, "pruned": 0.7, "int8.onnx": 0.65}
    assert [found.latency_ms[name] for name in ("float", "pruned", "int8")] == [4, 3, 2]
    assert "4 → 3 → 2" in results.table(tmp_path / "results")
    assert "0.750 → top-1 0.650" in results.table(tmp_path / "results")
    # x86 without VNNI: recorded as such, and not shown beside times of other processors.
    (tmp_path / "slow").mkdir()
    slow = with_report(
        world.bundle, tmp_path / "slow/b", metrics=metrics, model=model, latency=latency | {"slow_int8": True}
    )
    results.update([slow], tmp_path / "results", None)
    assert results.load(tmp_path / "results" / "tiny.yaml").presets["default"].latency_ms["vnni"] == "no"
    assert "4 → 3" not in results.table(tmp_path / "results")


def test_presets_are_sections_and_replace_only_themselves(world: Any, tmp_path: Path) -> None:
    into = tmp_path / "results"
    kl = with_report(world.bundle, tmp_path / "kl", preset="kl")
    results.update([kl], into, None)
    before = (into / "tiny.yaml").read_text()
    again = results.update([kl, world.bundle], into, None)
    assert list(results.load(into / "tiny.yaml").presets) == ["default", "kl"]
    assert before.splitlines()[-3:] == (into / "tiny.yaml").read_text().splitlines()[-3:]
    assert len(again.values["files"]) == 1
    assert results.dump(results.load(into / "tiny.yaml")) == (into / "tiny.yaml").read_text()
    (into / "tiny.peers.yaml").write_text("of a benchmark: 1\n")
    assert results.table(into).count("\n") == 4  # head, ruler, two rows


def test_the_readme_goes_red_and_green(world: Any, tmp_path: Path, inside: Any) -> None:
    into, readme = tmp_path / "results", tmp_path / "README.md"
    readme.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    done = inside("results", "update", world.bundle, "--into", into)
    assert done.code == 0
    done = inside("results", "table", "--from", into, "--check", readme)
    assert done.code == 3 and "error EK302" in done.error() and "--write" in done.error()
    assert inside("results", "table", "--from", into, "--write", readme).code == 0
    assert inside("results", "table", "--from", into, "--check", readme).code == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert inside("results", "table", "--from", into).out in text
    changed = (into / "tiny.yaml").read_text().replace("verdict: passed", "verdict: failed")
    (into / "tiny.yaml").write_text(changed)
    assert inside("results", "table", "--from", into, "--check", readme).code == 3
    assert inside("results", "update", world.bundle, "--into", into, "--readme", readme).code == 0
    assert readme.read_text() == text


def test_no_figures_of_a_damaged_bundle(world: Any, tmp_path: Path, inside: Any) -> None:
    bundle = tmp_path / "b"
    shutil.copytree(world.bundle, bundle)
    (bundle / "report.json").write_text((bundle / "report.json").read_text() + " ")
    done = inside("results", "update", world.bundle, bundle, "--into", tmp_path / "results")
    assert done.code == 4 and "error EK402" in done.error() and "report.json" in done.error()
    assert not (tmp_path / "results").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for text in (
        "rows: {}\n",
        "[1, 2",
        "schema: 1\nrecipe: x\ntask: detection\npresets: {a: {verdict: passed}}\n",
    ):
        file.write_text(text)
        with pytest.raises(EdgekitError, match="edgekit results update") as caught:
            results.load(file)
        assert caught.value.code == "EK409"
    readme = tmp_path / "README.md"
    readme.write_text("no markers\n")
    with pytest.raises(EdgekitError, match="between which") as caught:
        results.check_table(readme, tmp_path / "empty")
    assert caught.value.code == "EK409"
