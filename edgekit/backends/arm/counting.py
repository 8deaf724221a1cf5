"""Executed instructions of one inference on an emulated ARM core, by kind: what it costs, as far as that
can be said without a board.

A plugin of the emulator counts (`runtimes/qemu-plugin/`), between two marks that the C++ runner has around an
inference. How long an instruction takes is not in it: nothing here is a time.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from edgekit.backends.arm import emulated, parts, runner
from edgekit.backends.arm.parts import Log
from edgekit.backends.child import last_words
from edgekit.cachedir import cache_dir
from edgekit.data.files import build_once, scratch_folder, sha256_of
from edgekit.errors import EdgekitError

SOURCE = runner.SOURCE.parent / "qemu-plugin"
PLUGIN = "libcount.so"
# Of int8 products, floating-point, other work on vectors, reading and writing memory, jumps, all else.
KINDS = ("dot", "fp", "simd", "load", "store", "branch", "other")
# The first inference allocates memory and touches it for the first time; the next ones are alike.
WARMUP, COUNTED = 1, 2
COMPILE_TIMEOUT = 300  # seconds

Counts = dict[str, int]


def plugin(log: Log) -> Path:
    """The plugin's file, compiled by this machine's `cc`, made once for each state of its source.

    Raises EK410, and EK502 where there is no source, no compiler, or it does not compile.
    """
    files = sorted(SOURCE.glob("*.[ch]"))
    if not files:
        raise EdgekitError(
            "EK502", "The plugin that counts is built from runtimes/qemu-plugin, which only a checkout has."
        )
    state = json.dumps([parts.LAYOUT, {path.name: sha256_of(path) for path in files}])

    def make(folder: Path) -> None:
        log(f"compiling {PLUGIN}")
        compile_c([path for path in files if path.suffix == ".c"], folder / PLUGIN, ["-shared", "-fPIC"])

    place = cache_dir() / "arm" / f"plugin-{sha256(state.encode()).hexdigest()[:16]}"
    return build_once(place, make, log) / PLUGIN


def compile_c(sources: Sequence[Path], out: Path, options: Sequence[str]) -> None:
    """C for this machine. Raises EK502."""
    words = ["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-fvisibility=hidden"]
    try:
        done = subprocess.run(
            [*words, *options, "-o", str(out), *map(str, sources)],
            capture_output=True, text=True, errors="replace", timeout=COMPILE_TIMEOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgekitError(
            "EK502", f"A C compiler is needed to count instructions, and cc cannot be run: {error}."
        ) from error
    if done.returncode:
        raise EdgekitError("EK502", f"cc failed: {last_words(done.stderr, 2000)}")


def run(cpu: str, words: Sequence[str], log: Log) -> tuple[Counts, list[Counts]]:
    """Run an ARM program; the instructions of the whole run, and of each stretch between two marks.

    `cpu`: one of `emulated.CPUS`. Raises EK403, EK410, EK502 (parts are missing), EK501 (the program fails).
    """
    tools, root, counts = parts.tools(log), parts.counting_emulator(log), plugin(log)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(parts.tool_libraries(root))}
    place = cache_dir() / "arm"
    with scratch_folder(place, ".count-") as scratch:
        out = scratch / "counts.json"
        # A comma in an option of qemu's is written twice.
        given = f"{counts},out={str(out).replace(',', ',,')}"
        command = [
            str(root / "usr/bin" / parts.COUNTING_EMULATOR), "-cpu", emulated.CPUS[cpu],
            "-L", str(tools / "usr/aarch64-linux-gnu"), "-U", "LD_LIBRARY_PATH", "-plugin", given, *words,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, errors="replace",
                timeout=emulated.TIMEOUT,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EdgekitError("EK501", f"The counting emulator cannot be run: {error}.") from error
        if done.returncode or not out.is_file():
            raise emulated.refused(done)
        found = json.loads(out.read_text())
    return found["whole"], found["marked"]


def inference(bundle: Path, cpu: str, kind: str | None, log: Log) -> Counts:
    """Instructions of one inference of a bundle's model on its first golden picture, on one thread.

    Pre- and post-processing are not in it. `kind`: fp32, int8, or None for the manifest's default. Raises
    EK401 and EK409 (no such bundle or model) and what `run` does.
    """
    program = runner.build("aarch64", log) / runner.NAME
    asked = ["--threads", "1", "--warmup", str(WARMUP), "--repeats", str(COUNTED)]
    words = [str(program), "bench", str(bundle), *asked, *(["--model", kind] if kind else [])]
    _, marked = run(cpu, words, log)
    if len(marked) != WARMUP + COUNTED:
        raise EdgekitError("EK501", f"{len(marked)} inferences were counted, not {WARMUP + COUNTED}.")
    return marked[-1]
