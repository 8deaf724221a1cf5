"""Packages of npm's registry, by the `npm` that is installed, which knows mirrors and proxies."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgekit.errors import EdgekitError

TIMEOUT = 900  # seconds


def fetch(package: str, into: Path) -> Path:
    """The archive (.tgz) of `NAME@VERSION` in the empty folder `into`; no script of it runs. Raises EK403."""
    command = ["npm", "pack", package, "--silent", "--ignore-scripts"]
    try:
        subprocess.run(command, cwd=into, capture_output=True, text=True, check=True, timeout=TIMEOUT)
        return next(into.glob("*.tgz"))
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        said = getattr(error, "stderr", None) or error
        raise EdgekitError(
            "EK403", f"{package} could not be fetched by npm, which must be installed: {said}."
        ) from error
