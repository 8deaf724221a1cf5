"""Programs on a device: over ssh, through adb, or on this machine.

What is run there is a list of words, quoted once for the device's shell. Names of devices that could be
taken for options are refused.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgekit.backends.child import last_words
from edgekit.errors import EdgekitError

CONNECT, PUSH, RUN = 20, 900, 3600  # seconds
_USER = r"[A-Za-z_][A-Za-z0-9._-]*"
_HOST = r"[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]"
_SERIAL = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
_ADB_FAILED = r"(?m)^(adb: |error: (no devices|device |more than one|closed|protocol))"
_UNREACHED = 255  # ssh's own exit code
# The C library and the loader go with the runner: the device may have others, or, as Android, none like them.
_LOADER = "ld-linux-aarch64.so.1"
_SYSTEM = (
    _LOADER, "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libstdc++.so.6",
    "libgcc_s.so.1",
)  # fmt: skip


@dataclass(frozen=True)
class Device:
    """`shell`: the words before a command line of the device's shell, none: this machine. `temporary`: where
    a folder is made. `name`: as the user wrote it."""

    name: str
    shell: tuple[str, ...]
    temporary: str = "/tmp"


def parse(text: str, ssh_config: Path | None = None) -> Device:
    """`ssh:[user@]host[:port]` or `adb[:serial]`. Raises EK111 for anything else.

    `ssh_config` stands for ssh's own configuration file, as its option -F does.
    """
    kind, colon, rest = text.partition(":")
    if kind == "ssh":
        found = re.fullmatch(rf"(?:({_USER})@)?({_HOST})(?::([0-9]{{1,5}}))?", rest)
        if found and (found[3] is None or 1 <= int(found[3]) <= 65535):
            user, host, port = found.groups()
            words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT}"]
            words += ["-F", str(ssh_config)] if ssh_config is not None else []
            words += ["-p", port] if port else []
            words += ["-l", user] if user else []
            return Device(text, (*words, "--", host.strip("[]")))
    elif kind == "adb" and (not colon or re.fullmatch(_SERIAL, rest)):
        if ssh_config is not None:
            raise EdgekitError("EK107", f"--ssh-config is for ssh, the device is {text}.")
        return Device(text, ("adb", *(["-s", rest] if colon else []), "shell"), "/data/local/tmp")
    raise EdgekitError(
        "EK111",
        f"--device {text!r}: ssh:user@host, ssh:user@host:port, adb or adb:serial, please, with names of "
        "letters, digits, dots, dashes and underscores that begin with no dash.",
    )


def here() -> Device:
    """This machine."""
    return Device("this machine", ())


def run(
    device: Device, words: Sequence[str], *, timeout: int = RUN, given: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command on the device, whatever its exit code. `given`: its standard input.

    Raises EK504 when the device cannot be reached, or the command does not end within `timeout` seconds.
    """
    return _shell(device, shlex.join(words), timeout, given)


def answer(device: Device, words: Sequence[str], *, timeout: int = RUN, given: bytes | None = None) -> str:
    """What a command prints. Raises EK504 when it fails, too."""
    return _answer(device, shlex.join(words), timeout, given)


def _shell(device: Device, line: str, timeout: int, given: bytes | None) -> subprocess.CompletedProcess[str]:
    command = [*device.shell, line] if device.shell else ["sh", "-c", line]
    try:
        done = subprocess.run(command, input=given or b"", capture_output=True, timeout=timeout)
    except FileNotFoundError as error:
        raise EdgekitError(
            "EK502", f"{command[0]} is not installed; it is needed for the device {device.name}."
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgekitError("EK504", f"{device.name}: {error}.") from error
    out, said = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    unreached = device.shell[:1] == ("ssh",) and done.returncode == _UNREACHED
    if unreached or (device.shell[:1] == ("adb",) and re.search(_ADB_FAILED, said)):
        raise EdgekitError(
            "EK504", f"{device.name} cannot be reached: {last_words(said) or 'no reason given'}."
        )
    return subprocess.CompletedProcess(command, done.returncode, out, said)


def _answer(device: Device, line: str, timeout: int, given: bytes | None) -> str:
    done = _shell(device, line, timeout, given)
    if done.returncode:
        said = last_words(done.stderr) or last_words(done.stdout) or "nothing"
        told = line if len(line) < 60 else f"{line[:60]}..."
        raise EdgekitError(
            "EK504", f"{device.name}: `{told}` fails (exit {done.returncode}) and says {said}."
        )
    return done.stdout


def machine(device: Device) -> str:
    """What `uname -m` says, such as aarch64. Raises EK504."""
    return answer(device, ["uname", "-m"], timeout=PUSH).strip()


def model(device: Device) -> str:
    """What the device calls itself: a board's or a phone's model; else its processor; else nothing."""
    for words in (
        ["getprop", "ro.product.model"],
        ["cat", "/proc/device-tree/model"],
        ["sed", "-n", "s/^model name[^:]*: //p", "/proc/cpuinfo"],
    ):
        done = run(device, words, timeout=PUSH)
        if done.returncode == 0 and (told := done.stdout.strip("\0 \r\n").split("\n")[0]):
            return told.strip()
    return ""


def big_cores(device: Device) -> list[int]:
    """The cores that are not of the slowest kind, by their highest frequency; none when all are alike or
    `taskset` is missing. Raises EK504."""
    line = (
        "command -v taskset >/dev/null || exit 0; "
        "for f in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq; "
        'do [ -r "$f" ] && echo "$f $(cat "$f")"; done; true'
    )
    return fast_ones(_answer(device, line, PUSH, None))


def fast_ones(listing: str) -> list[int]:
    """Of lines `/sys/devices/system/cpu/cpu4/cpufreq/cpuinfo_max_freq 2400000`, the cores above the least."""
    found = {
        int(core): int(frequency) for core, frequency in re.findall(r"/cpu([0-9]+)/\S+ ([0-9]+)", listing)
    }
    return sorted(core for core, frequency in found.items() if frequency > min(found.values()))


def pinned(cores: Sequence[int]) -> list[str]:
    """The words before a command that keep it on these cores."""
    return ["taskset", f"{sum(1 << core for core in cores):x}"] if cores else []


def make_folder(device: Device) -> str:
    """A new folder on the device. Raises EK504."""
    folder = answer(device, ["mktemp", "-d", f"{device.temporary}/edgekit.XXXXXX"], timeout=PUSH).strip()
    if not re.fullmatch(
        rf"{re.escape(device.temporary)}/edgekit\.[A-Za-z0-9]+", folder
    ):  # it is removed later
        raise EdgekitError("EK504", f"{device.name}: mktemp answers {folder!r}, which is no folder.")
    return folder


def remove_folder(device: Device, folder: str) -> None:
    """Without a word where that fails: the device may be gone."""
    with suppress(EdgekitError):
        run(device, ["rm", "-rf", folder], timeout=PUSH)


def push(device: Device, sources: dict[str, Path], folder: str) -> None:
    """Copy files to the device; `sources`: the name below `folder` -> file or folder here. Raises EK504."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True, format=tarfile.GNU_FORMAT) as archive:
        for name, source in sources.items():
            archive.add(source, name, filter=_plain)
    if device.shell[:1] == ("adb",):  # its shell changes bytes on their way in on old phones
        _adb_push(device, packed.getvalue(), folder)
    else:
        answer(device, ["tar", "-C", folder, "-xf", "-"], timeout=PUSH, given=packed.getvalue())


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without this machine's users."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _adb_push(device: Device, archive: bytes, folder: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        file.write(archive)
        file.flush()
        command = [*device.shell[:-1], "push", file.name, f"{folder}/pushed.tar"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PUSH)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EdgekitError("EK504", f"{device.name}: {error}.") from error
    if done.returncode:
        raise EdgekitError("EK504", f"{device.name}: adb push fails: {last_words(done.stderr)}.")
    answer(device, ["tar", "-C", folder, "-xf", f"{folder}/pushed.tar"], timeout=PUSH)


def system_files(root: Path) -> dict[str, Path]:
    """What goes with an ARM runner: its name there -> file. `root`: the cross compiler's libraries."""
    return {f"system/{name}": root / "lib" / name for name in _SYSTEM}


def started(folder: str, program: str, system: bool) -> list[str]:
    """The words that start a pushed program; with `system` by the loader that was pushed along."""
    loader = [f"{folder}/system/{_LOADER}", "--library-path", f"{folder}/system"] if system else []
    return [*loader, os.path.join(folder, program)]
