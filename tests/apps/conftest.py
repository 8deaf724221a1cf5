"""The command line inside this process, without the world of tests/conftest.py: nothing here needs Paddle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit import cli
from tests.apps.small import bundle
from tests.conftest import Ended


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles by name: det, cls, rec and things. To be left as they are."""
    root = tmp_path_factory.mktemp("parts")
    return {name: bundle(root / name, name) for name in ("det", "cls", "rec", "things")}


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))

    def ended(*arguments: object) -> Ended:
        capfd.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return Ended(code, printed.out, printed.err)

    return ended
