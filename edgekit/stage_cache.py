"""The cache of stages: a finished folder per hash of everything that went into it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgekit.data.files import build_once, disk_full_guard, is_intact

NOTE = "stage.json"
ENGINES = ("paddlepaddle", "paddlelite", "paddle2onnx", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Done:
    """A stage's finished folder; read it, never write into it."""

    stage: str
    path: Path
    key: str
    seconds: float
    cached: bool
    summary: str


def key_of(stage: str, components: dict[str, Any]) -> str:
    """sha256 over the stage's name, what it depends on, and the versions of the engines."""
    engines = {name: version(name) for name in ENGINES}
    text = json.dumps([stage, components, engines], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_of(cache: Path, stage: str, key: str) -> Path:
    return cache / "stages" / f"{stage}-{key[:24]}"


def is_done(cache: Path, stage: str, key: str) -> bool:
    return is_intact(folder_of(cache, stage, key))


def run(
    cache: Path,
    stage: str,
    key: str,
    make: Callable[[Path], str],
    *,
    force: bool,
    log: Callable[[str], None],
) -> Done:
    """The stage's folder from the cache, or made by `make(folder) -> summary` beside it and renamed."""
    target = folder_of(cache, stage, key)
    made = False

    def build(folder: Path) -> None:
        nonlocal made
        start = time.monotonic()
        summary = make(folder)
        note = {"stage": stage, "key": key, "seconds": time.monotonic() - start, "summary": summary}
        (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n")
        made = True

    if force and target.exists():
        shutil.rmtree(target)
    build_once(target, build, log)
    note = json.loads((target / NOTE).read_text())
    return Done(stage, target, key, float(note["seconds"]), not made, str(note["summary"]))


def copy_out(done: Done, out: Path) -> None:
    """Copy a stage's folder to where the user wants it, beside and renamed; a folder of a stage that is
    there is replaced."""
    from edgekit.bundle import replace_folder

    with disk_full_guard(out), replace_folder(out) as fresh:
        for path in sorted(done.path.rglob("*")):
            name = path.relative_to(done.path)
            if path.is_file():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, fresh / name)
