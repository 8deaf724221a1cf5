"""Where Debian's packages cannot be had, and the real packages."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.data import cutouts, debian, photographs
from edgekit.data.images import read_image
from edgekit.data.prepare import DataSpec, prepare
from edgekit.data.sources import FetchResult
from edgekit.errors import EdgekitError

SPEC = DataSpec(kind="composed_detection")


@pytest.fixture
def no_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise EdgekitError("EK403", "Debian packages could not be had: apt-get cannot be started.")

    monkeypatch.setattr(debian, "unpack", fail)


def test_the_fallback_says_so_everywhere(
    no_apt: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake_fetch(sources: Any, into: Path, *_: Any) -> FetchResult:
        into.mkdir(parents=True, exist_ok=True)
        found = {}
        for number, name in enumerate(sources[0].files):
            found[name] = into / name
            image = np.full((50, 70, 3), 10 * number, np.uint8)
            found[name].write_bytes(cv2.imencode(".png", image)[1].tobytes())
        return FetchResult(found, "test")

    monkeypatch.setattr(photographs, "fetch", fake_fetch)
    logged: list[str] = []
    shades: dict[str, set[int]] = {}
    for split in ("calibration", "training", "evaluation"):
        some: Any = split
        got = prepare(SPEC, some, 12, 0, tmp_path, False, logged.append)
        assert "fallback" in got.name and "apt-get cannot be started" in got.name and "fallback" in got.origin
        assert got.annotations is None and len(got.paths) == 12
        shades[split] = {round(float(read_image(path).mean())) // 10 for path in got.paths}
    assert "Falling back" in logged[0]
    assert not shades["calibration"] & shades["evaluation"] and len(shades["evaluation"]) > 3


def test_when_the_fallback_fails_too_both_reasons_are_given(no_apt: None, tmp_path: Path) -> None:
    with pytest.raises(EdgekitError) as caught:
        prepare(SPEC, "evaluation", 2, 0, tmp_path, True, print)
    assert caught.value.code == "EK403"
    assert "offline" in caught.value.message and "scikit-image" in caught.value.message


def test_apt_that_is_missing_or_fails_is_ek403(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(EdgekitError, match="apt-get cannot be started") as caught:
        debian.unpack({"x": ("usr/",)}, tmp_path, lambda *_: None, print)
    assert caught.value.code == "EK403"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apt-get").write_text("#!/bin/sh\necho 'E: broken mirror' >&2\nexit 100\n")
    (tmp_path / "bin/apt-get").chmod(0o755)
    with pytest.raises(EdgekitError, match="E: broken mirror"):
        debian.unpack({"x": ("usr/",)}, tmp_path, lambda *_: None, print)
    assert os.listdir(tmp_path) == ["bin"], "the private state is gone"


def fake_dpkg(
    monkeypatch: pytest.MonkeyPatch, folder: Path, members: list[tuple[str, bytes]], code: int
) -> Path:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
        link = tarfile.TarInfo("./usr/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (folder / "x.deb").write_bytes(buffer.getvalue())
    (folder / "dpkg-deb").write_text(f'#!/bin/sh\n/bin/cat "$2"\necho last words >&2\nexit {code}\n')
    (folder / "dpkg-deb").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder / "x.deb"


def test_only_wanted_regular_members_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deb = fake_dpkg(monkeypatch, tmp_path, [("./usr/a", b"1"), ("./etc/b", b"2"), ("./usr/c/d", b"3")], 0)
    got: dict[str, bytes] = {}
    debian._read(deb, ("usr/",), got.__setitem__)
    assert got == {"usr/a": b"1", "usr/c/d": b"3"}


def test_unsafe_members_and_a_failing_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deb = fake_dpkg(monkeypatch, tmp_path, [("./usr/../../x", b"1")], 0)
    with pytest.raises(EdgekitError) as caught:
        debian._read(deb, ("usr/",), lambda *_: None)
    assert caught.value.code == "EK411"
    deb = fake_dpkg(monkeypatch, tmp_path, [("./usr/a", b"1")], 2)
    with pytest.raises(EdgekitError, match="last words") as caught:
        debian._read(deb, ("usr/",), lambda *_: None)
    assert caught.value.code == "EK403"
    deb.write_bytes(deb.read_bytes()[:700])
    with pytest.raises(EdgekitError) as caught:
        debian._read(deb, ("usr/",), lambda *_: None)
    assert caught.value.code == "EK403"


def test_the_systems_hooks_are_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a hook of a container image would empty the system's package cache."""
    if subprocess.run(["sh", "-c", "command -v apt-config"], capture_output=True).returncode:
        pytest.skip("no apt here")  # its configuration cannot be read without it
    (tmp_path / "system.conf").write_text('APT::Update::Post-Invoke { "rm -rf /"; };\n')
    (tmp_path / "ours.conf").write_text(debian.CONFIG.format(root=tmp_path))
    child = subprocess.run(
        ["apt-config", "-c", str(tmp_path / "ours.conf"), "dump"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "APT_CONFIG": str(tmp_path / "system.conf")},
    )
    assert "rm -rf" not in child.stdout and f'Dir::State "{tmp_path}/state"' in child.stdout


@pytest.mark.network
@pytest.mark.slow
def test_real_photographs(no_apt: None, tmp_path: Path) -> None:
    got = prepare(SPEC, "evaluation", 6, 0, tmp_path, False, print)  # a shared cache may hold the scenes
    assert "fallback" in got.name and {read_image(path).shape for path in got.paths} == {(640, 640, 3)}


@pytest.mark.network
@pytest.mark.slow
def test_real_packages_give_scenes(tmp_path: Path) -> None:
    """370 MB at the first time; with EDGEKIT_CACHE only then."""
    cache = Path(os.environ.get("EDGEKIT_CACHE") or tmp_path)
    got = prepare(SPEC, "evaluation", 40, 7, cache, False, print)
    assert got.name == "composed scenes", got.name
    assert got.annotations is not None
    coco = json.loads(got.annotations.read_text())
    origin = json.loads((got.annotations.parent / "origin.json").read_text())
    assert len({entry["category_id"] for entry in coco["annotations"]}) > 20
    assert set(origin["packages"]) == {cutouts.CUTOUT_PACKAGE, *cutouts.BACKGROUNDS}
    assert all(origin["packages"].values()) and len(origin["backgrounds"]) > 10
