"""The demo's APK by the tools that the Android Gradle plugin calls: aapt2, javac, D8, zipalign, apksigner."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.android import assets, parts, runtime
from edgekit.android.parts import ANDROID, DEXER, ENGINE, GSON, Log
from edgekit.apps.bundles import Kind
from edgekit.cachedir import cache_dir
from edgekit.data.files import build_once, disk_full_guard, scratch_folder
from edgekit.errors import EdgekitError
from edgekit.result import Result

PACKAGE = "edgekit.demo"
MIN_SDK, TARGET_SDK = 24, 34
VERSION = "0.1.0"
_MAIN = assets.DEMO / "app/src/main"


@dataclass(frozen=True)
class Keystore:
    """Who signs. `password`: as apksigner takes it, "pass:...", "env:NAME" or "file:PATH"."""

    path: Path
    alias: str
    password: str


def build(
    bundles: Sequence[Path],
    output: Path,
    *,
    kinds: Sequence[Kind],
    abis: Sequence[str],
    paddle_lite: Path | None,
    keystore: Keystore | None,
    log: Log,
) -> Result:
    """A signed, aligned APK with these bundles inside, and its size by what takes the room.

    Raises EK106 and EK410 (it cannot be written), EK107, EK401, EK402, EK403, EK409 and EK502.
    """
    assets.require_demo()
    if output.is_dir():
        raise EdgekitError("EK106", f"{output} is a folder: give a file with --output.")
    libraries = parts.libraries(log)
    signer = keystore or debug_keystore(log)
    jars, natives = [runtime.jar(log), libraries / GSON, libraries / ENGINE], _natives(libraries, abis)
    if paddle_lite is not None:
        jar, more = release(paddle_lite, abis)
        jars.append(jar)
        natives.update(more)
    # Beside the output, so that the finished file can be renamed to it.
    output.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_guard(output), scratch_folder(output.parent.resolve(), ".apk-") as scratch:
        gather(bundles, kinds, paddle_lite is not None, scratch / "assets")
        base, sources = link(scratch / "assets", scratch, log)
        log("compiling the app")
        classes = _compile(sources, scratch, jars, libraries)
        log("making dex files")
        dexed = _dex(classes, jars, scratch, libraries)
        raw, aligned = scratch / "raw.apk", scratch / "aligned.apk"
        _pack(base, dexed, natives, raw)
        log("aligning and signing")
        parts.zipalign(["-p", "-f", "4", raw, aligned], log)
        parts.apksigner(
            ["sign", "--ks", signer.path, "--ks-key-alias", signer.alias, "--ks-pass", signer.password,
             "--min-sdk-version", MIN_SDK, "--v4-signing-enabled", "false", aligned],
            log,
        )  # fmt: skip
        parts.zipalign(["-c", "-p", "4", aligned], log)
        parts.apksigner(["verify", "--min-sdk-version", MIN_SDK, aligned], log)
        os.replace(aligned, output)
    return _told(output)


def gather(bundles: Sequence[Path], kinds: Sequence[Kind], lite: bool, into: Path) -> None:
    """The assets, in the fresh folder `into`: the demo's own, with what was pushed, and bundles."""
    shutil.copytree(_MAIN / "assets", into, ignore=shutil.ignore_patterns(".*", "README*"))
    for bundle in bundles:
        assets.push(bundle, into / assets.BUNDLES, kinds, lite)


def link(inside: Path, scratch: Path, log: Log) -> tuple[Path, Path]:
    """An APK of manifest, resources and assets, which Robolectric reads, too; and the folder with R.java."""
    manifest = scratch / "AndroidManifest.xml"
    text = (_MAIN / "AndroidManifest.xml").read_text(encoding="utf-8")
    # Gradle has these in build.gradle.kts and warns of them in the manifest; aapt2 must find them there.
    text = text.replace("<manifest ", f'<manifest package="{PACKAGE}" ', 1)
    text = text.replace("<application", '<application android:extractNativeLibs="true"', 1)
    manifest.write_text(text, encoding="utf-8")
    compiled, base, sources = scratch / "resources.zip", scratch / "base.apk", scratch / "generated"
    parts.aapt2(["compile", "--dir", _MAIN / "res", "-o", compiled], log)
    parts.aapt2(
        ["link", "-I", parts.libraries(log) / ANDROID, "--manifest", manifest, "-A", inside,
         "--java", sources, "--min-sdk-version", MIN_SDK, "--target-sdk-version", TARGET_SDK,
         "--version-code", 1, "--version-name", VERSION, "-o", base, compiled],
        log,
    )  # fmt: skip
    return base, sources


def _compile(sources: Path, scratch: Path, jars: Sequence[Path], libraries: Path) -> Path:
    classes = scratch / "classes"
    path = os.pathsep.join(str(jar) for jar in (*jars, libraries / ANDROID))
    files = [*sorted((_MAIN / "java").rglob("*.java")), *sorted(sources.rglob("*.java"))]
    parts.run(
        ["javac", "--release", "11", "-encoding", "UTF-8", "-nowarn", "-cp", path, "-d", classes, *files]
    )
    return classes


def _dex(classes: Path, jars: Sequence[Path], scratch: Path, libraries: Path) -> list[Path]:
    out, app = scratch / "dex", scratch / "app.jar"
    out.mkdir()
    with zipfile.ZipFile(app, "w") as archive:
        for path in sorted(classes.rglob("*.class")):
            archive.write(path, path.relative_to(classes).as_posix())
    parts.run(
        ["java", "-cp", libraries / DEXER, "com.android.tools.r8.D8", "--release", "--min-api", MIN_SDK,
         "--lib", libraries / ANDROID, "--output", out, app, *jars]
    )  # fmt: skip
    return sorted(out.glob("*.dex"))


def _natives(libraries: Path, abis: Sequence[str]) -> dict[str, Path]:
    return {f"lib/{abi}/{path.name}": path for abi in abis for path in parts.natives(libraries, abi)}


def release(folder: Path, abis: Sequence[str]) -> tuple[Path, dict[str, Path]]:
    """A release's jar and its libraries per ABI: `PaddlePredictor.jar`, `ABI/libpaddle_lite_jni.so`."""
    jar = next(iter(sorted(folder.rglob("PaddlePredictor.jar"))), None)
    if jar is None:
        raise EdgekitError(
            "EK401", f"{folder} holds no PaddlePredictor.jar: it is no release of Paddle Lite."
        )
    natives = {}
    for abi in abis:
        of_abi = [path for path in sorted(folder.rglob("libpaddle_lite_jni.so")) if path.parent.name == abi]
        # A release for one architecture has its library in so/.
        found = of_abi or [path for path in folder.rglob("libpaddle_lite_jni.so") if len(abis) == 1]
        if not found:
            raise EdgekitError("EK401", f"{folder} holds no {abi}/libpaddle_lite_jni.so.")
        natives[f"lib/{abi}/{found[0].name}"] = found[0]
    return jar, natives


def _pack(base: Path, dexed: Sequence[Path], natives: Mapping[str, Path], out: Path) -> None:
    """Natives are compressed, and unpacked at installation: mapped from the APK they would have to lie at
    multiples of the device's pages, which have 4 or 16 KB, and Debian's zipalign knows the former only."""
    shutil.copyfile(base, out)
    with zipfile.ZipFile(out, "a") as archive:
        for path in dexed:
            archive.write(path, path.name, zipfile.ZIP_DEFLATED)
        for name, path in sorted(natives.items()):
            archive.write(path, name, zipfile.ZIP_DEFLATED)


def own_keystore(path: Path | None, alias: str | None, password: str | None) -> Keystore | None:
    """From the command line; None when nothing is given. Raises EK107 and EK401."""
    if path is None and alias is None and password is None:
        return None
    if path is None or alias is None or password is None:
        raise EdgekitError("EK107", "--keystore, --alias and --password go together.")
    if not password.startswith(("env:", "file:")):
        raise EdgekitError("EK107", "--password takes env:NAME or file:PATH, not the password itself.")
    if not path.is_file():
        raise EdgekitError("EK401", f"The keystore {path} is not there.")
    return Keystore(path, alias, password)


def debug_keystore(log: Log) -> Keystore:
    """A key of this machine's own, as Android Studio makes one. Raises EK502."""

    def make(folder: Path) -> None:
        log("making a debug key")
        parts.run(
            ["keytool", "-genkeypair", "-keystore", folder / "debug.keystore", "-storepass", "android",
             "-keypass", "android", "-alias", "androiddebugkey", "-keyalg", "RSA", "-keysize", 2048,
             "-validity", 10000, "-dname", "CN=Android Debug,O=Android,C=US"]
        )  # fmt: skip

    folder = build_once(cache_dir() / "android" / "debug-key", make, log)
    return Keystore(folder / "debug.keystore", "androiddebugkey", "pass:android")


def _told(output: Path) -> Result:
    """What is inside, from the file itself."""
    with zipfile.ZipFile(output) as archive:
        entries = archive.infolist()
    sizes: dict[str, int] = {}
    for entry in entries:
        sizes[_kind_of(entry.filename)] = sizes.get(_kind_of(entry.filename), 0) + entry.compress_size
    size = output.stat().st_size
    sizes["alignment, signatures, directory"] = size - sum(sizes.values())
    lines = [f"{output}: {size / 1e6:.2f} MB"]
    lines += [
        f"  {value / 1e6:7.2f} MB  {name}" for name, value in sorted(sizes.items(), key=lambda x: -x[1])
    ]
    return Result(lines, {"path": str(output), "bytes": size, "inside": sizes})


def _kind_of(name: str) -> str:
    if found := re.match(r"lib/([^/]+)/", name):
        return f"natives for {found[1]}"
    if found := re.match(rf"assets/{assets.BUNDLES}/([^/]+)/", name):
        return f"{'golden vectors of' if '/golden/' in name else 'bundle'} {found[1]}"
    return "code" if name.endswith(".dex") else "resources and manifest"
