"""A Java machine for ARM, emulated: the jar of `runtimes/jvm` runs there as it is, with aarch64 natives."""

from __future__ import annotations

from pathlib import Path

from edgekit.backends.arm import parts
from edgekit.backends.arm.parts import Log
from edgekit.cachedir import cache_dir
from edgekit.data import debian
from edgekit.data.files import build_once

LAYOUT = 1  # raised when what lies in the folder changes
_JAVA = "usr/lib/jvm/java-17-openjdk-arm64"
_PACKAGES = [
    "openjdk-17-jre-headless",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    # java.desktop, by which the command decodes pictures, links these
    "libpng16-16",
    "libjpeg62-turbo",
    "liblcms2-2",
    "libfreetype6",
    "libharfbuzz0b",
    "libglib2.0-0",
    "libpcre2-8-0",
    "libgraphite2-3",
    "libbrotli1",
    "libexpat1",
]


def command(cpu: str, log: Log) -> list[str]:
    """The words before `-jar ...`. Raises EK403, EK410 and EK502."""
    root = _root(log)
    emulator = parts.tools(log) / "usr/bin/qemu-aarch64-static"
    return [str(emulator), "-cpu", cpu, "-L", str(root), str(root / _JAVA / "bin/java")]


def _root(log: Log) -> Path:
    """Debian's packages for arm64, as they would lie below /."""

    def make(folder: Path) -> None:
        debian.unpack_whole(_PACKAGES, folder, log, architecture="arm64")
        # Links to absolute places lead out of this folder; nothing that runs here follows them.
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() and not path.exists():
                path.unlink()

    return build_once(cache_dir() / "arm" / f"java-{LAYOUT}", make, log)
