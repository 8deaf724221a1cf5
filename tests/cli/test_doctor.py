from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli

from edgekit import cli
from edgekit.cli import doctor

ROOT = Path(__file__).parents[2]


def test_the_pins_are_those_of_the_project() -> None:
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(requirement.split("==") for requirement in project["dependencies"])
    assert doctor.ENGINES.items() <= pins.items()


def test_a_wrong_version_is_exit_5(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(doctor.ENGINES, "paddlelite", "9.9")
    monkeypatch.setitem(doctor.ENGINES, "no-such-engine", "1.0")
    monkeypatch.setattr(doctor, "_LITE", "import os; os.abort()")
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path))
    (tmp_path / "a").write_bytes(b"x" * 10)
    file = tmp_path / "new" / "doctor.json"
    assert cli.main(["doctor", "--json", str(file)]) == 5
    printed = capsys.readouterr()
    assert "EK502" in printed.err and "no-such-engine is missing" in printed.err
    found = json.loads(file.read_text())
    assert found["cache"] == {"folder": str(tmp_path), "bytes": 10}
    assert found["engines"]["paddlelite"]["needed"] == "9.9"
    assert not found["paddle_lite_opt"]["works"]


def test_json_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor", "--json", "-"])
    assert "cpu" in json.loads(capsys.readouterr().out)


def test_what_vnni_means() -> None:
    none = dict.fromkeys(("avx2", "avx512_vnni", "avx_vnni", "asimddp"), False)
    assert "slower exact kernels" in doctor._meaning("x86_64", none, known=True)
    assert "dot products" in doctor._meaning("x86_64", {**none, "avx_vnni": True}, known=True)
    assert "not x86" in doctor._meaning("aarch64", none, known=True)
    assert "unknown" in doctor._meaning("x86_64", none, known=False)
