from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from edgekit.calibration import segments
from edgekit.calibration.readers import Floats, readers
from edgekit.program import edit, graph
from tests.program import nets


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


class Tower(nn.Layer):  # type: ignore[misc]
    """Five convolutions in a row, for pictures of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(nn.Conv2D(3 if k == 0 else 8, 8, 3, padding=1) for k in range(5)))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.convs(x)


def test_a_walk_through_pictures_of_several_sizes_sees_the_changed_weights(tmp_path: Path) -> None:
    """What a layer reads is what the whole program delivers whose layers in front were changed."""
    paddle.disable_static()
    folder = nets.export(nets.make(Tower), tmp_path / "m", (None, 3, None, None))
    program = edit.fold_batch_norm(graph.load(folder))
    rng = np.random.default_rng(0)
    sides = [(16, 24), (16, 40), (16, 24), (16, 64)]
    pictures = [rng.normal(size=(3, *side)).astype(np.float32) for side in sides]
    layers = readers(program)
    read: dict[str, list[Floats]] = {}
    for layer, values in segments.layer_by_layer(program, layers, pictures):
        read[layer.input] = [each[0] for batch in values for each in np.split(batch, len(batch))]
        program.params[layer.weight] = program.params[layer.weight] * np.float32(-1.5)
    inner = [layer.input for layer in layers[1:]]
    feeds = [{program.feeds[0]: picture[None]} for picture in pictures]
    whole = nets.run(edit.cut(program, {name: name for name in inner}), tmp_path / "w", feeds)
    for name in inner:
        for k, values in enumerate(whole):
            scale = float(np.abs(values[name]).max())
            np.testing.assert_allclose(read[name][k], values[name][0], atol=1e-5 * scale)
