"""npm and Maven as fetchers: what is said when they are missing or fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.data import maven, npm
from edgekit.errors import EdgekitError


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are looked for, /bin apart."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_without_npm_or_maven_it_says_so(path: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="npm, which must be installed") as caught:
        npm.fetch("some@1.0.0", tmp_path)
    assert caught.value.code == "EK403"
    with pytest.raises(EdgekitError, match=r"Maven \(mvn\) must be installed") as caught:
        maven.fetch("group:name:1.0", tmp_path)
    assert caught.value.code == "EK403"


def test_what_they_say_is_handed_on(path: Path, tmp_path: Path) -> None:
    program(path, "npm", "echo no such package >&2; exit 1")
    program(path, "mvn", "echo '[INFO] well'; echo '[ERROR] no such artifact'; exit 1")
    with pytest.raises(EdgekitError, match="no such package"):
        npm.fetch("some@1.0.0", tmp_path)
    with pytest.raises(EdgekitError, match="no such artifact"):
        maven.fetch("group:name:1.0", tmp_path)
    with pytest.raises(EdgekitError, match="no such artifact") as caught:
        maven.package(tmp_path)
    assert caught.value.code == "EK502"


def test_success_without_a_file_is_a_failure(path: Path, tmp_path: Path) -> None:
    program(path, "npm", "exit 0")
    program(path, "mvn", "exit 0")
    with pytest.raises(EdgekitError):
        npm.fetch("some@1.0.0", tmp_path)
    with pytest.raises(EdgekitError):
        maven.fetch("group:name:1.0", tmp_path)
