from __future__ import annotations

import numpy as np
import pytest

from edgekit.calibration import segments


@pytest.mark.parametrize(
    ("sides", "count"),
    [([(640, 640)] * 60, 48), ([(960, 960), (960, 720), (720, 960)] * 20, 25), ([(8192, 8192)] * 2, 1),
     ([(48, 320)] * 5, 5)],
)  # fmt: skip
def test_a_walk_keeps_no_more_than_fits(sides: list[tuple[int, int]], count: int) -> None:
    # 48 * 640 * 640 is 19,660,800; three pages have 2,304,000 pixels, 25 of them 19,353,600.
    pictures = [np.broadcast_to(np.float32(k), (3, *side)) for k, side in enumerate(sides)]
    found = segments.affordable(pictures)
    assert [int(picture[0, 0, 0]) for picture in found] == list(range(count))
