from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from edgekit.android import parts, runtime
from edgekit.cachedir import cache_dir


@pytest.fixture(scope="session")
def android_parts() -> Path:
    """What APKs are built from, fetched by whichever worker comes first."""
    folder = cache_dir() / "android"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        parts.tools(print)
        runtime.jar(print)
        return parts.libraries(print)
