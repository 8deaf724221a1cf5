"""PP-LCNet against PaddleClas's own: names, shapes, and what it answers for weights that anyone can make.

`reference/*.json` were made with the paddleclas 2.6.0 wheel on Paddle 2.6.2.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from edgekit.models import NAMES, build
from edgekit.models.pplcnet import channels

REFERENCE = Path(__file__).parent / "reference"


def reference(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REFERENCE / f"{name}.json").read_text())
    return found


@pytest.fixture(autouse=True)
def dynamic() -> None:
    paddle.disable_static()


@pytest.mark.parametrize("name", ["PPLCNet_x0_25", "PPLCNet_x1_0"])
def test_names_and_shapes_are_those_of_paddleclas(name: Any) -> None:
    state = build(name, 1000).state_dict()
    found = [(key, list(value.shape)) for key, value in state.items()]
    assert found == list(reference(name)["state_dict"].items())


def drawn(name: str, shape: list[int], kind: str, gain: float) -> Any:
    """The recipe of the reference: every tensor from a generator seeded by its name."""
    n = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if kind == "brief":
        return np.abs(0.05 * n) + 0.5 if name.endswith("_variance") else 0.05 * n
    if name.endswith("_variance"):
        return 0.9 + 0.2 * np.abs(n)
    if len(shape) > 1:
        return n * np.sqrt(gain / (shape[0] if len(shape) == 2 else np.prod(shape[1:])))
    return 1 + 0.1 * n if name.endswith((".weight", ".scale")) else 0.1 * n


def picture(kind: str) -> Any:
    random = np.random.RandomState(0)
    if kind == "brief":
        return random.standard_normal((1, 3, 224, 224))
    low, high = random.standard_normal((1, 3, 7, 7)), random.standard_normal((1, 3, 224, 224))
    return low.repeat(32, axis=2).repeat(32, axis=3) + 0.5 * high


@pytest.mark.parametrize("name", ["PPLCNet_x0_25", "PPLCNet_x1_0"])
@pytest.mark.parametrize("kind", ["brief", "strong"])
def test_the_fingerprint(name: Any, kind: str) -> None:
    net, wanted = build(name, 1000), reference(name)["fingerprint"]
    state = {
        key: drawn(key, list(value.shape), kind, wanted["G"]).astype(np.float32)
        for key, value in net.state_dict().items()
    }
    net.set_state_dict(state)
    got = net(paddle.to_tensor(picture(kind).astype(np.float32))).numpy()
    wanted = wanted[kind]
    largest = wanted.get("absmax", 0.2)
    assert list(got.shape) == wanted["shape"]
    assert got.mean() == pytest.approx(wanted["mean"], rel=1e-3, abs=1e-5)
    assert got.std() == pytest.approx(wanted["std"], rel=1e-3)
    np.testing.assert_allclose(got.ravel()[:8], wanted["first8"], atol=1e-3 * largest)


def test_every_size_is_built() -> None:
    parameters = {}
    for name in NAMES:
        net = build(name, 1000)
        assert not net.training
        parameters[name] = sum(int(np.prod(value.shape)) for value in net.state_dict().values())
    # Parameters with the statistics of batch norm, as published models have them.
    assert parameters["PPLCNet_x0_35"] == 1646930 and parameters["PPLCNet_x2_5"] == 9044920


@pytest.mark.parametrize(("count", "wanted"), [(4, 8), (16 * 0.35, 8), (64 * 0.35, 24), (12, 16), (11.9, 16)])
def test_channels(count: float, wanted: int) -> None:
    assert channels(count) == wanted
