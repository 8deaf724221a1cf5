"""Kernels without the taps that only meet padding: the answers stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from edgekit.backends import lite
from edgekit.program import edit, graph
from edgekit.program.graph import attr
from tests.program import nets


class Flat(nn.Layer):  # type: ignore[misc]
    """A convolution over what a pooling has left of 16 pixels: `height` rows."""

    def __init__(self, height: int, kernel: int, stride: Any, groups: int, padding: Any = None) -> None:
        super().__init__()
        self.pool = nn.AvgPool2D((nets.SIDE // height, 1), (nets.SIDE // height, 1))
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2D(3, 6, kernel, stride, padding=padding, groups=groups)

    def forward(self, x: Any) -> Any:
        return self.conv(self.pool(x))


@pytest.mark.parametrize(
    ("height", "kernel", "stride", "groups", "wanted"),
    [
        (1, 3, 1, 1, (1, 3)),  # one row of three
        (1, 3, 1, 3, (1, 3)),
        (1, 5, (1, 2), 1, (1, 5)),
        (2, 5, 1, 1, (3, 5)),  # the outermost rows
        (2, 3, 1, 1, (3, 3)),  # all are met
        (2, 3, 2, 1, (3, 3)),  # one idles, on one side: it stays
        (16, 3, 1, 1, (3, 3)),
    ],
)
def test_idle_taps_go_and_answers_stay(
    tmp_path: Path, height: int, kernel: int, stride: Any, groups: int, wanted: tuple[int, int]
) -> None:
    net = nets.make(lambda: Flat(height, kernel, stride, groups))
    program = graph.load(nets.export(net, tmp_path / "net", (None, 3, nets.SIDE, None)))
    made = edit.fold_batch_norm(program)
    conv = next(op for op in made.ops if op.type.endswith("conv2d"))
    weight = made.params[graph.inputs(conv, "Filter")[0]]
    assert weight.shape[2:] == wanted
    assert attr(conv, "paddings") == [wanted[0] // 2, wanted[1] // 2]
    for feed in nets.pictures(2):
        (got,) = nets.run(made, tmp_path / "made", [feed])
        np.testing.assert_allclose(got[made.fetches[0]], net(paddle.to_tensor(feed["x"])).numpy(), atol=1e-5)


def test_paddle_lite_runs_what_is_left(tmp_path: Path) -> None:
    net = nets.make(lambda: Flat(1, 3, 1, 1))
    program = edit.lite_ready(edit.fold_batch_norm(graph.load(nets.export(net, tmp_path / "net"))))
    graph.write(program, tmp_path)
    files = tmp_path / "inference.pdmodel", tmp_path / "inference.pdiparams"
    lite.optimise(*files, "x86", tmp_path / "net.nb")
    feeds = nets.pictures(2)
    for feed, got in zip(feeds, lite.run_x86(tmp_path / "net.nb", feeds, program.fetches), strict=True):
        wanted = net(paddle.to_tensor(feed["x"])).numpy()
        np.testing.assert_allclose(got[program.fetches[0]], wanted, atol=1e-5)
