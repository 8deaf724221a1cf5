"""What the C++ runner is built from and emulated with: unpacked packages in `cache/arm/`.

Debian's packages are those of the system's own release, checked by apt's signatures; all others are pinned
by sha256.
"""

from __future__ import annotations

import io
import platform
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal

from edgekit.cachedir import cache_dir
from edgekit.data import debian, npm
from edgekit.data.files import build_once, scratch_folder, write_bytes
from edgekit.data.sources import SourceFailed, download_wheel
from edgekit.errors import EdgekitError

Log = Callable[[str], None]
Machine = Literal["x86_64", "aarch64"]

LAYOUT = 1  # raised when what lies in the folders below changes

# The Python side's version, so that the same kernels answer on both sides.
ONNXRUNTIME = "onnxruntime==1.23.2"
_LIBRARY = "onnxruntime/capi/libonnxruntime.so.1.23.2"
_LIBRARY_SHA256: dict[Machine, str] = {
    "x86_64": "718c3fb0785d5ea06061b92c32ce4ad35be1bd4c71ae6192efe06f1ab21f0f8a",
    "aarch64": "ab8c4363e06ac80b3d1279ea55ebea44e906c5b131ba783ff684a067540c0e94",
}

# No wheel holds ONNX Runtime's headers; this package carries the Android archive of 1.26.0, which does. Only
# what the interface had in 1.12 is used, and that has been the same ever since.
_HEADERS_PACKAGE = "com.github.asus4.onnxruntime@0.4.8"
_HEADERS_ARCHIVE = "package/Plugins/Android/onnxruntime.aar"
_HEADERS_SHA256 = {
    "onnxruntime_c_api.h": "f09c0d8584aae94dced9bb05cff8579f4f6c5c4a2271413ea8ab27bd0bbf46aa",
    "onnxruntime_ep_c_api.h": "27538eefe8c720ed2034fe778316e32e72f225daf8b659efe252af4f47e015ed",
}

_GCC = 12
_CROSS_PACKAGES = [
    "binutils-aarch64-linux-gnu",
    f"cpp-{_GCC}-aarch64-linux-gnu",
    f"gcc-{_GCC}-aarch64-linux-gnu",
    f"g++-{_GCC}-aarch64-linux-gnu",
    f"libgcc-{_GCC}-dev-arm64-cross",
    f"libstdc++-{_GCC}-dev-arm64-cross",
    "libc6-dev-arm64-cross",
    "libc6-arm64-cross",
    "linux-libc-dev-arm64-cross",
    "libgcc-s1-arm64-cross",
    "libstdc++6-arm64-cross",
    "libisl23",
    "libmpc3",
    "libmpfr6",
    "libgmp10",
    "libjansson4",
    "qemu-user-static",
]
# The emulator that takes plugins is not the static one.
COUNTING_EMULATOR = "qemu-aarch64"
_COUNTING_PACKAGES = [
    "qemu-user",
    "libcapstone4",
    "libffi8",
    "libglib2.0-0",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libidn2-0",
    "libnettle8",
    "libnuma1",
    "libp11-kit0",
    "libpcre2-8-0",
    "libtasn1-6",
    "libunistring2",
    "liburing2",
    "zlib1g",
]
_DEBIAN: dict[Machine, str] = {"x86_64": "amd64", "aarch64": "arm64"}
_HEADER_PACKAGES = ["libpng-dev", "libjpeg62-turbo-dev", "nlohmann-json3-dev", "libgtest-dev", "zlib1g-dev"]
# Linked at run time, beside the runner: a board may lack them. package -> file
_SHARED = {
    "libpng16-16": "libpng16.so.16",
    "libjpeg62-turbo": "libjpeg.so.62",
    "zlib1g": "libz.so.1",
}


def tools(log: Log) -> Path:
    """Debian's cross compiler and the emulator, as they would lie below /. Raises EK403, EK410, EK502."""
    if platform.machine() != "x86_64":
        raise EdgekitError("EK502", f"The cross compiler is set up on x86_64, not on {platform.machine()}.")

    def make(folder: Path) -> None:
        debian.unpack_whole(_CROSS_PACKAGES, folder, log)

    return build_once(_place("tools"), make, log)


def counting_emulator(log: Log) -> Path:
    """The emulator that takes plugins, with its libraries, as they would lie below /. Raises EK403, EK410."""

    def make(folder: Path) -> None:
        debian.unpack_whole(_COUNTING_PACKAGES, folder, log)
        for path in sorted(folder.glob("usr/bin/qemu-*")):
            if path.name != COUNTING_EMULATOR:  # the other 30 processors: 90 MB
                path.unlink()

    return build_once(_place("counting"), make, log)


def tool_libraries(tools: Path) -> Path:
    """What LD_LIBRARY_PATH must name for the cross compiler, or the counting emulator, to run."""
    return tools / "usr/lib/x86_64-linux-gnu"


def libraries(machine: Machine, log: Log) -> Path:
    """`include/` and `lib/` of what the runner needs on a machine. Raises EK402, EK403 and EK410."""

    def make(folder: Path) -> None:
        include, lib = folder / "include", folder / "lib"
        include.mkdir()
        lib.mkdir()
        with scratch_folder(folder.parent, ".libraries-") as scratch:
            _onnxruntime(machine, scratch, lib / "libonnxruntime.so.1", log)
            system = scratch / "system"
            system.mkdir()
            packages = [*_HEADER_PACKAGES, *_SHARED]
            debian.unpack_whole(packages, system, log, architecture=_DEBIAN[machine])
            for source in (system / "usr/include", system / f"usr/include/{machine}-linux-gnu"):
                shutil.copytree(source, include, dirs_exist_ok=True)
            for name in _SHARED.values():
                found = next(path for path in sorted(system.rglob(name)))
                shutil.copyfile(found.resolve(), lib / name)
            for archive in sorted(system.rglob("libgtest*.a")):
                shutil.copyfile(archive, lib / archive.name)
        for header in sorted(_headers(log).glob("*.h")):
            shutil.copyfile(header, include / header.name)

    return build_once(_place(f"libraries-{machine}"), make, log)


def _place(name: str) -> Path:
    return cache_dir() / "arm" / f"{name}-{LAYOUT}"


def _onnxruntime(machine: Machine, scratch: Path, out: Path, log: Log) -> None:
    log(f"fetching wheel {ONNXRUNTIME} for {machine}")
    try:
        wheel = download_wheel(ONNXRUNTIME, scratch, "3.10", f"manylinux_2_27_{machine}")
    except SourceFailed as error:
        raise EdgekitError("EK403", f"{ONNXRUNTIME} for {machine} could not be fetched: {error}.") from error
    with zipfile.ZipFile(wheel) as archive:
        write_bytes(out, _pinned(archive.read(_LIBRARY), _LIBRARY, _LIBRARY_SHA256[machine]))


def _headers(log: Log) -> Path:
    """ONNX Runtime's C headers."""

    def make(folder: Path) -> None:
        log(f"fetching npm package {_HEADERS_PACKAGE}")
        with scratch_folder(folder.parent, ".npm-") as scratch:
            try:
                with tarfile.open(npm.fetch(_HEADERS_PACKAGE, scratch)) as package:
                    member = package.extractfile(_HEADERS_ARCHIVE)
                    assert member is not None  # extractfile gives None only for what is no file
                    archive = zipfile.ZipFile(io.BytesIO(member.read()))
            except (OSError, KeyError, tarfile.TarError) as error:
                raise EdgekitError("EK403", f"{_HEADERS_PACKAGE} cannot be unpacked: {error}.") from error
            for name, digest in _HEADERS_SHA256.items():
                write_bytes(folder / name, _pinned(archive.read(f"headers/{name}"), name, digest))

    return build_once(_place("onnxruntime-headers"), make, log)


def _pinned(data: bytes, name: str, digest: str) -> bytes:
    if (found := sha256(data).hexdigest()) != digest:
        raise EdgekitError("EK402", f"{name} has sha256 {found}, expected {digest}.")
    return data
