"""The Java runtime, built by Maven once for each state of its source."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "runtimes" / "jvm"


@dataclass(frozen=True)
class Jvm:
    """`target` holds the jar, lib/, and the classes of the tests; `java` starts a Java machine."""

    target: Path
    java: Sequence[str] = ("java",)

    def run(self, *arguments: object, timeout: int = 600) -> subprocess.CompletedProcess[str]:
        """The command."""
        return self._java(["-jar", self.target / "edgekit-runtime.jar", *arguments], timeout)

    def steps(self, folder: Path, steps: Sequence[Sequence[object]]) -> None:
        """Single steps of the runtime; see Steps.java."""
        lines = ["\t".join(map(str, step)) for step in steps]
        (folder / "steps.txt").write_text("\n".join(lines) + "\n")
        places = [self.target / "classes", self.target / "test-classes", *(self.target / "lib").glob("*.jar")]
        path = os.pathsep.join(map(str, places))
        done = self._java(["-cp", path, "edgekit.runtime.Steps", folder / "steps.txt"], 600)
        assert done.returncode == 0, done.stderr

    def _java(self, arguments: Sequence[object], timeout: int) -> subprocess.CompletedProcess[str]:
        command = [*self.java, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=timeout)


def built() -> Jvm:
    """With its unit tests run, unless they passed since the source changed. Skips where there is no Maven."""
    if shutil.which("mvn") is None:
        pytest.skip("the Java runtime is built by Maven (mvn), which is not installed")
    target = SOURCE / "target"
    target.mkdir(exist_ok=True)
    passed = target / "tests-passed"
    changed = max(path.stat().st_mtime for path in (SOURCE / "pom.xml", *(SOURCE / "src").rglob("*")))
    with open(target / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not passed.exists() or passed.stat().st_mtime < changed:
            done = subprocess.run(
                ["mvn", "-q", "-B", "package"], cwd=SOURCE, capture_output=True, text=True, timeout=1800
            )
            assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
            passed.touch()
    return Jvm(target)
