"""The jar of `runtimes/jvm`, built by Maven once for each state of its source."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

from edgekit.android.parts import Log
from edgekit.cachedir import cache_dir
from edgekit.data import maven
from edgekit.data.files import build_once, scratch_folder, sha256_of
from edgekit.errors import EdgekitError

NAME = "edgekit-runtime.jar"
_SOURCE = Path(__file__).parents[2] / "runtimes/jvm"


def jar(log: Log) -> Path:
    """Raises EK403, EK410, and EK502 (no source, or Maven cannot build it)."""
    files = [_SOURCE / "pom.xml", *sorted((_SOURCE / "src/main").rglob("*.java"))]
    if not files[0].is_file():
        raise EdgekitError(
            "EK502",
            "The Java runtime is built from runtimes/jvm, which a source checkout has and a wheel has not.",
        )
    hashes = {path.relative_to(_SOURCE).as_posix(): sha256_of(path) for path in files}
    state = sha256(json.dumps(hashes).encode()).hexdigest()[:16]

    def make(folder: Path) -> None:
        log(f"building {NAME}")
        # In a copy: target/ of the source is its own build's, which may be running.
        with scratch_folder(folder.parent, ".maven-") as scratch:
            for name in hashes:
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(_SOURCE / name, scratch / name)
            maven.package(scratch)
            shutil.copyfile(scratch / "target" / NAME, folder / NAME)

    return build_once(cache_dir() / "android" / f"runtime-{state}", make, log) / NAME
