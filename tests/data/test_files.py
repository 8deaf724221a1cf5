from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgekit.data import files
from edgekit.errors import EdgekitError


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_atomic_write_leaves_the_old_file_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), files.atomic_write(path) as stream:
        stream.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_is_ek410_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(EdgekitError) as caught:
        files.write_bytes(tmp_path / "a", b"x")
    assert caught.value.code == "EK410" and str(tmp_path / "a") in caught.value.message
    assert os.listdir(tmp_path) == []


def test_other_os_errors_pass_the_guard(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), files.disk_full_guard(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_build_once_builds_again_only_what_is_damaged(tmp_path: Path) -> None:
    built: list[int] = []
    logged: list[str] = []

    def make(folder: Path) -> None:
        built.append(1)
        files.write_bytes(folder / "sub/a", b"contents")

    target = tmp_path / "t"
    for _ in range(2):
        files.build_once(target, make, logged.append)
    assert len(built) == 1 and not logged
    (target / "sub/a").write_bytes(b"contentz")
    files.build_once(target, make, logged.append)
    assert len(built) == 2 and (target / "sub/a").read_bytes() == b"contents" and "damaged" in logged[0]
    (target / "sub/a").unlink()
    files.build_once(target, make, logged.append)
    assert len(built) == 3


def test_build_once_leaves_nothing_behind_when_making_fails(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "a").write_bytes(b"half")
        full_disk()

    with pytest.raises(EdgekitError) as caught:
        files.build_once(tmp_path / "t", make, print)
    assert caught.value.code == "EK410"
    assert os.listdir(tmp_path) == []
