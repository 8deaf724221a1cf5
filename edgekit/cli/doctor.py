"""`edgekit doctor`"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from edgekit import cpu
from edgekit.cachedir import cache_dir
from edgekit.cli import options
from edgekit.errors import EdgekitError

# The set of versions that edgekit was measured with; pyproject.toml pins the same (a test compares).
ENGINES = {
    "paddlepaddle": "2.6.2",
    "paddleslim": "2.6.0",
    "paddlelite": "2.13rc0",
    "paddle2onnx": "1.3.1",
    "onnx": "1.17.0",
    "onnxruntime": "1.23.2",
    "numpy": "1.26.4",
    "opencv-python": "4.6.0.66",
}
PYTHON = (3, 10)

_LITE = "import paddlelite.lite as lite; print('opt', lite.Opt().version())"


@click.command()
@options.json_file
@options.debug
def doctor(json_file: Path | None) -> None:
    """Check this machine: versions, processor, Paddle Lite, cache.

    \b
    Example:
      edgekit doctor
    """
    found = examine()
    options.finish(_text(found), found, json_file)
    wrong = [
        f"{name} {row['found'] or 'is missing'} (needed: {row['needed']})"
        for name, row in found["engines"].items()
        if row["found"] != row["needed"]
    ]
    if not found["paddle_lite_opt"]["works"]:
        wrong.append(f"Paddle Lite cannot be loaded ({found['paddle_lite_opt']['answer']})")
    if wrong:
        raise EdgekitError(
            "EK502", f"{'; '.join(wrong)}. Install edgekit again into a CPython 3.10 of its own."
        )


def examine() -> dict[str, Any]:
    cache = cache_dir()
    return {
        "python": {"found": platform.python_version(), "needed": ".".join(map(str, PYTHON))},
        "engines": {name: {"found": _version(name), "needed": pin} for name, pin in ENGINES.items()},
        "paddle_lite_opt": _lite(),
        "cpu": _cpu(),
        "cache": {"folder": str(cache), "bytes": _size(cache)},
        "apt_get": shutil.which("apt-get") is not None,
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lite() -> dict[str, Any]:
    """In a child process: a Paddle Lite that does not fit the machine dies with a signal."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", _LITE],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return {"works": False, "answer": "no answer within 60 s"}
    for line in child.stdout.splitlines():
        if line.startswith("opt "):
            return {"works": True, "answer": line.removeprefix("opt ").strip()}
    last = child.stderr.strip().splitlines()[-1:] or [f"exit status {child.returncode}"]
    return {"works": False, "answer": last[0]}


def _cpu() -> dict[str, Any]:
    flags = cpu.flags()
    machine = platform.machine()
    features = {name: name in flags for name in ("avx2", "avx512_vnni", "avx_vnni", "asimddp")}
    return {
        "machine": machine,
        "cores": cpu.cores(),
        "features": features,
        "meaning": _meaning(machine, features, known=bool(flags)),
    }


def _meaning(machine: str, features: dict[str, bool], known: bool) -> str:
    if not known:
        return "unknown processor features: int8 times measured here may say little about other processors"
    if machine not in ("x86_64", "AMD64"):
        return "not x86: int8 answers and times are those of the device"
    if features["avx512_vnni"] or features["avx_vnni"]:
        return "VNNI: int8 runs on dot products, its answers are those of ARM"
    return "no VNNI: int8 answers are those of ARM, by slower exact kernels; int8 times say little here"


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*") if folder.is_dir() else ():
        try:
            if file.is_file() and not file.is_symlink():
                total += file.stat().st_size
        except OSError:
            continue  # removed meanwhile
    return total


def _text(found: dict[str, Any]) -> str:
    rows = [("python", found["python"]["found"], found["python"]["needed"])]
    rows += [(name, row["found"] or "missing", row["needed"]) for name, row in found["engines"].items()]
    lines = [f"{'':15} {'found':10} needed"]
    lines += [
        f"{name:15} {version:10} {needed}{'' if name == 'python' or version == needed else '   <- differs'}"
        for name, version, needed in rows
    ]
    cpu, cache, lite = found["cpu"], found["cache"], found["paddle_lite_opt"]
    has = " ".join(name for name, present in cpu["features"].items() if present)
    lines += [
        f"Paddle Lite opt {lite['answer']}{'' if lite['works'] else '   <- does not work'}",
        f"processor       {cpu['machine']}, {cpu['cores']} cores, {has or 'no int8 extensions known'}",
        f"                {cpu['meaning']}",
        f"cache           {cache['folder']} ({cache['bytes'] / 1e6:.1f} MB)",
        "apt-get         "
        + ("present" if found["apt_get"] else "absent: composed scenes fall back to photographs from pip"),
    ]
    return "\n".join(lines)
