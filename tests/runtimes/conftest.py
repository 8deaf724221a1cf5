"""The C++ runtime with its tests, compiled once for each state of its source (kept in the cache)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.backends.arm import parts, runner
from edgekit.cachedir import cache_dir


@dataclass(frozen=True)
class Programs:
    """A folder with edgekit-run, edgekit-tests, edgekit-steps, edgekit-fuzz and edgekit-c-api."""

    folder: Path

    def run(self, name: str, *arguments: object, timeout: int = 1200) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / name), *map(str, arguments)], capture_output=True, text=True, timeout=timeout
        )

    def step(self, *arguments: object) -> None:
        done = self.run("edgekit-steps", *arguments)
        assert done.returncode == 0, done.stderr


def compiled(name: str, options: Sequence[str]) -> Programs:
    libraries = parts.libraries("x86_64", print)
    # CMake's folder belongs to one checkout.
    checkout = hashlib.sha256(str(runner.SOURCE).encode()).hexdigest()[:8]
    folder = cache_dir() / "arm" / f"{name}-{checkout}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = [f"-DEDGEKIT_DEPENDENCIES={libraries}", "-DEDGEKIT_TESTS=ON", *options]
        runner.compile_in(folder, runner.SOURCE, wanted, dict(os.environ))
        for library in (libraries / "lib").glob("*.so*"):
            for place in (folder, folder / "tests"):
                if not (place / library.name).exists():
                    (place / library.name).symlink_to(library)
        for program in ("edgekit-tests", "edgekit-steps", "edgekit-fuzz", "edgekit-c-api"):
            if not (folder / program).exists():
                (folder / program).symlink_to(folder / "tests" / program)
    return Programs(folder)


@pytest.fixture(scope="session")
def programs() -> Programs:
    return compiled("tests-x86", [])


@pytest.fixture(scope="session")
def sanitized() -> Programs:
    """With AddressSanitizer and UndefinedBehaviorSanitizer, any finding of which ends the program."""
    return compiled("tests-x86-sanitized", ["-DEDGEKIT_SANITIZE=ON"])
