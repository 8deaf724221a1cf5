"""Rendered text with DejaVu in place of all fonts, which keeps the tests off the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pytest

from edgekit.data import debian, fonts, layouts
from edgekit.data.stock import open_stock


@pytest.fixture(scope="session")
def font_file() -> bytes:
    """The one that matplotlib brings along."""
    return (Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf").read_bytes()


@pytest.fixture(scope="module")
def packages(font_file: bytes) -> Iterator[list[str]]:
    """Debian's packages with one font under every name and noise for backgrounds; the packages asked for."""
    asked: list[str] = []

    def unpack(wanted: Any, scratch: Path, take: Any, log: Any) -> dict[str, str]:
        asked.extend(wanted)
        for package, paths in wanted.items():
            for path in paths:
                rng = np.random.default_rng(len(path))
                noise = rng.integers(0, 255, (90, 120, 4)).astype(np.uint8)
                suffix = Path(path).suffix
                is_font = suffix in (".ttc", ".ttf")
                take(package, path, font_file if is_font else cv2.imencode(suffix, noise)[1].tobytes())
        return dict.fromkeys(wanted, "1.0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(debian, "unpack", unpack)
        # A .ttc has several faces, the stand-in has one.
        load = fonts.load
        patch.setattr(layouts, "load", lambda file, face, size: load(file, 0, size))
        yield asked


@pytest.fixture(scope="module")
def cache(packages: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by the tests, each with pages of its own seed."""
    folder = tmp_path_factory.mktemp("cache")
    fonts.open_fonts(folder, False, print)
    open_stock(folder, False, print)
    return folder
