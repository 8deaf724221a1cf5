"""A bundle damaged as a job with a mistake would damage it goes red, with a name; others stay green."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekit.checking import figures
from edgekit.checking.figures import Measured
from edgekit.recipe import Gate
from edgekit.significance import Ratio
from edgekit.tasks.outcomes import Kept
from tests.rehash import rehash

Change = Callable[[Path], None]


@pytest.fixture
def bundle(world: Any, tmp_path: Path) -> Path:
    shutil.copytree(world.bundle, tmp_path / "b")
    return tmp_path / "b"


@pytest.fixture
def check(world: Any, inside: Any) -> Callable[..., Any]:
    return lambda path, *options: inside("check", path, "--data", world.pictures, *options)


def change_onnx(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """`change`: constants by name -> those to be replaced."""
    model = onnx.load(str(file))
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for name, value in change(constants).items():
        item = next(each for each in model.graph.initializer if each.name == name)
        item.CopyFrom(numpy_helper.from_array(np.asarray(value), name))
    onnx.save(model, str(file))


def int8_layer(constants: dict[str, Any], channels: int) -> str:
    """The first int8 layer with so many output channels that are not alike."""
    return next(
        name.removesuffix(".q")
        for name, value in sorted(constants.items())
        if name.endswith(".w_0.q") and value.shape[0] == channels and not np.array_equal(value[0], value[1])
    )


def test_ten_of_ten_are_green(check: Any, bundle: Path, tmp_path: Path) -> None:
    for k in range(10):
        done = check(bundle, "--json", tmp_path / "check.json")
        assert done.code == 0, done.out + done.err
        found = json.loads((tmp_path / "check.json").read_text())
        assert found["verdict"] == "passed"
        assert {row["verdict"] for row in found["findings"]} <= {"passed", "skipped", "warning"}, k
    steps = [row["step"] for row in found["findings"]]
    assert list(dict.fromkeys(steps)) == ["hashes", "files", "layers", "golden", "figures", "gates"]
    figures = {(row["target"], row["figure"]): row for row in found["figures"]}
    assert {target for target, _ in figures} == {"fp32.onnx", "int8.onnx", "int8.paddle"}
    row = figures["int8.onnx", "top1_agreement"]
    assert row["before"] == row["after"] and row["difference"]["n"] == 6
    nb = [row for row in found["findings"] if row["subject"] == "tiny.int8.nb"]
    assert [row["verdict"] for row in nb] == ["passed", "skipped"]  # its weights; it is not executed here


@pytest.mark.parametrize("what", ["weights", "input", "output"])
def test_a_scale_of_one_layer(check: Any, bundle: Path, what: str) -> None:
    file = bundle / "tiny.int8.onnx"
    graph = onnx.load(str(file)).graph
    makers = {name: node for node in graph.node for name in node.output}
    layer = next(node for node in graph.node if node.op_type == "Conv" and node.input[1].endswith(".w_0.d"))
    if what == "output":
        (after,) = (node for node in graph.node if layer.output[0] in node.input)
        if after.op_type == "Relu":
            (after,) = (node for node in graph.node if after.output[0] in node.input)
        assert after.op_type == "QuantizeLinear"
        key = after.input[1]
    else:
        key = makers[layer.input[{"input": 0, "weights": 1}[what]]].input[1]
    change_onnx(file, lambda constants: {key: constants[key] * np.float32(1.5)})
    rehash(bundle)
    done = check(bundle)
    assert done.code == 3
    name = layer.input[1].removesuffix(".w_0.d")
    assert f"layers: tiny.int8.onnx: {name}: the scale" in done.error()
    assert "1.5 times what the table says" in done.error()


def test_exchanged_channels(check: Any, bundle: Path) -> None:
    named = []

    def change(constants: dict[str, Any]) -> dict[str, Any]:
        name = int8_layer(constants, 32)
        named.append(name.removesuffix(".w_0"))
        value = constants[f"{name}.q"].copy()
        value[[0, 1]] = value[[1, 0]]
        return {f"{name}.q": value}

    change_onnx(bundle / "tiny.int8.onnx", change)
    rehash(bundle)
    done = check(bundle)
    assert done.code == 3
    assert f"tiny.int8.onnx: {named[0]}: output channels of its weights are exchanged: 0, 1" in done.error()


def test_the_int8_nb_is_looked_at_though_it_cannot_run(check: Any, bundle: Path) -> None:
    table = json.loads((bundle / "paddle" / "quantization.json").read_text())
    layer = next(each for each in table["layers"] if each["int8"] and each["type"] == "conv2d")
    steps = np.asarray(table["weights"][layer["weight"]], np.float32)
    data = (bundle / "tiny.int8.nb").read_bytes()
    assert data.count(steps.tobytes()) == 1
    (bundle / "tiny.int8.nb").write_bytes(data.replace(steps.tobytes(), (steps * np.float32(1.5)).tobytes()))
    rehash(bundle)
    done = check(bundle)
    assert done.code == 3
    assert f"layers: tiny.int8.nb: {layer['name']}: the scales of its weights" in done.error()


def test_a_table_that_was_edited(check: Any, bundle: Path) -> None:
    path = bundle / "paddle" / "quantization.json"
    table = json.loads(path.read_text())
    layer = next(each for each in table["layers"] if each["int8"])
    table["activations"][layer["input"]]["threshold"] *= 1.5
    path.write_text(json.dumps(table))
    rehash(bundle)
    done = check(bundle)
    assert done.code == 3 and f"{layer['name']}: the scale of its input" in done.error()


@pytest.mark.parametrize("where", ["manifest.json", "both"])
def test_a_wrong_mean(check: Any, bundle: Path, where: str) -> None:
    def change(description: dict[str, Any]) -> None:
        description["preprocess"]["mean"][1] += 0.05

    if where == "both":
        path = bundle / "paddle" / "model.json"
        description = json.loads(path.read_text())
        change(description)
        path.write_text(json.dumps(description))
    rehash(bundle, change)
    done = check(bundle)
    assert done.code == 3
    assert "golden: pre-processing: the tensor of golden/0 is off by" in done.error()
    assert "(by channel: +0, -0.2, +0)" in done.error()  # .05 over a std of .25
    if where == "manifest.json":
        assert (
            "files: preprocess: manifest.json and paddle/model.json disagree: preprocess.mean is"
            in done.error()
        )


@pytest.mark.parametrize("where", ["labels.txt", "everywhere"])
def test_labels_that_are_shifted(check: Any, bundle: Path, where: str) -> None:
    labels = (bundle / "labels.txt").read_text().splitlines()
    shifted = ["background", *labels[:-1]]
    (bundle / "labels.txt").write_text("\n".join(shifted) + "\n")
    if where == "everywhere":
        path = bundle / "paddle" / "model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "labels": shifted}))
        rehash(bundle, lambda manifest: manifest.update(labels=shifted))
    else:
        rehash(bundle)
    done = check(bundle)
    assert done.code == 3
    if where == "labels.txt":
        assert "files: labels.txt" in done.error() and "they are shifted by one" in done.error()
    else:
        assert "labels: class" in done.error() and "is called 'class" in done.error()


def test_a_truncated_file(check: Any, bundle: Path, tmp_path: Path) -> None:
    file = bundle / "tiny.int8.onnx"
    file.write_bytes(file.read_bytes()[:-100])
    done = check(bundle, "--junit", tmp_path / "check.xml")
    assert done.code == 4 and "error EK402" in done.error() and "tiny.int8.onnx" in done.error()
    suite = ET.parse(tmp_path / "check.xml").getroot()
    assert suite.get("failures") == "1" and "tiny.int8.onnx" in ET.tostring(suite, encoding="unicode")
    rehash(bundle)  # by a job that wrote half a file
    done = check(bundle)
    assert done.code == 3 and "layers: tiny.int8.onnx" in done.error()


def test_a_figure_that_got_worse_and_one_that_only_wavers() -> None:
    def kept(right: int) -> Kept:
        ones = np.ones(200)
        hits = {"top1": Ratio((np.arange(200) < right).astype(float), ones), "cer": Ratio(2 - ones, ones)}
        return Kept(
            names=[], reference=[], targets={"int8.onnx": hits, "original": {"top1": Ratio(ones, ones)}}
        )

    for lost, verdict in ((0, "passed"), (3, "passed"), (12, "failed")):
        found, rows = figures.compare(Measured(kept(180 - lost)), kept(180), "recorded")
        told = {each.subject: each for each in found}
        assert told["int8.onnx top1"].verdict == verdict and told["int8.onnx cer"].verdict == "passed"
        assert len(rows) == 3 and "n = 200" in told["int8.onnx top1"].says
    assert "worse: 0.9000 -> 0.8400, n = 200: -0.0600" in told["int8.onnx top1"].says
    assert "McNemar, p = 0.00049" in told["int8.onnx top1"].says  # 2 / 2 ** 12
    broken = Measured(kept(180), {"int8.onnx": "it crashed"})
    found, _ = figures.compare(broken, kept(180), "recorded")
    assert [each.says for each in found if each.verdict == "failed"] == ["it crashed"]


def test_a_target_that_ran_on_some_pictures_is_judged_on_all() -> None:
    """The first fifty may all be hard ones: of these alone nothing is asked."""
    hits = (np.arange(200) >= 20).astype(float)
    whole = {"int8.paddle": {"top1": Ratio(hits, np.ones(200))}}
    before = Kept([str(k) for k in range(200)], [], whole)
    measured = Measured(Kept([], [], {"int8.paddle": {"top1": whole["int8.paddle"]["top1"].first(50)}}))
    found, _ = figures.compare(measured, before, "recorded")
    assert [each.verdict for each in found] == ["passed"]
    complete, remembered = figures.completed(measured, before)
    manifest = {"metrics": {"int8.paddle": {"top1": 0.9}}, "gates": []}
    bounds = {"top1": Gate.parse(">= 0.9")}
    (gate,) = figures.judge(manifest, complete, before, bounds, True, remembered)
    assert gate.verdict == "passed" and "0.9000 as recorded" in gate.says


def test_gates_over_those_of_the_bundle(check: Any, bundle: Path, tmp_path: Path) -> None:
    done = check(bundle, "--set", "top1_agreement=>= 1.5", "--junit", tmp_path / "check.xml")
    assert done.code == 3 and "gates: int8.onnx top1_agreement" in done.error()
    cases = ET.parse(tmp_path / "check.xml").getroot().iter("testcase")
    wrong = [case.get("name") for case in cases if case.find("failure") is not None]
    assert wrong == ["int8.onnx top1_agreement", "int8.paddle top1_agreement"]
    assert check(bundle, "--set", "top1_agremeent=>= 1").code == 2
    assert check(bundle, "--set", "top1_agreement=good").code == 2
    assert check(bundle, "--set", "top1_agreement").code == 2


def test_against_recorded_results_and_another_bundle(
    check: Any, inside: Any, bundle: Path, world: Any, tmp_path: Path
) -> None:
    into = tmp_path / "results"
    assert inside("results", "update", world.bundle, "--into", into).code == 0
    done = check(bundle, "--against", into / "tiny.yaml", "--json", tmp_path / "check.json")
    assert done.code == 0, done.out
    rows = json.loads((tmp_path / "check.json").read_text())["figures"]
    row = next(r for r in rows if r["than"] != "recorded" and r["figure"] == "top1_agreement")
    assert row["difference"]["method"] == "Newcombe" and row["difference"]["value"] == pytest.approx(
        0, abs=1e-4
    )
    assert check(bundle, "--against", world.bundle).code == 0
    text = (into / "tiny.yaml").read_text().replace("  default:", "  kl:")
    (into / "tiny.yaml").write_text(text)
    done = check(bundle, "--against", into / "tiny.yaml")
    assert done.code == 2 and "preset default" in done.error()


def test_pictures_must_be_those_of_the_bundle(inside: Any, check: Any, bundle: Path, own_world: Any) -> None:
    done = inside("check", bundle)
    assert done.code == 2 and "error EK107" in done.error() and "--data" in done.error()
    next((own_world.pictures / "evaluation").iterdir()).unlink()
    done = inside("check", bundle, "--data", own_world.pictures)
    assert done.code == 4 and "error EK408" in done.error()


def test_github_gets_annotations(check: Any, bundle: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (bundle / "labels.txt").write_text("100 %\nother\n")
    rehash(bundle)
    done = check(bundle)
    errors = [line for line in done.out.splitlines() if line.startswith("::error ")]
    assert len(errors) == 1
    assert errors[0].startswith("::error title=edgekit check%3A files%3A labels.txt::")
    assert "100 %25" in errors[0] and "2 labels, manifest.json has 16" in errors[0]
