from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit import cli
from edgekit.errors import EdgekitError

SHOW = ["recipes", "show", "picodet_s"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["compress"], 2, "--recipe"),
        (["compres"], 2, "No such command"),
        (["compress", "--recipe", "picodet_s", "--fast"], 2, "--fast"),
        (["compress", "--recipe", "picodet"], 2, "error EK101"),
        (["compress", "--recipe", "no.yaml"], 2, "error EK101"),
        (["compress", "--recipe", "picodet_s", "--preset", "nope"], 2, "error EK101"),
        ([*SHOW, "--set", "quantise.method=kl"], 2, "error EK102"),
        ([*SHOW, "--set", "data.seed=x"], 2, "error EK103"),
        ([*SHOW, "--set", "data.seed"], 2, "error EK103"),
        ([*SHOW, "--set", "quantize.method=qat"], 2, "error EK104"),
        ([*SHOW, "--set", "prune={flops: 25%}"], 2, "error EK103"),
        (["quantize", "somewhere", "--set", "data.seed=1"], 2, "error EK107"),
        (["quantize", "somewhere", "--preset", "kl"], 2, "error EK107"),
    ],
)
def test_wrong_command_lines(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == code
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err
    if says.startswith("error"):
        assert printed.err.count("\n") == 1  # one paragraph


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def raise_it(*_: object) -> None:
        raise error

    monkeypatch.setattr("edgekit.recipe.load", raise_it)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (EdgekitError("EK301", "cosine is 0.1"), 3, "error EK301: cosine is 0.1"),
        (EdgekitError("EK401", "gone"), 4, "error EK401: gone"),
        (EdgekitError("EK501", "two\nlines"), 5, "error EK501: two lines"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 4, "error EK410: The disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 2, "error EK106: /x cannot be written"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "error EK106: /x cannot be written"),
        (ZeroDivisionError("division by zero"), 1, "a bug in edgekit: ZeroDivisionError: division by zero."),
        (OSError(errno.EIO, "Input/output error"), 1, "a bug in edgekit"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_exit_codes(
    error: BaseException, code: int, says: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    raising(monkeypatch, error)
    assert cli.main(SHOW) == code
    printed = capsys.readouterr().err
    assert says in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    "arguments", [["--debug", *SHOW], [*SHOW, "--debug"], ["recipes", "--debug", *SHOW[1:]]]
)
def test_debug_shows_the_traceback(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ZeroDivisionError("oh"))
    assert cli.main(arguments) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback")
    assert "--debug" not in printed


def test_wrapped_on_a_terminal_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgekit", "compress", "--recipe", "picodet"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "40"}
    done = subprocess.run(command, stderr=theirs, stdout=subprocess.PIPE, env=environment)
    os.close(theirs)
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 2
    assert len(text.splitlines()) > 2
    assert max(map(len, text.splitlines())) <= 40


def test_a_reader_that_has_gone() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m edgekit recipes show picodet_s | true"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_recipes_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes"]) == 0
    assert "picodet_s" in capsys.readouterr().out
    assert cli.main([*SHOW, "--set", "data.seed=77"]) == 0
    assert "seed: 77" in capsys.readouterr().out
