"""What a new user gets wrong: each has its exit code, one paragraph, and leaves no half output behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Callable[..., Any]


def refused(done: Any, code: int, *words: str) -> None:
    assert done.code == code, done.err
    for word in words:
        assert word in done.error()


def nothing_left(out: Path) -> None:
    """Neither the output nor what was being written beside it."""
    assert not out.exists()
    assert not [path for path in out.parent.glob(".*") if ".edgekit-" in path.name]


def stages(cache: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in (cache / "stages").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recipe", "picodet"), ("error EK101", "picodet_s")),
        (("--recipe", "nowhere/mine.yaml"), ("error EK101", "mine.yaml")),
        (("--recipe", "tiny.yaml", "--set", "quantise.method=kl"), ("error EK102", "quantize")),
        (("--recipe", "tiny.yaml", "--set", "quantize.flaot=[a]"), ("error EK102", "float")),
        (("--recipe", "tiny.yaml", "--set", "validate.gates.cosine=high"), ("error EK103", "cosine")),
        (("--recipe", "tiny.yaml", "--set", "prune.flops=25%"), ("error EK103", "-25%")),
        (("--recipe", "tiny.yaml", "--set", "data.calibration.count=0"), ("error EK103", "count")),
    ],
)
def test_command_lines(
    world: Any, edgekit: Cli, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    given = [str(world.recipe) if word == "tiny.yaml" else word for word in arguments]
    refused(edgekit("compress", *given, "--out", tmp_path / "out", cache=tmp_path / "c"), 2, *words)
    nothing_left(tmp_path / "out")
    assert not (tmp_path / "c").exists()


def test_a_misspelt_key_in_the_file(own_world: Any, inside: Cli, tmp_path: Path) -> None:
    own_world.recipe.write_text(own_world.recipe.read_text().replace("preprocess:", "preproces:"))
    done = inside("compress", "--recipe", own_world.recipe, "--out", tmp_path / "out")
    refused(done, 2, "error EK102", "tiny.yaml", "'preprocess'")


def missing(folder: Path) -> None:
    (folder / "model.pdiparams").unlink()


def truncated(folder: Path) -> None:
    file = folder / "model.pdiparams"
    file.write_bytes(file.read_bytes()[:-1000])


def random_program(folder: Path) -> None:
    (folder / "model.pdmodel").write_bytes(np.random.default_rng(0).bytes(5000))


def empty_program(folder: Path) -> None:
    (folder / "model.pdmodel").write_bytes(b"")


def others_parameters(folder: Path) -> None:
    shutil.copy(folder.parent / "detector" / "model.pdiparams", folder / "model.pdiparams")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, ("error EK403", "model.pdiparams")),
        (truncated, ("error EK404", "truncated or damaged")),
        (random_program, ("error EK404", "not a Paddle program")),
        (empty_program, ("error EK404", "no feed")),
        (others_parameters, ("error EK404",)),
    ],
)
def test_weights(own_world: Any, inside: Cli, tmp_path: Path, spoil: Any, words: tuple[str, ...]) -> None:
    spoil(own_world.models / "classifier")
    cache = tmp_path / "cache"
    done = inside("compress", "--recipe", own_world.recipe, "--out", tmp_path / "out", cache=cache)
    refused(done, 4, *words)
    nothing_left(tmp_path / "out")
    assert stages(cache) == []


@pytest.mark.parametrize(
    ("spoil", "code"), [(missing, "EK401"), (truncated, "EK404"), (random_program, "EK404")]
)
def test_a_bare_program(own_world: Any, inside: Cli, tmp_path: Path, spoil: Any, code: str) -> None:
    spoil(own_world.models / "classifier")
    program = own_world.models / "classifier" / "model.pdmodel"
    refused(inside("inspect", program), 4, f"error {code}", "classifier/model.pd")
    done = inside("quantize", program, "--recipe", own_world.recipe, "--out", tmp_path / "out")
    refused(done, 4, f"error {code}")
    nothing_left(tmp_path / "out")


def test_nothing_there(inside: Cli, tmp_path: Path) -> None:
    for command in ("inspect", "export"):
        refused(inside(command, tmp_path / "no.pdmodel"), 4, "error EK401", "no.pdmodel")
        refused(inside(command, tmp_path), 4, "error EK401", str(tmp_path))


def test_a_paddle_3_program(inside: Cli, world: Any, tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text("{}")
    for model in (tmp_path, tmp_path / "inference.json"):
        refused(inside("inspect", model), 4, "error EK405", "FLAGS_enable_pir_api=0")
        done = inside("quantize", model, "--recipe", world.recipe, "--data", world.pictures)
        refused(done, 4, "error EK405")


def test_a_wrong_hash(own_world: Any, inside: Cli, tmp_path: Path) -> None:
    text = own_world.recipe.read_text()
    wrong = "path: model.pdmodel, sha256: " + "ab" * 32
    own_world.recipe.write_text(text.replace("path: model.pdmodel", wrong))
    done = inside("compress", "--recipe", own_world.recipe, "--out", tmp_path / "o", cache=tmp_path / "c")
    refused(done, 4, "error EK402", "abab")
    nothing_left(tmp_path / "o")


def test_the_outputs_that_the_recipe_names_must_be_there(own_world: Any, inside: Cli, tmp_path: Path) -> None:
    text = own_world.recipe.read_text()
    for wrong in (
        text.replace("softmax_0.tmp_0", "softmax_9.tmp_0"),
        text.replace("probabilities: probabilities", "probabilities: probs"),
    ):
        own_world.recipe.write_text(wrong)
        cache = tmp_path / "c"
        done = inside("compress", "--recipe", own_world.recipe, "--out", tmp_path / "o", cache=cache)
        assert done.code in (2, 4), done.err
        assert "probs" in done.error() or "softmax_9" in done.error()
        assert stages(cache) == []  # said at once, not after minutes
        nothing_left(tmp_path / "o")


NO_NETWORK = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0", "PIP_TIMEOUT": "2", "PIP_CONFIG_FILE": "/dev/null",
}  # fmt: skip


@pytest.mark.parametrize("offline", [True, False])
def test_no_network_and_an_empty_cache(edgekit: Cli, tmp_path: Path, offline: bool) -> None:
    options = ["--offline"] if offline else []
    done = edgekit(
        "compress", "--recipe", "picodet_s", "--out", tmp_path / "o", *options,
        cache=tmp_path / "c", env=NO_NETWORK,
    )  # fmt: skip
    refused(done, 4, "error EK403", "paddlelabel-ml==1.0.0", "without --offline" if offline else "network")
    nothing_left(tmp_path / "o")
    assert not [path for path in (tmp_path / "c").rglob("*") if path.is_file()]


def test_offline_with_a_full_cache(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    done = edgekit("compress", "--recipe", world.recipe, "--out", tmp_path / "o", "--offline")
    assert done.code == 0, done.err


def test_pictures(own_world: Any, inside: Cli, tmp_path: Path) -> None:
    def compress(*options: object) -> Any:
        return inside("compress", "--recipe", own_world.recipe, "--out", tmp_path / "o", *options)

    picture = own_world.pictures / "calibration" / "aa.jpg"
    picture.write_text("no picture at all")
    done = compress("--set", "data.calibration.count=11")
    refused(done, 4, "error EK406", "aa.jpg")
    picture.unlink()
    cut = own_world.pictures / "evaluation" / "0.jpg"
    cut.write_bytes(b"")
    refused(compress("--data", own_world.pictures), 4, "error EK406", "evaluation/0.jpg")
    for file in (own_world.pictures / "calibration").iterdir():
        file.unlink()
    refused(compress(), 4, "error EK407", "calibration")
    (tmp_path / "bare").mkdir()
    refused(compress("--data", tmp_path / "bare"), 4, "error EK407", "bare")
    refused(compress("--data", tmp_path / "none"), 4, "error EK401", "none")
    nothing_left(tmp_path / "o")


def test_nan_weights(own_world: Any, edgekit: Cli, tmp_path: Path) -> None:
    from edgekit.program import graph, parameters

    folder = own_world.models / "classifier"
    program = graph.load(folder)
    program.params["conv2d_2.w_0"].flat[0] = np.nan
    parameters.write(folder / "model.pdiparams", program.params)
    done = edgekit("compress", "--recipe", own_world.recipe, "--out", tmp_path / "o", cache=tmp_path / "c")
    refused(done, 4, "error EK404", "conv2d_2.w_0")
    nothing_left(tmp_path / "o")


def test_an_output_folder_that_is_not_ours(world: Any, inside: Cli, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters.txt").write_text("dear")
    file = tmp_path / "file"
    file.write_text("a file")

    def compress(out: Path) -> Any:
        return inside("compress", "--recipe", world.recipe, "--out", out)

    refused(compress(tmp_path / "home"), 2, "error EK106", "left alone")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letters.txt"]
    refused(compress(file / "below"), 2, "error EK106", "file")
    assert file.read_text() == "a file"
    done = compress(file)
    assert done.code == 2 and "is a file" in done.err
    (tmp_path / "empty").mkdir()
    assert compress(tmp_path / "empty").code == 0
    assert (tmp_path / "empty" / "manifest.json").is_file()

    # What a user put beside our files is not ours to drop, in a bundle or in a stage's folder.
    (tmp_path / "empty" / "golden" / "notes.txt").write_text("mine")
    refused(compress(tmp_path / "empty"), 2, "error EK106", "golden/notes.txt")
    assert (tmp_path / "empty" / "golden" / "notes.txt").read_text() == "mine"
    fetch = ("fetch", "--recipe", world.recipe, "--out", tmp_path / "float")
    assert inside(*fetch).code == 0 and inside(*fetch).code == 0
    (tmp_path / "float" / "notes.txt").write_text("mine")
    refused(inside(*fetch), 2, "error EK106", "notes.txt")


def test_read_only(world: Any, inside: Cli, small_disk: Any) -> None:
    disk = small_disk("2m", "ro")
    for out in (disk / "out", disk / "deep" / "out", disk):
        done = inside("compress", "--recipe", world.recipe, "--out", out)
        refused(done, 2, "error EK106", str(out))
    done = inside("compress", "--recipe", world.recipe, "--out", world.root / "x", cache=disk / "cache")
    refused(done, 2, "error EK106", str(disk))
    assert "--out" not in done.error() or "EDGEKIT_CACHE" in done.error()
    nothing_left(world.root / "x")


@pytest.mark.parametrize("size", ["16k", "80k", "150k", "230k"])
def test_a_full_disk_for_the_cache(
    world: Any, edgekit: Cli, tmp_path: Path, small_disk: Any, size: str
) -> None:
    cache = small_disk(size)
    done = edgekit("compress", "--recipe", world.recipe, "--out", tmp_path / "o", cache=cache)
    refused(done, 4, "error EK410", "disk is full")
    nothing_left(tmp_path / "o")
    assert not list((cache / "stages").glob(".*"))
    for stage in (cache / "stages").glob("*"):
        assert (stage / "digest.json").is_file()


def test_a_full_disk_for_temporary_files(world: Any, edgekit: Cli, tmp_path: Path, small_disk: Any) -> None:
    cache = world.copy_cache(tmp_path / "cache", ("fetch", "quantize", "export"))
    disk = small_disk("16k")
    done = edgekit(
        "compress", "--recipe", world.recipe, "--out", tmp_path / "o", cache=cache,
        env={"TMPDIR": str(disk)},
    )  # fmt: skip
    refused(done, 4, "error EK410", "disk is full")
    nothing_left(tmp_path / "o")
    assert stages(cache) == ["export", "fetch", "quantize"]


def test_a_full_disk_for_the_bundle(world: Any, inside: Cli, small_disk: Any) -> None:
    disk = small_disk("100k")
    refused(inside("compress", "--recipe", world.recipe, "--out", disk / "o"), 4, "error EK410")
    nothing_left(disk / "o")
    refused(inside("fetch", "--recipe", world.recipe, "--out", disk / "f"), 0)
    # An older bundle stays as it was.
    before = sorted((path, path.stat().st_mtime_ns) for path in (disk / "f").rglob("*"))
    refused(inside("compress", "--recipe", world.recipe, "--out", disk / "f"), 4, "error EK410")
    assert sorted((path, path.stat().st_mtime_ns) for path in (disk / "f").rglob("*")) == before


@pytest.mark.parametrize("how", ["abort", "words", "silent"])
def test_an_engine_that_crashes(world: Any, edgekit: Cli, tmp_path: Path, how: str) -> None:
    (tmp_path / "fake").mkdir()
    says = {
        "abort": "import os, sys\nsys.stderr.write('terminate: the lights went out\\n')\n"
        "sys.stderr.flush()\nos.abort()\n",
        "words": "raise RuntimeError('the lights went out')\n",
        "silent": "def export(*_, **__): pass\n",
    }[how]
    (tmp_path / "fake" / "paddle2onnx.py").write_text(says)
    cache = world.copy_cache(tmp_path / "cache", ("fetch", "quantize", "export"))
    done = edgekit(
        "compress", "--recipe", world.recipe, "--out", tmp_path / "o", cache=cache,
        env={"PYTHONPATH": str(tmp_path / "fake")},
    )  # fmt: skip
    refused(done, 5, "error EK501", "paddle2onnx")
    if how != "silent":
        assert "the lights went out" in done.error()
    assert how != "abort" or "SIGABRT" in done.error()
    nothing_left(tmp_path / "o")
    assert stages(cache) == ["export", "fetch", "quantize"]


def test_a_spoilt_model_folder(world: Any, inside: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(world.bundle / "paddle", folder)
    description = json.loads((folder / "model.json").read_text())
    for spoilt in ("{", json.dumps({**description, "schema_version": 99}), json.dumps({"name": "x"})):
        (folder / "model.json").write_text(spoilt)
        refused(inside("convert", folder, "--out", tmp_path / "o"), 4, "error EK409", "model.json")
    (folder / "model.json").write_text(json.dumps(description))
    (folder / "quantization.json").write_text("[]")
    refused(inside("convert", folder, "--out", tmp_path / "o"), 4, "error EK409", "quantization.json")
    nothing_left(tmp_path / "o")
