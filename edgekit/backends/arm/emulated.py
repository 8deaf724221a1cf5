"""The C++ runner on an emulated ARM core, by qemu's user mode.

Times of an emulator say nothing about a board.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from edgekit.backends.arm import parts, runner
from edgekit.backends.arm.parts import Log
from edgekit.backends.child import last_words
from edgekit.errors import EdgekitError

# qemu's names. a53 and a72 have no dot product, a76 has SDOT, i8mm has Armv8.6's int8 matrix multiplication.
CPUS = {"a53": "cortex-a53", "a72": "cortex-a72", "a76": "cortex-a76", "i8mm": "max,sve=off"}
DEFAULT = ("a53", "a76")
TIMEOUT = 1800  # seconds
_SELF_TEST_FAILED = 3


def command(cpu: str, log: Log) -> list[str]:
    """The words before `edgekit-run`'s own arguments. Raises what `parts.tools` and `runner.build` do."""
    tools = parts.tools(log)
    root = tools / "usr/aarch64-linux-gnu"
    emulator = tools / "usr/bin/qemu-aarch64-static"
    program = runner.build("aarch64", log) / runner.NAME
    return [str(emulator), "-cpu", CPUS[cpu], "-L", str(root), str(program)]


def self_test(bundle: Path, cpu: str, kind: str | None, log: Log) -> list[dict[str, Any]]:
    """What `edgekit-run self-test` says of a bundle on an emulated core, passed or failed: one entry for
    each part of a combined bundle, or the only one.

    Raises EK401, EK409 (no such bundle), EK501 (the runner fails otherwise), and what `command` does.
    """
    words = [*command(cpu, log), "self-test", str(bundle), *(["--model", kind] if kind else [])]
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgekitError("EK501", f"The emulated {runner.NAME} cannot be run: {error}.") from error
    if done.returncode not in (0, _SELF_TEST_FAILED):
        raise refused(done)
    found = json.loads(done.stdout)
    parts_of = found.get("parts", [found])
    assert isinstance(parts_of, list)  # the runner prints one object
    return parts_of


def refused(done: subprocess.CompletedProcess[str]) -> EdgekitError:
    """EK401 or EK409 where the runner says that it is the bundle's fault, EK501 otherwise."""
    said = last_words(done.stderr) or "it said nothing"
    code = next((code for code in ("EK401", "EK409") if code in said), "EK501")
    return EdgekitError(code, f"The emulated {runner.NAME} (exit {done.returncode}) says: {said}")
