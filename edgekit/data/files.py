"""Writing and hashing files so that a killed run or a full disk never leaves half a file behind."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edgekit.errors import EdgekitError

FINISHED = "digest.json"  # in a generated folder: name -> sha256 of every file; written last
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_full_guard(where: Path) -> Iterator[None]:
    """Turn "no space left" (or "quota exceeded") inside the block into EK410; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise EdgekitError(
                "EK410", f"The disk is full: {where} cannot be written. Free some space and run again."
            ) from error
        raise


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` only when the block ends well; parents are made.

    It is written beside `path` and renamed. Raises EK410 when the disk is full.
    """
    with disk_full_guard(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
            os.chmod(name, 0o644)  # mkstemp gives 0600, which other users of a shared cache cannot read
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """`atomic_write` of a whole value. Raises EK410 when the disk is full."""
    with atomic_write(path) as stream:
        stream.write(data)


def sha256_of(path: Path) -> str:
    """Lower-case hex sha256 of the file's contents. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_intact(folder: Path) -> bool:
    """Whether `folder` was finished and every file in it still has the sha256 it was written with."""
    try:
        listed = json.loads((folder / FINISHED).read_text())["files"]
        return all(sha256_of(folder / name) == digest for name, digest in listed.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A fresh folder in `parent`, removed at the end; those of killed runs with this prefix go, too.

    Whoever made a folder holds a lock on it, which the system gives back however its process ends.
    """
    for name in os.listdir(parent):
        if name.startswith(prefix):
            _remove_if_abandoned(parent / name)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        handle = _lock(folder, wait=True)
        if folder.is_dir():  # else another run took it for abandoned before it was locked
            break
        if handle is not None:
            os.close(handle)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _lock(folder: Path, wait: bool) -> int | None:
    """A handle that holds the lock of `folder`; None where it is gone, held, or cannot be locked."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle


def _remove_if_abandoned(folder: Path) -> None:
    handle = _lock(folder, wait=False) if folder.is_dir() and not folder.is_symlink() else None
    if handle is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def build_once(target: Path, make: Callable[[Path], None], log: Callable[[str], None]) -> Path:
    """The folder `target`, made by `make(folder)` unless it is there and intact.

    Made beside and renamed, so a killed run leaves nothing that looks finished; a damaged folder
    is made anew. Raises what `make` raises, and EK410 when the disk is full.
    """
    if is_intact(target):
        return target
    with disk_full_guard(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(target.parent, ".build-") as scratch:
            folder = scratch / "folder"
            folder.mkdir()
            make(folder)
            names = sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            )
            digests = {name: sha256_of(folder / name) for name in names}
            write_bytes(folder / FINISHED, json.dumps({"files": digests}, indent=1).encode())
            if is_intact(target):  # another process was faster
                return target
            if target.exists():
                log(f"{target} is damaged or unfinished: made anew")
                shutil.rmtree(target)
            os.rename(folder, target)
    return target
