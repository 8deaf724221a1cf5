"""The README says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekit.cli import COMMANDS
from edgekit.errors import CODES
from edgekit.gates import METRICS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_errors_is_complete() -> None:
    rows = re.findall(r"^\| (EK\d+) \| (\d) \| (.+?) \|$", README, re.MULTILINE)
    assert len(rows) == len({code for code, _, _ in rows})
    assert {code: int(number) for code, number, _ in rows} == {code: CODES[code][0] for code in CODES}


def test_no_code_is_named_that_does_not_exist() -> None:
    used = {
        code
        for path in (Path(__file__).parents[1] / "edgekit").rglob("*.py")
        for code in re.findall(r"EK\d{3}", path.read_text(encoding="utf-8"))
    }
    assert used | set(re.findall(r"EK\d{3}", README)) <= set(CODES)


def test_every_code_is_raised_somewhere() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in (Path(__file__).parents[1] / "edgekit").rglob("*.py")
        if path.name != "errors.py"
    )
    assert {code for code in CODES if f'"{code}"' not in sources} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_named(command: str) -> None:
    assert re.search(rf"`(edgekit )?{command}\b|edgekit {command}\b", README)


def test_exit_codes_are_named() -> None:
    assert {number for number, _ in CODES.values()} == {2, 3, 4, 5}
    for number in range(6):
        assert re.search(rf"(^|\W){number}(\W|$)", README)


def test_metrics_in_examples_exist() -> None:
    gates = re.findall(r"--set ['\"]?validate\.gates\.(?:[\w.~]+/)?(\w+)", README)
    assert set(gates) <= set(METRICS)
