"""`edgekit-run`, the C++ runner, built from `runtimes/cpp/` for this machine or for ARM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

from edgekit.backends.arm import parts
from edgekit.backends.arm.parts import Log, Machine
from edgekit.backends.child import last_words
from edgekit.data.files import build_once, scratch_folder, sha256_of
from edgekit.errors import EdgekitError

NAME = "edgekit-run"
BUILD_TIMEOUT = 1800  # seconds; it takes 100 on one free core
_REPOSITORY = Path(__file__).parents[3]
SOURCE = _REPOSITORY / "runtimes/cpp"
_BUILT_FROM = ("CMakeLists.txt", "cmake/*", "include/*", "src/*")


def build(machine: Machine, log: Log) -> Path:
    """The folder with `edgekit-run` and the libraries it needs, made once for each state of its source.

    Raises EK403 (a package cannot be had), EK410, and EK502 (no source, no cmake, or it does not compile).
    """
    files = sorted(path for place in _BUILT_FROM for path in SOURCE.glob(place) if path.is_file())
    if not files:
        raise EdgekitError(
            "EK502",
            "The C++ runner is built from runtimes/cpp, which a source checkout has and a wheel has not.",
        )
    libraries = parts.libraries(machine, log)
    hashes = {str(path.relative_to(SOURCE)): sha256_of(path) for path in files}
    state = json.dumps([parts.LAYOUT, machine, hashes])
    place = libraries.parent / f"runner-{machine}-{sha256(state.encode()).hexdigest()[:16]}"

    def make(folder: Path) -> None:
        log(f"compiling {NAME} for {machine}")
        options = [f"-DEDGEKIT_DEPENDENCIES={libraries}", f"-DCMAKE_INSTALL_PREFIX={folder}"]
        environment = dict(os.environ)
        if machine == "aarch64":
            tools = parts.tools(log)
            options += [
                f"-DCMAKE_TOOLCHAIN_FILE={SOURCE}/cmake/aarch64-linux.cmake",
                f"-DEDGEKIT_CROSS={tools}",
            ]
            environment["LD_LIBRARY_PATH"] = str(parts.tool_libraries(tools))
        with scratch_folder(folder.parent, ".cmake-") as scratch:
            compile_in(scratch, SOURCE, options, environment)
            _run(["cmake", "--install", str(scratch)], environment)
        for library in sorted((libraries / "lib").glob("*.so*")):
            shutil.copyfile(library, folder / library.name)

    return build_once(place, make, log)


def compile_in(folder: Path, source: Path, options: list[str], environment: dict[str, str]) -> None:
    """Configure and build a CMake project in `folder`. Raises EK502."""
    _run(["cmake", "-S", str(source), "-B", str(folder), *options], environment)
    _run(["cmake", "--build", str(folder)], environment)


def _run(command: list[str], environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=BUILD_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgekitError("EK502", f"{command[0]} cannot be run: {error}.") from error
    if done.returncode:
        raise EdgekitError(
            "EK502", f"{' '.join(command[:3])} failed: {last_words(done.stderr or done.stdout, 2000)}"
        )
