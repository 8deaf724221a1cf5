"""`edgekit compress` on a tiny classifier, through the real command line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from edgekit.folder import ModelFolder
from edgekit.tasks.preprocessing import preprocess
from tests.report.page import Page

Cli = Callable[..., Any]
STAGES = ("fetch", "quantize", "export", "convert", "validate")


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Name -> modification time and sha256."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_bundle(bundle: Path) -> dict[str, Any]:
    """All files that the manifest lists are there with their hashes, and no others."""
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    listed = {file["name"]: file["sha256"] for file in manifest["files"]}
    assert {
        name: digest for name, (_, digest) in contents(bundle).items() if name != "manifest.json"
    } == listed
    for file in manifest["files"]:
        assert (bundle / file["name"]).stat().st_size == file["bytes"]
    return manifest


def junit_cases(bundle: Path) -> dict[str, bool]:
    return {
        case.get("name", ""): case.find("failure") is None
        for case in ET.parse(bundle / "junit.xml").iter("testcase")
    }


def test_the_bundle_is_laid_out_as_designed(world: Any) -> None:
    names = set(contents(world.bundle))
    golden = {f"golden/{k}/{name}" for k in range(3) for name in ("picture.png", "input.npy", "answers.json")}
    golden |= {f"golden/{k}/{kind}.onnx.probabilities.npy" for k in range(3) for kind in ("fp32", "int8")}
    programs = {f"inference.{end}" for end in ("pdmodel", "pdiparams")}
    assert names == golden | {
        "manifest.json", "labels.txt", "outcomes.npz", "report.html", "report.json", "junit.xml",
        "tiny.fp32.onnx", "tiny.int8.onnx", "tiny.fp32.nb", "tiny.int8.nb",
        "paddle/model.json", "paddle/quantization.json", "paddle/analysis.json",
        *(f"paddle/{name}" for name in programs), *(f"paddle/int8/{name}" for name in programs),
    }  # fmt: skip
    manifest = check_bundle(world.bundle)
    assert manifest["labels"] == [f"class {k}" for k in range(16)]
    assert (world.bundle / "labels.txt").read_text().split("\n")[:2] == ["class 0", "class 1"]
    assert [entry["stage"] for entry in manifest["lineage"]] == ["fetch", "quantize", "export"]
    assert [stage["name"] for stage in manifest["stages"]] == list(STAGES)
    assert not [path for path in world.root.iterdir() if path.name.startswith(".")]


def test_the_same_figures_everywhere(world: Any) -> None:
    manifest = check_bundle(world.bundle)
    report = json.loads((world.bundle / "report.json").read_text())
    assert manifest["metrics"] == report["metrics"]
    assert manifest["gates"] == report["gates"]
    assert manifest["verdict"] == report["verdict"] == "passed"
    cases = junit_cases(world.bundle)
    assert len(cases) == len(report["gates"]) == 4
    assert all(cases.values())
    metrics = report["metrics"]
    assert metrics["fp32.onnx"]["identical_answers"] == 1
    assert metrics["fp32.onnx"]["n"] == 6
    for kind in ("onnx", "nb"):
        after, before = (world.bundle / f"tiny.{name}.{kind}" for name in ("int8", "fp32"))
        assert metrics[f"int8.{kind}"]["size_ratio"] == after.stat().st_size / before.stat().st_size
    for gate in report["gates"]:
        assert metrics[gate["target"]][gate["metric"]] == gate["measured"]
    # As JUnit and the page have them: unrounded.
    told = {
        (found["target"], found["metric"], found["bound"]): float(found["measured"])
        for case in ET.parse(world.bundle / "junit.xml").iter("testcase")
        for found in [{item.get("name"): item.get("value") for item in case.iter("property")}]
    }
    page = Page((world.bundle / "report.html").read_text(encoding="utf-8"))
    shown = {(row[1], row[2], row[4]): float(row[3]) for row in page.tables["gates"][1:]}
    wanted = {(gate["target"], gate["metric"], gate["bound"]): gate["measured"] for gate in manifest["gates"]}
    assert told == shown == wanted
    assert page.metrics() == {
        target: {name: str(value) if value is not None else "not measured" for name, value in of.items()}
        for target, of in manifest["metrics"].items()
    }
    files = {row[0]: (row[1], int(row[2]), row[3]) for row in page.tables["files"][1:]}
    assert files == {
        file["name"]: (file["role"], file["bytes"], file["sha256"])
        for file in manifest["files"]
        if file["role"] != "report"
    }
    float_row, int8_row = page.tables["step-by-step"][1:]
    assert int(int8_row[5]) == (world.bundle / "tiny.int8.onnx").stat().st_size
    assert int(float_row[6]) == (world.bundle / "tiny.fp32.nb").stat().st_size
    assert float(int8_row[9]) == metrics["int8.onnx"]["top1_agreement"]


def test_golden_vectors(world: Any) -> None:
    info = ModelFolder.open(world.bundle / "paddle").info
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # or it saturates without VNNI
    sessions = {
        kind: onnxruntime.InferenceSession(str(world.bundle / f"tiny.{kind}.onnx"), options)
        for kind in ("fp32", "int8")
    }
    for k in range(3):
        folder = world.bundle / "golden" / str(k)
        tensor = np.load(folder / "input.npy")
        picture = cv2.imread(str(folder / "picture.png"))
        np.testing.assert_array_equal(preprocess(picture, info.preprocess)[None], tensor)
        answers = json.loads((folder / "answers.json").read_text())
        original = world.pictures / "evaluation" / answers["source"]
        np.testing.assert_array_equal(cv2.imread(str(original)), picture)
        for kind, session in sessions.items():
            (got,) = session.run(["probabilities"], {session.get_inputs()[0].name: tensor})
            stored = np.load(folder / f"{kind}.onnx.probabilities.npy")
            np.testing.assert_allclose(got, stored, rtol=0, atol=1e-6)
            best = answers[f"{kind}.onnx"]["top"][0]
            assert best["class"] == stored.argmax()
            assert best["probability"] == pytest.approx(stored.max(), abs=1e-6)
            assert best["label"] == f"class {best['class']}"


def test_a_second_run_is_cached_and_writes_nothing(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    cache = world.copy_cache(tmp_path / "cache")
    before = contents(world.bundle), contents(cache / "stages")
    start = os.times()
    done = edgekit("compress", "--recipe", world.recipe, "--out", world.bundle, cache=cache)
    end = os.times()  # processor time, as tests beside this one make the wall clock say anything
    assert end.children_user + end.children_system - start.children_user - start.children_system < 4
    assert done.code == 0
    lines = done.err.splitlines()
    assert [line.split(":")[0] for line in lines] == list(STAGES)
    assert all(line.endswith("(cached)") for line in lines)
    assert (contents(world.bundle), contents(cache / "stages")) == before


def test_a_spoilt_bundle_and_a_spoilt_cache_are_made_anew(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    cache, bundle = world.copy_cache(tmp_path / "cache"), tmp_path / "bundle"
    shutil.copytree(world.bundle, bundle)
    (bundle / "tiny.int8.onnx").write_bytes(b"spoilt")
    (cache / "stages" / world.stage("quantize").name / "quantization.json").write_text("{}")
    done = edgekit("compress", "--recipe", world.recipe, "--out", bundle, cache=cache)
    assert done.code == 0, done.err
    assert "is damaged or unfinished: made anew" in done.err
    assert done.err.startswith("fetch: tiny from") and "(cached)" in done.err.splitlines()[0]
    check_bundle(bundle)
    # The same inputs gave the same stage: what came after it still fitted.
    assert sum(line.endswith("(cached)") for line in done.err.splitlines()) == 4


def test_dry_says_what_would_run_and_why(world: Any, inside: Cli, tmp_path: Path) -> None:
    cache = world.copy_cache(tmp_path / "cache")
    command = ("compress", "--recipe", world.recipe, "--dry", "--out", tmp_path / "out")
    done = inside(*command, cache=cache)
    assert done.code == 0
    assert done.out.split() == [word for stage in STAGES for word in (stage, "cached")]
    done = inside(*command, "--set", "quantize.float=[depthwise]", "--json", "-", cache=cache)
    rows = {row["stage"]: row for row in json.loads(done.out)["dry"]}
    assert list(rows) == list(STAGES)
    assert rows["fetch"]["cached"]
    assert rows["quantize"]["why"] == "changed: quantize.float"
    assert not any(rows[name]["cached"] for name in STAGES[1:])
    done = inside(*command, "--force", cache=cache)
    assert done.out.count("would run: --force") == 5
    done = inside(*command, cache=tmp_path / "empty")
    assert done.out.count("would run: it has not run yet with this recipe") == 5
    assert not (tmp_path / "out").exists() and not (tmp_path / "empty").exists()


def test_json_alone_on_stdout(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "report.json"
    out = ("--recipe", world.recipe, "--out", tmp_path / "b")
    done = edgekit("compress", *out, "--json", "-")
    assert done.code == 0
    assert json.loads(done.out) == json.loads((tmp_path / "b" / "report.json").read_text())
    done = edgekit("compress", *out, "--json", file)
    assert json.loads(file.read_text()) == json.loads((tmp_path / "b" / "report.json").read_text())
    assert "passed:" in done.out


def test_force_runs_again(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    cache = world.copy_cache(tmp_path / "cache")
    done = edgekit(
        "compress", "--recipe", world.recipe, "--out", tmp_path / "b", "--force",
        "--set", "convert.targets=[onnx]", cache=cache,
    )  # fmt: skip
    assert done.code == 0
    assert "(cached)" not in done.err
    # Seeds and engines are the same: so is the file.
    assert (tmp_path / "b" / "tiny.int8.onnx").read_bytes() == (world.bundle / "tiny.int8.onnx").read_bytes()


def test_a_failing_gate_is_exit_3_with_a_bundle(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = edgekit(
        "compress", "--recipe", world.recipe, "--out", out, "--set", "validate.gates.cosine=>= 1.5"
    )
    assert done.code == 3
    error = done.error()
    assert error.startswith("error EK301: 2 gate(s) failed: int8.onnx cosine is ")
    assert "asked for >= 1.5" in error
    assert all(line.endswith("(cached)") for line in done.err.splitlines()[:-1])  # a bound needs no new run
    manifest = check_bundle(out)
    assert manifest["verdict"] == "failed"
    assert sorted(junit_cases(out).values()) == [False, False, True, True]
    # The second run judges again.
    again = edgekit(
        "compress", "--recipe", world.recipe, "--out", out, "--set", "validate.gates.cosine=>= 1.5"
    )
    assert again.code == 3


def test_a_gate_on_an_unknown_metric(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    done = edgekit(
        "compress", "--recipe", world.recipe, "--out", tmp_path / "b", "--set", "validate.gates.cosin=>= 1"
    )
    assert done.code == 2
    assert "error EK102" in done.error() and "'cosine'" in done.error()
    assert not (tmp_path / "b").exists()


def test_a_detector(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    done = edgekit(
        "compress", "--recipe", world.detector, "--out", tmp_path / "b", "--set", "convert.targets=[onnx]",
        cache=tmp_path / "cache",
    )  # fmt: skip
    assert done.code == 0, done.err
    manifest = check_bundle(tmp_path / "b")
    assert {output["name"]: output["shape"] for output in manifest["outputs"]} == {
        "boxes": [-1, 64, 4],
        "scores": [-1, 3, 64],
    }
    metrics = manifest["metrics"]
    assert metrics["fp32.onnx"]["agreement_ap"] == 1
    assert 0.8 < metrics["int8.onnx"]["agreement_ap"] <= 1
    nb = next(gate for gate in manifest["gates"] if gate["target"] == "fp32.nb")
    assert nb["passed"] and nb["note"] == "not applicable: there is no fp32.nb"
    answers = json.loads((tmp_path / "b" / "golden" / "0" / "answers.json").read_text())
    assert {"fp32.paddle", "fp32.onnx", "int8.onnx", "int8.paddle"} <= set(answers)
