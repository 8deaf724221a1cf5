"""edgekit's int8 beside that of its peers: the same float model, tensors to calibrate on, pictures and judge.

    python benchmarks/peers.py picodet_s
    python benchmarks/peers.py picodet_s --peers ort-minmax nncf --limit 40

Every peer runs in a process of its own, NNCF and MNN in environments of their own, which uv makes below
EDGEKIT_CACHE/benchmarks. Seconds and peak memory are the operating system's figures for that process,
imports included. The file that comes out is executed by ONNX Runtime, Paddle or MNN, in another process,
and judged by edgekit's metric against the float program, run by Paddle. A peer that crashes, takes too long
or writes a file that cannot be run is a row that says so.

Rows are merged into recipes/results/RECIPE.peers.yaml, so that a long table can be made in several sittings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from edgekit.backends.child import last_words
from edgekit.cachedir import cache_dir

JOBS = Path(__file__).resolve().parent / "peer_jobs"
RESULTS = Path(__file__).resolve().parent.parent / "recipes" / "results"
UV = "uv==0.13.9"
METRICS = (
    "agreement_ap", "ap", "top1_agreement", "top1_agreement_sure", "sure_n", "kl_divergence",
    "agreement_hmean", "hmean", "n",
)  # fmt: skip
CONV = ["conv2d", "depthwise_conv2d"]


@dataclass(frozen=True)
class Peer:
    job: str  # quantize_JOB.py
    package: str
    settings: dict[str, Any]
    told: str = "defaults"
    own: bool = False  # an environment of its own, as JOB.txt lists it


PEERS = {
    "edgekit-kl": Peer("edgekit", "edgekit", {"method": "kl"}, "the recipe's, method kl"),
    "edgekit-mse": Peer("edgekit", "edgekit", {"method": "mse"}, "the recipe's, method mse"),
    "paddleslim-kl": Peer("paddleslim", "paddleslim", {"algo": "KL"}),
    "paddleslim-hist": Peer("paddleslim", "paddleslim", {"algo": "hist"}),
    "paddleslim-kl-conv": Peer(
        "paddleslim", "paddleslim", {"algo": "KL", "quantizable_op_type": CONV}, "convolutions only"
    ),
    "paddleslim-hist-conv": Peer(
        "paddleslim", "paddleslim", {"algo": "hist", "quantizable_op_type": CONV}, "convolutions only"
    ),
    "ort-minmax": Peer("onnxruntime", "onnxruntime", {"method": "MinMax"}, "U8S8, per channel"),
    "ort-percentile": Peer("onnxruntime", "onnxruntime", {"method": "Percentile"}, "U8S8, per channel"),
    "nncf": Peer("nncf", "nncf", {"preset": None}, own=True),
    "nncf-mixed": Peer("nncf", "nncf", {"preset": "MIXED"}, "preset MIXED", own=True),
    "mnn-float": Peer("mnn", "mnn", {"method": None}, "converted, not quantized", own=True),
    "mnn-kl": Peer("mnn", "mnn", {"method": "KL"}, own=True),
    "mnn-ema": Peer("mnn", "mnn", {"method": "EMA"}, "feature method EMA, batches of 8", own=True),
}


class PeerFailed(Exception):
    """What became of a child process instead of a result."""


@dataclass
class Cost:
    """What a child process took, its own children included; figures of the operating system."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    load: tuple[float, float] = (0.0, 0.0)  # of the machine at the start and at the end, over one minute


@dataclass
class Bench:
    """One sitting: the folder that all jobs share, and what `prepare` found out."""

    recipe: str
    sets: list[str]
    work: Path
    limit: float | None  # seconds
    prepared: dict[str, Any] = field(default_factory=dict)

    def run(self, name: str, script: str, python: Sequence[str] = (sys.executable,), **job: Any) -> None:
        """Run a job that nobody is charged for."""
        run([*python, JOBS / script, self.given(name, **job)], self.work / f"{name}.log", self.limit)

    def given(self, name: str, **job: Any) -> Path:
        """The file that tells a job what to do."""
        file = self.work / f"{name}.job"
        shared = {"recipe": self.recipe, "sets": self.sets, "work": str(self.work), **self.prepared}
        file.write_text(json.dumps({**shared, **job}))
        return file

    def prepare(self, png: bool) -> None:
        self.run("prepare", "prepare.py", png=png)
        self.prepared = json.loads((self.work / "prepared.json").read_text())
        self.answers("float", {"engine": "paddle", "file": str(self.work / "float")}, optimise=True)

    def answers(self, name: str, made: Mapping[str, Any], optimise: bool) -> Path:
        """A folder with the raw outputs of a file for each evaluation picture."""
        out = self.work / "answers" / name
        out.mkdir(parents=True)
        mnn = made["engine"] == "mnn"
        self.run(
            f"execute-{name}",
            "execute_mnn.py" if mnn else "execute.py",
            interpreter("mnn") if mnn else (sys.executable,),
            engine=made["engine"],
            file=made["file"],
            out=str(out),
            optimise=optimise,
        )
        return out

    def judged(self, name: str, made: Mapping[str, Any], optimise: bool) -> dict[str, Any]:
        """The metrics of a file's answers."""
        got, found = self.answers(name, made, optimise), self.work / f"{name}.json"
        reference = self.work / "answers" / "float"
        self.run(f"judge-{name}", "judge.py", got=str(got), reference=str(reference), out=str(found))
        shutil.rmtree(got)
        read = json.loads(found.read_text())
        told = {
            key: _rounded(read["metrics"][key]) for key in METRICS if read["metrics"].get(key) is not None
        }
        return {**told, **({"not_finite": read["not_finite"]} if read["not_finite"] else {})}

    def figures(self, name: str, made: Mapping[str, Any]) -> dict[str, Any]:
        """The metrics, or how the engine failed; then of an ONNX file also those with each op as written."""
        onnx = made["engine"] == "onnx"
        try:
            # Paddle's graph passes would rewrite quantize_linear: an int8 program runs as it is written.
            return self.judged(name, made, optimise=onnx)
        except PeerFailed as error:
            failure = str(error)
        if onnx:
            try:
                figures = self.judged(f"{name}-as-written", made, optimise=False)
                return {**figures, "failed": failure, "figures": "with graph optimisation switched off"}
            except PeerFailed as error:
                failure += f"; with graph optimisation switched off: {error}"
        return {"failed": failure}

    def unquantized(self) -> dict[str, Any]:
        """The row of the float ONNX file: what conversion alone changes."""
        made = {"engine": "onnx", "file": str(self.work / "float.onnx")}
        size = {"file": "ONNX", "bytes": self.prepared["bytes"]["onnx"]}
        return {
            "settings": "converted, not quantized",
            **self.judged("float-onnx", made, optimise=True),
            **size,
        }

    def rows(self, name: str, peer: Peer) -> dict[str, dict[str, Any]]:
        """The rows of a peer: one for each file that it makes, or one for its failure."""
        about = {"package": peer.package, "version": version_of(peer), "settings": peer.told}
        out = self.work / "made" / name
        out.mkdir(parents=True)
        cost, job = Cost(), self.given(name, out=str(out), settings=peer.settings)
        try:
            python = interpreter(peer.job) if peer.own else [sys.executable]
            script = JOBS / f"quantize_{peer.job}.py"
            run([*python, script, job], self.work / f"{name}.log", self.limit, cost)
            files = json.loads((out / "made.json").read_text())
        except PeerFailed as failure:
            return {name: {**about, "failed": str(failure), **told(cost)}}
        found = {}
        for made in files:
            row = f"{name} {made['what']}" if len(files) > 1 else name
            before = made.get("float_bytes") or self.prepared["bytes"][made["of"]]
            size = {
                "file": made["what"],
                "bytes": made["bytes"],
                "size_ratio": round(made["bytes"] / before, 3),
            }
            figures = self.figures(row.replace(" ", "-"), made)
            found[row] = {**about, **figures, **size, **told(cost)}
        shutil.rmtree(out)
        return found


def told(cost: Cost) -> dict[str, Any]:
    return {
        "seconds": round(cost.seconds, 1),
        "cpu_seconds": round(cost.cpu_seconds, 1),
        "peak_mb": round(cost.peak_mb),
        "load": [round(load, 1) for load in cost.load],
    }


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def run(command: list[Any], log: Path, limit: float | None = None, cost: Cost | None = None) -> None:
    """Run a command to its end, its output going to `log`; fill in `cost`.

    Raises PeerFailed, with the last words of the process, when it fails, crashes or outlasts `limit` seconds.
    This process must stay small: Linux counts a parent's memory at the fork into its child's peak.
    """
    start, before, late = time.monotonic(), os.getloadavg()[0], False
    with log.open("wb") as output:
        # A session of its own: what a peer started ends with it.
        child = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, start_new_session=True
        )
    ended = 0
    try:
        while ended == 0:
            time.sleep(0.05)
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            if ended == 0 and limit is not None and time.monotonic() - start > limit:
                late = True
                os.killpg(child.pid, signal.SIGKILL)
                ended, status, usage = os.wait4(child.pid, 0)
    finally:
        if ended == 0:
            os.killpg(child.pid, signal.SIGKILL)
            os.wait4(child.pid, 0)
        child.returncode = 0  # it has been waited for
    if cost is not None:
        cost.seconds = time.monotonic() - start
        cost.cpu_seconds = usage.ru_utime + usage.ru_stime
        cost.peak_mb = usage.ru_maxrss * 1024 / 1e6  # Linux counts it in KiB
        cost.load = before, os.getloadavg()[0]
    if late:
        raise PeerFailed(f"did not end within {limit:.0f} s")
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
        raise PeerFailed(f"{how}: {without_paths(_words(log.read_text(errors='replace')))}")


def _words(text: str) -> str:
    """The last lines; of a long exception, which says most at its end, the last words."""
    last = text.strip().rpartition("\n")[2]
    if re.match(r"[\w.]+: ", last) and len(last) > 200:
        return "... " + last[-200:].partition(" ")[2]
    return last_words(text) or "it said nothing"


def without_paths(words: str) -> str:
    """Of each absolute path only its last part: results are read on other machines."""
    return re.sub(r"(?<![\w.])(?:/[^\s/'\",:;)]+)+/([^\s/'\",:;)]+)", r"\1", words)


def interpreter(name: str) -> list[str]:
    """The isolated Python of the environment that `NAME.txt` lists, which is made when it is not there."""
    pins = JOBS / f"{name}.txt"
    tag = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_dir() / "benchmarks" / f"{name}-{tag}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.is_file():
        uv, log = find_uv(), folder.with_suffix(".log")
        run([*uv, "venv", "--clear", "--python", sys.executable, folder], log)
        # The list is complete: without --no-deps NNCF would bring a package that reports its use.
        run([*uv, "pip", "install", "--no-deps", "--python", python, "-r", pins], log)
        ready.touch()
    return [str(python), "-I"]


def find_uv() -> list[str]:
    """uv as it is installed here, or a copy of its own below the cache."""
    known = shutil.which("uv")
    if known is not None:
        return [known]
    folder = cache_dir() / "benchmarks" / UV
    if not (folder / "bin" / "uv").is_file():
        run([sys.executable, "-m", "pip", "install", "--target", folder, UV], folder.with_suffix(".log"))
    return [str(folder / "bin" / "uv")]


def version_of(peer: Peer) -> str:
    if not peer.own:
        return version(peer.package)
    pins = dict(line.split("==") for line in (JOBS / f"{peer.job}.txt").read_text().split())
    return pins[peer.package]


def commit() -> str:
    """What was measured changes with the code."""
    asked = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(asked, cwd=RESULTS, capture_output=True, text=True, check=True).stdout.strip()


def merged(known: dict[str, Any], about: dict[str, Any], rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The table `known` with `rows` instead of older ones of the same peers, in the order of PEERS.

    Raises ValueError when it is of other pictures.
    """
    other = [key for key in about if key in known and known[key] != about[key]]
    if other:
        raise ValueError(f"of another {' and '.join(other)}: {', '.join(str(known[key]) for key in other)}")
    anew = {_peer(name) for name in rows}
    kept = {name: row for name, row in known.get("rows", {}).items() if _peer(name) not in anew}
    order = ["float", *PEERS]
    found = sorted({**kept, **rows}.items(), key=lambda item: order.index(_peer(item[0])))
    return {**about, "rows": dict(found)}


def _peer(row: str) -> str:
    """Some peers have a row for each of their files."""
    return row.split()[0]


def save(file: Path, table: dict[str, Any]) -> None:
    text = yaml.safe_dump(table, sort_keys=False, width=110, allow_unicode=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(f"# Written by benchmarks/peers.py\n{text}")
    fresh.replace(file)


def lines(table: dict[str, Any]) -> list[str]:
    """The table for a terminal."""
    rows = table["rows"]
    columns = [key for key in METRICS if any(key in row for row in rows.values())]
    head = ["peer", "version", *columns, "MB", "ratio", "s", "CPU s", "peak MB", "load"]
    cells = [head]
    for name, row in rows.items():
        loads = " - ".join(str(load) for load in row.get("load", []))
        size = f"{row['bytes'] / 1e6:.2f}" if "bytes" in row else ""
        rest = [str(row.get(key, "")) for key in ("size_ratio", "seconds", "cpu_seconds", "peak_mb")]
        figures = [str(row.get(key, "")) for key in columns]
        cells.append([name, row.get("version", ""), *figures, size, *rest, loads])
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    found = []
    for name, row in zip(["", *rows], cells, strict=True):
        found.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if rows.get(name, {}).get("failed"):
            found.append(f"    failed: {rows[name]['failed']}")
        if rows.get(name, {}).get("figures"):
            found.append(f"    the figures are {rows[name]['figures']}")
        if rows.get(name, {}).get("not_finite"):
            found.append(f"    NaN or infinity for {rows[name]['not_finite']} pictures")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="PEER")
    parser.add_argument("--calibration", type=int, metavar="N", help="pictures; default: the recipe's")
    parser.add_argument("--evaluation", type=int, metavar="N", help="pictures; default: the recipe's")
    parser.add_argument("--limit", type=float, default=20, metavar="MINUTES", help="of a peer; default: 20")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: recipes/results/RECIPE.peers.yaml")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no peer outlives this
    counts = {"calibration": wanted.calibration, "evaluation": wanted.evaluation}
    sets = [f"data.{split}.count={count}" for split, count in counts.items() if count is not None]
    scratch = cache_dir() / "benchmarks"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="peers-") as work:
        bench = Bench(wanted.recipe, sets, Path(work), wanted.limit * 60)
        bench.prepare(png=any(PEERS[name].job == "mnn" for name in wanted.peers))
        name, given = bench.prepared["name"], bench.prepared
        file = wanted.out if wanted.out is not None else RESULTS / f"{name}.peers.yaml"
        about = {"model": name, "seed": given["seed"], **given["origins"]}
        measured = {"cpus": os.cpu_count(), "commit": commit()}
        table = yaml.safe_load(file.read_text()) if file.is_file() else {}
        for peer in ("float", *wanted.peers):
            print(f"{peer} ...", file=sys.stderr, flush=True)
            rows = bench.rows(peer, PEERS[peer]) if peer in PEERS else {peer: bench.unquantized()}
            try:
                table = merged(table, about, {row: {**found, **measured} for row, found in rows.items()})
            except ValueError as error:
                parser.error(f"{file} is {error}. Write elsewhere with --out.")
            save(file, table)
    print("\n".join(lines(table)))


if __name__ == "__main__":
    main()
