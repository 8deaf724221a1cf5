"""`edgekit bench`: over a real ssh to a board that runs on an emulated core, through adb's real client, and
here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgekit import cli
from edgekit.backends import boards
from edgekit.errors import EdgekitError
from tests.conftest import World
from tests.runtimes import devices


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ssh:pi@board", ["-l", "pi", "--", "board"]),
        ("ssh:board.local", ["--", "board.local"]),
        ("ssh:pi@10.0.0.7:2222", ["-p", "2222", "-l", "pi", "--", "10.0.0.7"]),
        ("ssh:pi@[fe80::1]:22", ["-p", "22", "-l", "pi", "--", "fe80::1"]),
        ("adb", ["adb", "shell"]),
        ("adb:emulator-5554", ["adb", "-s", "emulator-5554", "shell"]),
        ("adb:192.168.0.3:5555", ["adb", "-s", "192.168.0.3:5555", "shell"]),
    ],
)
def test_devices_by_name(text: str, words: list[str]) -> None:
    shell = list(boards.parse(text).shell)
    assert shell[-len(words) :] == words


@pytest.mark.parametrize(
    "text",
    [
        "ssh:-oProxyCommand=touch /tmp/x", "ssh:a@-oProxyCommand=x", "ssh:-l@host", "ssh:a@b@c", "ssh:",
        "ssh", "ssh:host:0", "ssh:host:65536", "ssh:host:22x", "ssh:host;reboot", "ssh:host reboot",
        "ssh:$(reboot)", "ssh:host\n-oProxyCommand=x", "ssh:a`b`@host", "adb:", "adb:-H", "adb:x y",
        "adb:$(x)", "telnet:host", "pi@board", "",
    ],
)  # fmt: skip
def test_what_could_be_an_option_or_a_command_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*words: Any, **_: Any) -> Any:
        raise AssertionError(f"{words} was started")

    monkeypatch.setattr(subprocess, "run", started)
    assert cli.main(["bench", str(tmp_path), "--device", text]) == 2
    assert "EK111" in capsys.readouterr().err


def test_words_reach_the_devices_shell_as_they_are() -> None:
    words = ["printf", "%s|", "a b", "$(id)", "'", '"', "*", ";reboot", "a\nb", "-n"]
    assert boards.answer(boards.here(), words) == "".join(f"{word}|" for word in words[2:])


def test_big_cores_are_those_above_the_slowest() -> None:
    def listing(*frequencies: int) -> str:
        return "\n".join(
            f"/sys/devices/system/cpu/cpu{k}/cpufreq/cpuinfo_max_freq {f}" for k, f in enumerate(frequencies)
        )

    assert boards.fast_ones(listing(1800, 1800, 2400, 2400, 3000)) == [2, 3, 4]
    assert boards.fast_ones(listing(1500, 1500, 1500, 1500)) == []
    assert boards.fast_ones("") == []
    assert boards.pinned([2, 3, 4]) == ["taskset", "1c"]


@pytest.mark.slow
def test_a_board_over_ssh(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Path(shutil.copytree(world.bundle, tmp_path / "a bundle"))
    with devices.board(tmp_path) as board:
        asked = [
            "--device",
            board.device,
            "--ssh-config",
            str(board.config),
            "--warmup",
            "1",
            "--repeats",
            "3",
        ]
        out = tmp_path / "found.json"
        words = [
            "bench",
            str(bundle),
            *asked,
            "--threads",
            "1",
            "--threads",
            "2",
            "--json",
            str(out),
            "--report",
        ]
        assert cli.main(words) == 0, capsys.readouterr().err
        found = json.loads(out.read_text())
        rows = [(row["model"], row["threads"]) for row in found["timings"]]
        assert rows == [(f"{kind}.onnx", count) for kind in ("fp32", "int8") for count in (1, 2)]
        assert (found["machine"], found["through"], found["repeats"]) == ("aarch64", "ssh", 3)
        assert all(0 < row["min_ms"] <= row["median_ms"] <= row["p90_ms"] for row in found["timings"])
        commands = board.log.read_text().splitlines()
        order = [k for k, line in enumerate(commands) if "self-test" in line or " bench " in line]
        assert "self-test" in commands[order[0]] and " bench " in commands[order[-1]]
        folder = commands[-1].removeprefix("rm -rf ")
        assert folder.startswith("/tmp/edgekit.") and not Path(folder).exists()

        # The report has it, and the bundle is whole.
        manifest = json.loads((bundle / "manifest.json").read_text())
        report = json.loads((bundle / "report.json").read_text())
        assert manifest["boards"] == report["boards"] == [{k: v for k, v in found.items() if k != "bundle"}]
        assert 'id="boards"' in (bundle / "report.html").read_text()

        # A golden vector that differs there stops it before anything is timed, and nothing stays behind.
        (bundle / "golden/1/picture.png").write_bytes((bundle / "golden/0/picture.png").read_bytes())
        from tests.runtimes.test_arm import rehash

        rehash(bundle)
        board.log.unlink()
        assert cli.main(["bench", str(bundle), *asked]) == 3
        assert "pre-processing: golden/1" in capsys.readouterr().err
        commands = board.log.read_text().splitlines()
        assert not any(" bench " in line for line in commands)
        assert not Path(commands[-1].removeprefix("rm -rf ")).exists()


def test_a_host_that_does_not_answer(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", str(world.bundle), "--device", "ssh:nobody@127.0.0.1:1"]) == 5
    error = capsys.readouterr().err
    assert "EK504" in error and "refused" in error


def test_adb_that_is_not_installed(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["bench", str(world.bundle), "--device", "adb"]) == 5
    assert "EK502: adb is not installed" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_adb_without_a_device(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Through adb's real client and server."""
    root = devices.unpacked()
    program = root / "usr/lib/android-sdk/platform-tools/adb"
    adb = tmp_path / "adb"
    adb.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{devices.libraries(root)}" exec "{program}" "$@"\n')
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))  # its key
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "15037")
    try:
        for device, why in (("adb", "no devices"), ("adb:emulator-5554", "emulator-5554")):
            assert cli.main(["bench", str(world.bundle), "--device", device]) == 5
            error = " ".join(capsys.readouterr().err.split())
            assert "EK504" in error and "cannot be reached" in error and why in error, error
    finally:
        subprocess.run([str(adb), "kill-server"], capture_output=True, timeout=60)


@pytest.mark.slow
def test_this_machine(world: World, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    words = [
        "bench",
        str(world.bundle),
        "--threads",
        "1",
        "--repeats",
        "5",
        "--model",
        "fp32",
        "--json",
        str(out),
    ]
    assert cli.main(words) == 0
    found = json.loads(out.read_text())
    assert [row["model"] for row in found["timings"]] == ["fp32.onnx"]
    assert 0 < found["timings"][0]["min_ms"] < 1000


@pytest.mark.parametrize("answer", ["/", "/etc", "", "/tmp/edgekit.a/../..", "/tmp/edgekit.x y"])
def test_a_folder_that_is_not_the_one_asked_for_is_never_removed(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "answer", lambda *_, **__: f"{answer}\n")
    with pytest.raises(EdgekitError, match="no folder"):
        boards.make_folder(boards.here())


def test_an_error_of_a_device_names_the_command() -> None:
    with pytest.raises(EdgekitError, match="exit 7") as raised:
        boards.answer(boards.here(), ["sh", "-c", "exit 7"])
    assert raised.value.code == "EK504"
