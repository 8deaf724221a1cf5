"""Engines that can abort run in a child process: a crash becomes an error with the child's last words."""

from __future__ import annotations

import signal
import subprocess
import sys

from edgekit.errors import EdgekitError


def run(module: str, arguments: list[str], what: str, timeout: float = 600) -> str:
    """Run `python -m module arguments`; its standard output.

    Raises EK501 when it fails, crashes or outlasts `timeout` seconds; EK410 when it found the disk full.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise EdgekitError("EK501", f"{what} did not end within {timeout:.0f} s and was stopped.") from error
    if done.returncode == 0:
        return done.stdout
    words = last_words(done.stderr) or last_words(done.stdout) or "it said nothing"
    if "No space left on device" in done.stderr:
        raise EdgekitError(
            "EK410", f"{what}: the disk is full. Free some space and run the same command again."
        )
    how = f"exit {done.returncode}"
    if done.returncode < 0:
        how = f"killed by {signal.Signals(-done.returncode).name}"
    raise EdgekitError("EK501", f"{what} failed ({how}). Its last words: {words}")


def last_words(text: str, limit: int = 500) -> str:
    """The last lines that carry a message, without the ruler lines and frames of a C++ stack."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not set(line) <= set("-=*^~ ") and not line[0].isdigit()]
    return " | ".join(lines[-3:])[-limit:]
