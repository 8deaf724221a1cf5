"""`edgekit android apk`: the file is what Android installs, as far as its own tools can tell."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from edgekit import cli
from edgekit.android import apk, assets, parts
from edgekit.errors import EdgekitError
from tests.apps import small


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return small.bundle(tmp_path / "net", "things")


def paddle_lite(folder: Path, libraries: Path) -> Path:
    """What a release of Paddle Lite looks like: the stand-in's classes in a jar, and a library per ABI."""
    sources = sorted((assets.DEMO / "robolectric/java/com/baidu").rglob("*.java"))
    classes = folder / "classes"
    subprocess.run(["javac", "--release", "11", "-d", classes, *sources], check=True, capture_output=True)
    (folder / "java/jar").mkdir(parents=True)
    with zipfile.ZipFile(folder / "java/jar/PaddlePredictor.jar", "w") as jar:
        for path in classes.rglob("*.class"):
            jar.write(path, path.relative_to(classes).as_posix())
    for abi in ("arm64-v8a", "x86_64"):
        (folder / "java/so" / abi).mkdir(parents=True)
        (folder / "java/so" / abi / "libpaddle_lite_jni.so").write_bytes(b"\x7fELF\0v2.13-rc\0")
    return folder


@pytest.mark.slow
@pytest.mark.network
def test_the_apk_verifies_and_holds_what_it_should(
    android_parts: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, told = tmp_path / "out/demo.apk", tmp_path / "told.json"
    words = ["--bundle", bundle, "--output", output, "--json", told, "--abi", "arm64-v8a", "--abi", "x86_64"]
    words += ["--paddle-lite", paddle_lite(tmp_path / "lite", android_parts)]
    assert cli.main(["android", "apk", *map(str, words)]) == 0
    assert "natives for arm64-v8a" in capsys.readouterr().out
    inside = json.loads(told.read_text())
    assert sum(inside["inside"].values()) == inside["bytes"] == output.stat().st_size
    assert [path.name for path in output.parent.iterdir()] == ["demo.apk"]  # nothing is left beside

    said = parts.apksigner(["verify", "--verbose", output], print)
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in said
    assert "Verified using v3 scheme (APK Signature Scheme v3): true" in said
    parts.zipalign(["-c", "-p", "4", output], print)
    badging = parts.aapt2(["dump", "badging", output], print)
    for line in (
        "package: name='edgekit.demo' versionCode='1'",
        "sdkVersion:'24'",
        "targetSdkVersion:'34'",
        "uses-permission: name='android.permission.CAMERA'",
        "launchable-activity: name='edgekit.demo.MainActivity'",
        "native-code: 'arm64-v8a' 'x86_64'",
    ):
        assert line in badging
    assert "INTERNET" not in badging

    with zipfile.ZipFile(output) as archive:
        names = set(archive.namelist())
        code = archive.read("classes.dex")
        model = archive.read("assets/bundles/things/things.int8.onnx")
    natives = ("libonnxruntime.so", "libonnxruntime4j_jni.so", "libpaddle_lite_jni.so")
    wanted = {f"lib/{abi}/{name}" for abi in ("arm64-v8a", "x86_64") for name in natives}
    assert {name for name in names if name.startswith("lib/")} == wanted
    assert model == (bundle / "things.int8.onnx").read_bytes()
    for name in ("edgekit/demo/MainActivity", "edgekit/runtime/SelfTest", "ai/onnxruntime/OrtSession",
                 "com/google/gson/Gson", "com/baidu/paddle/lite/PaddlePredictor"):  # fmt: skip
        assert f"L{name};".encode() in code


@pytest.mark.slow
@pytest.mark.network
def test_a_bundle_that_is_damaged_leaves_the_apk_that_was_there(
    android_parts: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "labels.txt").write_text("others\n")
    output = tmp_path / "out/demo.apk"
    output.parent.mkdir()
    output.write_text("before")
    assert cli.main(["android", "apk", "--bundle", str(bundle), "--output", str(output)]) == 4
    assert "EK402" in capsys.readouterr().err
    assert output.read_text() == "before"
    assert len(list(output.parent.iterdir())) == 1


def test_a_folder_that_is_no_release_of_paddle_lite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="no release of Paddle Lite") as caught:
        apk.release(tmp_path, ["arm64-v8a"])
    assert caught.value.code == "EK401"
    (tmp_path / "PaddlePredictor.jar").touch()
    with pytest.raises(EdgekitError, match=r"arm64-v8a/libpaddle_lite_jni\.so"):
        apk.release(tmp_path, ["arm64-v8a"])
    (tmp_path / "so").mkdir()
    library = tmp_path / "so/libpaddle_lite_jni.so"
    library.touch()
    assert apk.release(tmp_path, ["arm64-v8a"])[1] == {"lib/arm64-v8a/libpaddle_lite_jni.so": library}
    with pytest.raises(EdgekitError):  # of which of the two it is, the folder does not say
        apk.release(tmp_path, ["arm64-v8a", "x86_64"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--keystore", "mine.jks"], "EK107"),
        (["--keystore", "mine.jks", "--alias", "me", "--password", "secret"], "EK107"),
        (["--keystore", "nowhere.jks", "--alias", "me", "--password", "env:WORD"], "EK401"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(
    words: list[str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["android", "apk", "--output", str(tmp_path / "demo.apk"), *words])
    assert code in capsys.readouterr().err
