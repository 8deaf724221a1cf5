"""benchmarks/peers.py without the peers: what it makes of processes that end well, die or do not end."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from edgekit.folder import Preprocess, Resize
from edgekit.tasks.preprocessing import preprocess

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def _module(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


peers: Any = _module("peers_benchmark", BENCHMARKS / "peers.py")


def _failure(script: str, log: Path, limit: float | None = None) -> str:
    with pytest.raises(peers.PeerFailed) as found:
        peers.run([sys.executable, "-c", script], log, limit)
    return str(found.value)


COSTS = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import peers
spin = "held = b'x' * 120_000_000; import time; end = time.process_time() + 0.5\\n"
spin += "while time.process_time() < end: pass"
starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}], check=True)"
for script in (starts, "pass"):
    cost = peers.Cost()
    peers.run([sys.executable, "-c", script], pathlib.Path(sys.argv[2]), None, cost)
    print(json.dumps(peers.told(cost)))
"""


def test_a_peer_is_charged_for_its_children_but_not_for_this_process(tmp_path: Path) -> None:
    # In a process of its own: Linux counts a parent's memory, so the benchmark itself must stay small.
    command = [sys.executable, "-c", COSTS, str(BENCHMARKS), str(tmp_path / "log")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with_child, bare = (json.loads(line) for line in printed.splitlines())
    assert 120 < with_child["peak_mb"] < 180 and bare["peak_mb"] < 60
    assert with_child["cpu_seconds"] >= 0.5 > bare["cpu_seconds"]
    assert with_child["seconds"] >= 0.5


def test_last_words_without_the_paths_of_this_machine(tmp_path: Path) -> None:
    words = _failure(f"raise KeyError('{tmp_path}/deep/model.onnx')", tmp_path / "log")
    assert words.startswith("exit 1: ") and words.endswith("KeyError: 'model.onnx'")
    assert str(tmp_path) not in words
    assert _failure("import os; os.abort()", tmp_path / "log") == "killed by SIGABRT: it said nothing"


def test_a_long_exception_keeps_its_end(tmp_path: Path) -> None:
    words = _failure("raise RuntimeError('noise ' * 200 + 'the cause')", tmp_path / "log")
    assert words.endswith("the cause") and len(words) < 250


def test_a_peer_that_does_not_end_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    script = "import subprocess, sys, time; child = subprocess.Popen(['sleep', '60']); "
    script += f"open({str(started)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    begin = time.monotonic()
    assert _failure(script, tmp_path / "log", limit=1.5) == "did not end within 2 s"
    assert time.monotonic() - begin < 20
    pid = int(started.read_text())
    for _ in range(100):  # init collects it in its own time
        if not _alive(pid):
            break
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


JUDGE = """
import json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
assert pathlib.Path(job["got"], "answer").read_text() == "of good.onnx"
found = {"metrics": {"top1_agreement": 0.123456, "n": 3, "top5_agreement": 1.0}, "not_finite": 2}
pathlib.Path(job["out"]).write_text(json.dumps(found))
"""
EXECUTE = """
import json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
if "unloadable" in job["file"] or ("unfusable" in job["file"] and job["optimise"]):
    sys.exit("no kernel for this")
pathlib.Path(job["out"], "answer").write_text("of good.onnx")
"""
MAKES = """
import json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
files = [{"what": w, "engine": e, "file": f, "bytes": 250, "of": "onnx"} for w, e, f in job["settings"]]
pathlib.Path(job["out"], "made.json").write_text(json.dumps(files))
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    scripts = {"judge": JUDGE, "execute": EXECUTE, "quantize_makes": MAKES, "quantize_dies": "import no_such"}
    for name, text in scripts.items():
        (jobs / f"{name}.py").write_text(text)
    monkeypatch.setattr(peers, "JOBS", jobs)
    work = tmp_path / "work"
    work.mkdir()
    return peers.Bench("net", [], work, 60, {"bytes": {"onnx": 1000}})


def _rows(bench: Any, job: str, *files: tuple[str, str, str]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = bench.rows("nncf", peers.Peer(job, "numpy", files))
    for row in rows.values():
        assert row["version"] == np.__version__ and row["seconds"] > 0 and len(row["load"]) == 2
    return rows


def test_a_row_for_each_file_that_a_peer_makes(bench: Any) -> None:
    rows = _rows(bench, "makes", ("ONNX", "onnx", "good.onnx"), (".nb", "paddle", "unloadable"))
    good, bad = rows["nncf ONNX"], rows["nncf .nb"]
    assert (good["top1_agreement"], good["n"], good["not_finite"]) == (0.1235, 3, 2)
    assert good["bytes"] == 250 and good["size_ratio"] == 0.25 and "failed" not in good
    assert bad["failed"] == "exit 1: no kernel for this" and "top1_agreement" not in bad
    assert bad["bytes"] == 250


def test_figures_of_a_file_that_runs_only_as_written_say_so(bench: Any) -> None:
    (row,) = _rows(bench, "makes", ("ONNX", "onnx", "unfusable")).values()
    assert row["failed"] == "exit 1: no kernel for this"
    assert row["top1_agreement"] == 0.1235 and row["figures"] == "with graph optimisation switched off"


def test_a_peer_that_dies_is_a_row(bench: Any) -> None:
    (row,) = _rows(bench, "dies").values()
    assert row["failed"].endswith("No module named 'no_such'")
    assert "bytes" not in row and "top1_agreement" not in row


def test_rows_of_a_peer_are_replaced_together_and_others_stay() -> None:
    about = {"model": "net", "calibration": "8 pictures"}
    known = {**about, "rows": {"float": {}, "edgekit-kl .nb": {}, "edgekit-kl ONNX": {}, "nncf": {"n": 1}}}
    table = peers.merged(known, about, {"edgekit-kl": {"failed": "died"}})
    assert table["rows"] == {"float": {}, "edgekit-kl": {"failed": "died"}, "nncf": {"n": 1}}
    table = peers.merged(table, about, {"ort-minmax": {}})
    assert list(table["rows"]) == ["float", "edgekit-kl", "ort-minmax", "nncf"]
    with pytest.raises(ValueError, match="calibration"):
        peers.merged(table, {**about, "calibration": "9 pictures"}, {"nncf": {}})


def test_the_table_says_what_failed_and_shows_no_figure_for_it(tmp_path: Path) -> None:
    rows = {
        "float": {"top1_agreement": 1.0, "bytes": 4_000_000},
        "nncf": {"version": "3.4", "failed": "exit 1: no kernel", "seconds": 12.5, "load": [0.1, 2.0]},
    }
    peers.save(tmp_path / "t.yaml", {"model": "net", "rows": rows})
    head, plain, nncf, words = peers.lines(yaml.safe_load((tmp_path / "t.yaml").read_text()))
    assert head.split()[:3] == ["peer", "version", "top1_agreement"] and plain.split() == [
        "float",
        "1.0",
        "4.00",
    ]
    assert nncf.split() == ["nncf", "3.4", "12.5", "0.1", "-", "2.0"]
    assert words.strip() == "failed: exit 1: no kernel"


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_the_pictures_that_mnn_gets_are_the_tensors_that_the_others_get(channels: Any) -> None:
    prepare = _module("prepare_for_peers", BENCHMARKS / "peer_jobs" / "prepare.py")
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    how = Preprocess(
        resize=Resize(kind="exact", height=24, width=32, interpolation="linear"),
        channels=channels, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    back = prepare.pixels(preprocess(picture, how), how)
    assert np.array_equal(back, picture)
    assert np.array_equal(cv2.imdecode(cv2.imencode(".png", back)[1], cv2.IMREAD_COLOR), picture)


def test_every_peer_has_its_script_and_pins() -> None:
    for peer in peers.PEERS.values():
        assert (peers.JOBS / f"quantize_{peer.job}.py").is_file()
        assert peers.version_of(peer)[0].isdigit()
    for pins in peers.JOBS.glob("*.txt"):
        assert all(line.count("==") == 1 for line in pins.read_text().split())
    assert "openvino-telemetry" not in (peers.JOBS / "nncf.txt").read_text()
    assert json.dumps({name: peer.settings for name, peer in peers.PEERS.items()})
