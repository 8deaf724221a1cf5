"""Files out of Debian packages, without root and without touching the system's package state.

`apt-get` runs with the system's sources and keyrings (so mirrors, proxies and signatures are
honoured), but with lists, cache and status of its own in a scratch folder.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from edgekit.data.files import disk_full_guard, scratch_folder
from edgekit.errors import EdgekitError

UPDATE_TIMEOUT, DOWNLOAD_TIMEOUT, UNPACK_TIMEOUT = 300, 1800, 300  # seconds

# Hooks of the system's apt (cleaning its cache, refreshing other indexes) must not run for us.
CONFIG = """
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State "{root}/state";
Dir::State::lists "{root}/state/lists";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/extended";
Dir::Cache "{root}/cache";
Dir::Log "{root}";
Debug::NoLocking "1";
APT::Sandbox::User "root";
Acquire::Languages "none";
"""


def unpack(
    wanted: Mapping[str, Sequence[str]],
    scratch_parent: Path,
    take: Callable[[str, str, bytes], None],
    log: Callable[[str], None],
) -> dict[str, str]:
    """Download packages and hand over the regular files below the wanted path prefixes.

    `wanted`: package -> prefixes without a leading slash. `take(package, path, contents)` is called
    for each file. Returns package -> version. Scratch is a temporary folder in `scratch_parent`.
    Raises EK403 when apt-get or dpkg-deb is missing or fails, EK410 when the disk is full,
    EK411 when a package holds an absolute path or one with `..`.
    """
    versions: dict[str, str] = {}
    with _packages(scratch_parent, None, log) as download:
        for package, prefixes in wanted.items():
            deb = download(package)
            versions[package] = _output(
                ["dpkg-deb", "--field", str(deb), "Version"], deb.parent, UNPACK_TIMEOUT
            )
            _read(deb, tuple(prefixes), partial(take, package))
            deb.unlink()  # the largest has 160 MB
    return versions


def unpack_whole(
    packages: Sequence[str], into: Path, log: Callable[[str], None], architecture: str | None = None
) -> None:
    """Unpack packages into the folder `into`, links included, as they would lie below /.

    `architecture`: Debian's name of another one than the machine's, such as arm64. Raises what `unpack` does.
    """
    with _packages(into.parent, architecture, log) as download:
        for package in packages:
            deb = download(package)
            _output(["dpkg-deb", "--extract", str(deb), str(into.resolve())], deb.parent, UNPACK_TIMEOUT)
            deb.unlink()


@contextmanager
def _packages(
    scratch_parent: Path, architecture: str | None, log: Callable[[str], None]
) -> Iterator[Callable[[str], Path]]:
    """A function that downloads a package and gives its file, in a folder that is removed at the end."""
    with disk_full_guard(scratch_parent):
        scratch_parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(scratch_parent.resolve(), ".apt-") as root:
            for folder in ("state/lists/partial", "cache/archives/partial"):
                (root / folder).mkdir(parents=True)
            (root / "status").touch()
            config = CONFIG.format(root=root)
            if architecture is not None:
                config += (
                    f'APT::Architecture "{architecture}";\nAPT::Architectures {{ "{architecture}"; }};\n'
                )
            (root / "apt.conf").write_text(config)
            log(f"reading the list of Debian packages{f' for {architecture}' if architecture else ''}")
            _apt(["update"], root, UPDATE_TIMEOUT)

            def download(package: str) -> Path:
                log(f"fetching the Debian package {package}")
                _apt(["download", package], root, DOWNLOAD_TIMEOUT)
                debs = sorted(root.glob("*.deb"))
                if len(debs) != 1:
                    raise _failed(f"apt-get download {package} gave {len(debs)} packages")
                return debs[0]

            yield download


def _read(deb: Path, prefixes: tuple[str, ...], take: Callable[[str, bytes], None]) -> None:
    """Stream the package's tar; nothing is written to disk here, so links cannot lead anywhere."""
    # dpkg-deb writes stderr to a file: a full pipe that nobody reads would block it.
    with tempfile.TemporaryFile() as words:
        try:
            child = subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, stderr=words
            )
        except OSError as error:
            raise _failed(f"dpkg-deb cannot be started ({error})") from error
        assert child.stdout is not None
        try:
            with child.stdout as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                for info in tar:
                    path = info.name.removeprefix("./")
                    if not info.isreg() or not path.startswith(prefixes):
                        continue
                    if path.startswith("/") or ".." in PurePosixPath(path).parts:
                        raise EdgekitError("EK411", f"{deb.name} holds the unsafe path {info.name!r}.")
                    content = tar.extractfile(info)
                    assert content is not None  # extractfile gives None only for what is no file
                    take(path, content.read())
                while stream.read(1 << 20):  # else dpkg-deb dies of a broken pipe
                    pass
            code = child.wait(UNPACK_TIMEOUT)
        except (tarfile.TarError, EOFError, subprocess.TimeoutExpired) as error:
            raise _failed(f"{deb.name} cannot be unpacked ({error})") from error
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if code:
            words.seek(0)
            raise _failed(f"dpkg-deb: {_last_line(words.read().decode(errors='replace'), code)}")


def _apt(arguments: list[str], root: Path, timeout: int) -> None:
    _output(["apt-get", "-q", "-c", str(root / "apt.conf"), *arguments], root, timeout)


def _output(command: list[str], root: Path, timeout: int) -> str:
    try:
        child = subprocess.run(
            command, cwd=root, capture_output=True, text=True, errors="replace", timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(f"{command[0]} did not finish within {timeout} s") from error
    except OSError as error:
        raise _failed(f"{command[0]} cannot be started ({error})") from error
    if "No space left on device" in child.stderr:
        raise EdgekitError("EK410", f"The disk is full: {command[0]} could not write below {root.parent}.")
    if child.returncode:
        raise _failed(f"{command[0]}: {_last_line(child.stderr, child.returncode)}")
    return child.stdout.strip()


def _last_line(stderr: str, code: int) -> str:
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {code}"


def _failed(why: str) -> EdgekitError:
    return EdgekitError("EK403", f"Debian packages could not be had: {why}.")
