"""Each stage alone, from the shell, on a folder or on a bare program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_a_chain_of_folders(world: Any, inside: Cli, tmp_path: Path) -> None:
    """Stage by stage gives what compress gives."""
    folders = {name: tmp_path / name for name in ("float", "int8", "exported", "converted", "validated")}

    def run(*arguments: object) -> Any:
        done = inside(*arguments)
        assert done.code == 0, done.err
        return done

    run("fetch", "--recipe", world.recipe, "--out", folders["float"])
    assert sorted(path.name for path in folders["float"].iterdir()) == [
        "digest.json", "inference.pdiparams", "inference.pdmodel", "model.json", "stage.json",
    ]  # fmt: skip
    # With --recipe for its number of pictures: without, quantize takes all of the folder.
    data = ("--data", world.pictures)
    run("quantize", folders["float"], "--recipe", world.recipe, "--out", folders["int8"])
    assert (folders["int8"] / "quantization.json").is_file()
    run("export", folders["int8"], "--out", folders["exported"])
    run("convert", folders["exported"], "--out", folders["converted"])
    for name in ("tiny.fp32.onnx", "tiny.int8.onnx", "tiny.fp32.nb", "tiny.int8.nb"):
        assert (folders["converted"] / name).read_bytes() == (world.bundle / name).read_bytes(), name
    file = tmp_path / "v.json"
    reference = ("--reference", folders["float"])
    done = run("validate", folders["int8"], *reference, *data, "--out", folders["validated"], "--json", file)
    found = json.loads(file.read_text())
    assert found["verdict"] == "passed" and found["gates"] == []
    assert found["metrics"]["int8.onnx"]["n"] == 10
    assert "int8.paddle" in done.out
    assert (folders["validated"] / "golden" / "0" / "input.npy").is_file()


def test_validate_a_bundle(world: Any, edgekit: Cli) -> None:
    command = ("validate", world.bundle, "--recipe", world.recipe)
    done = edgekit(*command, "--json", "-")
    assert done.code == 0, done.err
    report = json.loads((world.bundle / "report.json").read_text())
    found = json.loads(done.out)
    for metric in ("cosine", "top1_agreement", "max_abs_diff"):
        assert found["metrics"]["int8.onnx"][metric] == report["metrics"]["int8.onnx"][metric]
    done = edgekit(*command, "--set", "validate.gates={cosine: '>= 1.5'}")
    assert done.code == 3
    assert "error EK301" in done.error()
    done = edgekit("validate", world.bundle)
    assert done.code == 2
    assert "--reference" in done.error()


def test_a_bare_program(world: Any, inside: Cli, tmp_path: Path) -> None:
    program = world.models / "classifier" / "model.pdmodel"
    done = inside("quantize", program, "--data", world.pictures, "--out", tmp_path / "q")
    assert done.code == 2
    assert "error EK107" in done.error() and "--recipe" in done.error()
    done = inside(
        "quantize", program, "--recipe", world.recipe, "--data", world.pictures, "--out", tmp_path / "q"
    )
    assert done.code == 0, done.err
    assert (tmp_path / "q" / "quantization.json").is_file()
    # export and convert take it, too; without a table of scales there is nothing int8.
    done = inside(
        "convert",
        program,
        "--recipe",
        world.recipe,
        "--set",
        "convert.targets=[onnx]",
        "--out",
        tmp_path / "c",
    )
    assert done.code == 0, done.err
    assert [path.name for path in (tmp_path / "c").glob("tiny.*")] == ["tiny.fp32.onnx"]


@pytest.mark.parametrize("what", ["bare", "folder", "bundle"])
def test_inspect(world: Any, inside: Cli, what: str) -> None:
    model = {
        "bare": world.models / "classifier" / "model.pdmodel",
        "folder": world.models / "classifier",
        "bundle": world.bundle,
    }[what]
    done = inside("inspect", model, "--json", "-")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    # By hand: 16 x 16 pictures after the first stride, 8 x 8 after the second.
    assert [(layer["type"], layer["macs"], layer["params"]) for layer in found["layers"]] == [
        ("conv2d", 16 * 16 * 16 * 27, 16 * 27),
        ("depthwise_conv2d", 16 * 16 * 16 * 9, 16 * 9),
        ("conv2d", 8 * 8 * 32 * 144, 32 * 144),
        ("matmul", 32 * 16, 32 * 16),
    ]
    assert found["int8_macs_share"] == 1


def test_a_rescue_by_the_metric(world: Any, inside: Cli, tmp_path: Path) -> None:
    """As few layers in float as keep a gate; the words say when none within the shares do."""

    def floats(bound: str, *more: str) -> tuple[int, str]:
        out = tmp_path / "".join(c for c in bound + "".join(more) if c.isalnum())
        settings = (
            f"quantize.rescue.gates={{kl_divergence: '<= {bound}'}}",
            "quantize.rescue.params=1",
            *more,
        )
        options = [part for text in settings for part in ("--set", text)]
        done = inside("quantize", world.stage("fetch"), "--recipe", world.recipe, "--out", out, *options)
        assert done.code == 0, done.err
        table = json.loads((out / "quantization.json").read_text())
        left = [layer for layer in table["layers"] if layer["reason"].startswith("rescue")]
        return len(left), next(line for line in done.err.splitlines() if line.startswith("rescue: "))

    none, words = floats("10", "quantize.rescue.macs=1")
    assert none == 0 and "0 layers in float, 0.0% of the MACs" in words
    every, words = floats("1e-12", "quantize.rescue.macs=1")
    assert every == 4 and "no set" not in words
    few, words = floats("1e-12", "quantize.rescue.macs=0.05")
    assert few < every and "no set within the shares" in words and "(<= 1e-12)" in words


def test_a_rescue_by_an_unknown_metric(world: Any, inside: Cli) -> None:
    done = inside(
        "quantize", world.stage("fetch"), "--recipe", world.recipe,
        "--set", "quantize.rescue.gates={agreement_ap: '>= 0.9'}",
    )  # fmt: skip
    assert done.code == 2 and "EK102" in done.error() and "kl_divergence" in done.error()
