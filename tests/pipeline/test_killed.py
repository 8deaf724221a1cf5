"""kill -9 in every stage, and a rerun that ends well. A full disk and a crash are in test_bad_input."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.data.files import is_intact, scratch_folder

Cli = Callable[..., Any]
STAGES = ("fetch", "quantize", "export", "convert", "validate")


def names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def kill_when(condition: Callable[[], bool], world: Any, cache: Path, out: Path) -> None:
    """Start `edgekit compress` and kill it with all its children as soon as `condition` holds."""
    command = [sys.executable, "-m", "edgekit", "compress", "--recipe", world.recipe, "--out", out]
    child = subprocess.Popen(
        command, env={**os.environ, "EDGEKIT_CACHE": str(cache)}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    try:
        while not condition():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.0005)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_killed_in_every_stage(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    """One cache, killed in each stage in turn: every run but the first is a rerun that gets further."""
    cache, out = tmp_path / "cache", tmp_path / "out" / "bundle"
    stages = cache / "stages"
    left: set[str] = set()
    for number, stage in enumerate(STAGES):
        before = set(STAGES[:number])

        def in_stage(before: set[str] = before, left: set[str] = left) -> bool:
            found = names(stages)
            building = {name for name in found if name.startswith(".build-")} - left
            finished = {name.split("-")[0] for name in found if not name.startswith(".")}
            return bool(building) and before <= finished

        kill_when(in_stage, world, cache, out)
        finished = {path.name.split("-")[0] for path in stages.iterdir() if not path.name.startswith(".")}
        assert before <= finished <= before | {stage}  # a quick one may have ended meanwhile
        assert all(is_intact(path) for path in stages.iterdir() if not path.name.startswith("."))
        # What earlier killed runs left behind is gone.
        now = {name for name in names(stages) if name.startswith(".")}
        assert not now & left and len(now) <= 1
        left = now
        assert not out.exists()

    # While the bundle is being written.
    def in_bundle() -> bool:
        ready = "validate" in {name.split("-")[0] for name in names(stages)}
        return ready and any(
            (out.parent / name / "new" / "labels.txt").exists() for name in names(out.parent)
        )

    kill_when(in_bundle, world, cache, out)
    assert not (out / "manifest.json").exists() or not names(out.parent)[1:]

    done = edgekit("compress", "--recipe", world.recipe, "--out", out, cache=cache)
    assert done.code == 0, done.err
    assert done.err.count("(cached)") == len(STAGES)  # a rerun goes on where the killed one stopped
    assert names(out.parent) == ["bundle"]
    assert not [name for name in names(stages) if name.startswith(".")]
    for name in ("tiny.fp32.onnx", "tiny.int8.onnx", "tiny.fp32.nb", "tiny.int8.nb"):
        assert (out / name).read_bytes() == (world.bundle / name).read_bytes(), name
    again = edgekit("compress", "--recipe", world.recipe, "--out", out, cache=cache)
    assert again.code == 0, again.err


def test_killed_while_a_bundle_is_replaced(world: Any, edgekit: Cli, tmp_path: Path) -> None:
    """The old bundle is moved away and the new one is not there yet: the rerun writes it."""
    scratch = tmp_path / ".b.edgekit-abc"
    shutil.copytree(world.bundle, scratch / "old")
    (scratch / "new").mkdir()
    done = edgekit("compress", "--recipe", world.recipe, "--out", tmp_path / "b")
    assert done.code == 0, done.err
    assert names(tmp_path) == ["b"]


def test_scratch_folders_of_living_runs_stay(tmp_path: Path) -> None:
    (tmp_path / ".build-file").write_text("no folder")
    (tmp_path / ".build-dead").mkdir()
    (tmp_path / ".other-dead").mkdir()
    with scratch_folder(tmp_path, ".build-") as first:
        assert not (tmp_path / ".build-dead").exists()
        with scratch_folder(tmp_path, ".build-") as second:
            assert first.is_dir() and second.is_dir() and first != second
        assert not second.exists()
    assert sorted(names(tmp_path)) == [".build-file", ".other-dead"]
