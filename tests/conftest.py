"""A small world for the tests of the whole program: tiny models, pictures, recipes, one bundle.

It is made once per test run, also when several workers run it: whoever comes first makes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgekit.stage_cache import folder_of

STAGES = ("fetch", "quantize", "export", "convert", "validate")
MAKE_MODELS = Path(__file__).parent / "pipeline" / "make_models.py"

RECIPE = """
name: tiny
task: classification
weights:
  - file: models/classifier
    files: {pdmodel: {path: model.pdmodel}, pdiparams: {path: model.pdiparams}}
program: {outputs: {probabilities: softmax_0.tmp_0}, input_shape: [1, 3, 32, 32]}
preprocess:
  resize: {kind: exact, height: 32, width: 32, interpolation: linear}
  mean: [0.5, 0.5, 0.5]
  std: [0.25, 0.25, 0.25]
postprocess: {kind: classification, probabilities: probabilities}
labels: labels.txt
data:
  calibration: {path: pictures, count: 8}
  evaluation: {path: pictures, count: 6}
quantize: {method: kl}
validate:
  gates: {cosine: ">= 0.9", fp32.onnx/max_abs_diff: "<= 1e-4", fp32.nb/cosine: ">= 0.9999"}
"""

DETECTOR = """
base: tiny.yaml
name: detector
task: detection
weights:
  - file: models/detector
    files: {pdmodel: {path: model.pdmodel}, pdiparams: {path: model.pdiparams}}
program: {outputs: {probabilities: null, boxes: BOXES, scores: SCORES}}
postprocess: {kind: detection, probabilities: null, boxes: boxes, scores: scores}
labels: things.txt
"""


@dataclass(frozen=True)
class Ended:
    """A run of the command line that has ended."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one paragraph of the error: the last line of stderr, and the only one of its kind."""
        lines = self.err.strip().splitlines()
        assert "Traceback" not in self.err, self.err
        assert [k for k, line in enumerate(lines) if line.startswith("error")] == [len(lines) - 1], self.err
        return lines[-1]


def run_cli(
    *arguments: object, cache: Path, env: dict[str, str] | None = None, cwd: Path, timeout: int = 900
) -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, cwd=cwd,
        env={**os.environ, "EDGEKIT_CACHE": str(cache), **(env or {})},
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class World:
    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "tiny.yaml"

    @property
    def detector(self) -> Path:
        return self.root / "detector.yaml"

    @property
    def models(self) -> Path:
        """`classifier/` and `detector/`, each with model.pdmodel and model.pdiparams."""
        return self.root / "models"

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def cache(self) -> Path:
        """Holds every stage of `recipe`. Tests share it: those that spoil it or list it take a copy."""
        return self.root / "cache"

    @property
    def bundle(self) -> Path:
        return self.root / "bundle"

    def stage(self, name: str) -> Path:
        """The finished folder of a stage; the cache may hold others, of other tests."""
        stages = json.loads((self.bundle / "manifest.json").read_text())["stages"]
        key = next(stage["key"] for stage in stages if stage["name"] == name)
        return folder_of(self.cache, name, key)

    def copy_cache(self, to: Path, names: Sequence[str] = STAGES) -> Path:
        for name in names:
            shutil.copytree(self.stage(name), to / "stages" / self.stage(name).name)
        shutil.copytree(self.root / "last", to / "last")
        return to

    def copy(self, to: Path) -> World:
        """Recipes, models and pictures of one's own, to be spoiled; no cache."""
        shutil.copytree(self.root, to, ignore=shutil.ignore_patterns("cache", "bundle", "last", "done"))
        return World(to)


def _make(root: Path) -> None:
    import cv2
    import numpy as np

    subprocess.run(
        [sys.executable, MAKE_MODELS, root / "models"], check=True, capture_output=True, timeout=300
    )
    for split, seed in (("calibration", 0), ("evaluation", 100)):
        (root / "pictures" / split).mkdir(parents=True)
        for k in range(10):
            noise = np.random.default_rng(seed + k).integers(0, 256, (4, 4, 3), np.uint8)
            picture = cv2.resize(noise, (48, 40), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(root / "pictures" / split / f"{k}.jpg"), picture)
    (root / "labels.txt").write_text("".join(f"class {k}\n" for k in range(16)))
    (root / "things.txt").write_text("cat\ndog\ncow\n")
    (root / "tiny.yaml").write_text(RECIPE)

    from edgekit.program import graph

    boxes, scores = (graph.inputs(op)[0] for op in graph.load(root / "models" / "detector").ops[-2:])
    (root / "detector.yaml").write_text(DETECTOR.replace("BOXES", boxes).replace("SCORES", scores))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "world"
    root.mkdir(exist_ok=True)
    with open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = World(root)
        if not (root / "done").exists():
            _make(root)
            done = run_cli(
                "compress", "--recipe", found.recipe, "--out", found.bundle, cache=found.cache, cwd=root
            )
            assert done.code == 0, done.err
            shutil.copytree(found.cache / "last", root / "last")  # other tests write there, too
            (root / "done").write_text(done.err)
    return found


@pytest.fixture
def edgekit(world: World, tmp_path: Path) -> Callable[..., Ended]:
    """Run the real command line in a child process, by default with the world's cache."""

    def run(*arguments: object, cache: Path | None = None, env: dict[str, str] | None = None) -> Ended:
        return run_cli(*arguments, cache=cache or world.cache, env=env, cwd=tmp_path)

    return run


@pytest.fixture
def inside(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """The same without a child process: saves the seconds in which Paddle is imported."""

    def run(*arguments: object, cache: Path | None = None) -> Ended:
        from edgekit import cli

        monkeypatch.setenv("EDGEKIT_CACHE", str(cache or world.cache))
        capfd.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return Ended(code, printed.out, printed.err)

    return run


@pytest.fixture
def own_world(world: World, tmp_path: Path) -> World:
    """A copy to spoil."""
    return world.copy(tmp_path / "own")


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """`small_disk(size="2m")` mounts a file system of that size; skips where mounting is refused."""
    mounted: list[Path] = []

    def mount(size: str, *options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        given = ",".join([f"size={size}", *options])
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", given, "tmpfs", folder], capture_output=True, text=True
        )
        if done.returncode:  # it needs root, which CI has
            pytest.skip(f"cannot mount a small file system here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)
