from __future__ import annotations

import os
import statistics
import subprocess
import sys

import pytest
from click.testing import CliRunner

from edgekit.cli import COMMANDS, edgekit

HEAVY = ("paddle", "onnx", "onnxruntime", "cv2", "numpy", "pydantic", "yaml", "rich", "requests")


def test_help_answers_at_once() -> None:
    # Processor time, as the tests of the other worker make the wall clock say anything.
    times = []
    for _ in range(3):
        start = os.times()
        subprocess.run([sys.executable, "-m", "edgekit", "--help"], check=True, capture_output=True)
        end = os.times()
        times.append(end.children_user + end.children_system - start.children_user - start.children_system)
    assert statistics.median(times) < 0.3, times


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys; from edgekit.cli import main; main(sys.argv[1:]); "
        f"bad = [m for m in {HEAVY!r} if m in sys.modules]; sys.exit(f'imported: {{bad}}' if bad else 0)"
    )
    arguments = [command, "--help"] if command else ["--help"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        *([name] for name in COMMANDS),
        ["recipes", "show"],
        ["bundle", "pack"],
        ["results", "update"],
        ["results", "table"],
        ["android", "push"],
        ["android", "apk"],
    ],
    ids=" ".join,
)
def test_every_help_has_an_example(arguments: list[str]) -> None:
    result = CliRunner().invoke(edgekit, [*arguments, "--help"])
    assert result.exit_code == 0
    assert "Example:\n" in result.output
    assert " ".join(["  edgekit", *arguments]) in result.output
    assert "--debug" in result.output
    # No command's summary is cut short.
    assert not [line for line in result.output.splitlines()[1:] if line.endswith("...")]
