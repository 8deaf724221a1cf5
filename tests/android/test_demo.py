"""The demo under Robolectric: its activities on tiny bundles, and on real ones where they are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.android import demo


@pytest.mark.slow
@pytest.mark.network
def test_the_screens_show_what_they_should(android_parts: Path) -> None:
    real = [Path(name).resolve() for name in os.environ.get("EDGEKIT_DEMO_BUNDLES", "").split()]
    screens = demo.run(real)
    drawn = {path.stem for path in screens.glob("*.png")}
    assert {
        "things",
        "things-land",
        "text",
        "night",
        "self-test",
        "self-test-failed",
        "camera-denied",
    } <= drawn
    assert len([name for name in drawn if name.startswith("real-")]) == len(real)
