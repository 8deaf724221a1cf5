"""A board to log in to, on loopback: Debian's sshd, unpacked, whose commands run on an emulated core; and
adb."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.backends.arm import parts
from edgekit.cachedir import cache_dir
from edgekit.data import debian
from edgekit.data.files import build_once

_PACKAGES = [
    "openssh-server",
    "libwrap0",
    "libpam0g",
    "libaudit1",
    "libcap-ng0",
    "libnss-wrapper",
    "adb",
    "android-libbase",
    "android-libboringssl",
    "android-libcutils",
    "android-liblog",
    "libusb-1.0-0",
    "libbsd0",
    "libmd0",
    "libudev1",
]
_PRIVILEGE_SEPARATION = Path("/run/sshd")  # compiled into sshd, which asks for it when root runs it


def unpacked() -> Path:
    return build_once(
        cache_dir() / "arm" / "devices-1", lambda into: debian.unpack_whole(_PACKAGES, into, print), print
    )


def libraries(root: Path) -> str:
    folders = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/android")
    return ":".join(str(root / folder) for folder in folders)


@dataclass(frozen=True)
class Board:
    """`device` is what --device takes, `config` what --ssh-config takes; `log` holds each command line."""

    device: str
    config: Path
    log: Path


_SHELL = """#!/bin/bash
# A board: it says that it is ARM, and what it is given for ARM runs on an emulated core.
printf '%s\\n' "$SSH_ORIGINAL_COMMAND" >>"{log}"
uname() {{ echo aarch64; }}
export -f uname
eval "$(sed -E 's#/[^ ]*/ld-linux-aarch64\\.so\\.1#{emulator} -cpu cortex-a76 &#' <<<"$SSH_ORIGINAL_COMMAND")"
"""

_SERVER = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
ForceCommand {folder}/shell
"""

_CLIENT = """
Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  StrictHostKeyChecking accept-new
"""


@contextmanager
def board(folder: Path) -> Iterator[Board]:
    root, tools = unpacked(), parts.tools(print)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    log, shell = folder / "commands", folder / "shell"
    shell.write_text(_SHELL.format(log=log, emulator=tools / "usr/bin/qemu-aarch64-static"))
    shell.chmod(0o755)
    (folder / "sshd_config").write_text(_SERVER.format(port=port, folder=folder))
    (folder / "ssh_config").write_text(_CLIENT.format(folder=folder))
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries(root)}
    if os.getuid() == 0:
        # As root it wants a user and a folder of its own: the user is made up for this process alone.
        try:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            pytest.skip(f"root's sshd needs {_PRIVILEGE_SEPARATION}: {error}")
        nobody = "sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin\n"
        (folder / "passwd").write_text(Path("/etc/passwd").read_text() + nobody)
        environment |= {
            "LD_PRELOAD": str(root / "usr/lib/x86_64-linux-gnu/libnss_wrapper.so"),
            "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
            "NSS_WRAPPER_GROUP": "/etc/group",
        }
    with open(folder / "sshd.log", "w") as words:
        server = subprocess.Popen(
            [root / "usr/sbin/sshd", "-D", "-r", "-e", "-f", folder / "sshd_config"],
            env=environment, stderr=words, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        for _ in range(100):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (folder / "sshd.log").read_text()
            time.sleep(0.1)
        user = pwd.getpwuid(os.getuid()).pw_name
        yield Board(f"ssh:{user}@127.0.0.1:{port}", folder / "ssh_config", log)
    finally:
        server.terminate()
        server.wait(30)
