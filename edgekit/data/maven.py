"""Jars and builds by the `mvn` that is installed, which knows mirrors and proxies."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgekit.errors import EdgekitError

TIMEOUT = 1800  # seconds
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def fetch(artifact: str, into: Path) -> Path:
    """The jar `GROUP:NAME:VERSION`, copied into a folder. Raises EK403."""
    _, name, version = artifact.split(":")
    # In a folder without a pom.xml, so that no project of the user's is asked.
    done = _maven([_COPY, f"-Dartifact={artifact}", f"-DoutputDirectory={into}"], into)
    jar = into / f"{name}-{version}.jar"
    if done.returncode or not jar.is_file():
        raise EdgekitError("EK403", f"{artifact} could not be fetched by Maven: {_first_errors(done.stdout)}")
    return jar


def package(project: Path) -> None:
    """Build the jar of a Maven project, without its tests. Raises EK403 and EK502."""
    done = _maven(["package", "-Dmaven.test.skip=true"], project)
    if done.returncode:
        raise EdgekitError("EK502", f"Maven could not build {project.name}: {_first_errors(done.stdout)}")


def _maven(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["mvn", "-q", "-B", *arguments]
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgekitError(
            "EK403", f"Maven (mvn) must be installed, and cannot be run here: {error}."
        ) from error


def _first_errors(output: str) -> str:
    """Maven says first what is wrong, and then at length where to read about it."""
    lines = [line.strip() for line in output.splitlines() if "ERROR" in line]
    return " ".join(lines[:3])[:1000] or "it says nothing"
