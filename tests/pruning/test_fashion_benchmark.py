"""benchmarks/fashion_mnist.py still runs: everything but the data set and the minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, "benchmarks")
import fashion_mnist as benchmark
from edgekit.data.fashion_mnist import Pictures

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (512, 28, 28)).astype(np.uint8)
data = Pictures(images, rng.integers(0, 10, 512).astype(np.uint8))
folder, pruned = Path(sys.argv[1]) / "float", Path(sys.argv[1]) / "pruned"
folder.mkdir()
benchmark.train(data, folder, 1, print)
benchmark.describe(folder, data, 20)
recipe = ("--recipe", str(folder / "fashion.yaml"))
benchmark.edgekit("prune", folder, pruned, "--flops", "-50%", *recipe)
before, after = (benchmark.measure(model, data) for model in (folder, pruned))
assert 0 <= after["top1"] <= 1 and after["macs"] <= 0.5 * before["macs"]
int8 = benchmark.quantized(folder, Path(sys.argv[1]) / "int8", data)
assert abs(int8["top1"] - before["top1"]) < 0.1 and abs(int8["top1_paddle"] - before["top1"]) < 0.1
assert len((folder / "classes.txt").read_text().splitlines()) == 30
"""


@pytest.mark.slow
def test_train_export_prune_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stderr
