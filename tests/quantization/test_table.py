"""Scales, integers, and the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.errors import EdgekitError
from edgekit.quantization import table
from edgekit.quantization.table import Activation, Channels, Layer, Table


def example() -> Table:
    layer = Layer(
        name="conv2d_0", type="conv2d", input="x", output="y", weight="conv2d_0.w_0", bias=None, relu=None,
        axis=0, macs=12, params=6, int8=True, reason="",
    )  # fmt: skip
    kept = layer.model_copy(update={"name": "conv2d_1", "int8": False, "reason": "quantize.float: first:1"})
    return Table(
        method="kl", pictures=3, layers=[layer, kept],
        activations={"x": Activation(threshold=2.54, maximum=3)}, outputs={"y": Channels(highs=[1.0, 0.1])},
        weights={"conv2d_0.w_0": [0.1, 1 / 3]},
    )  # fmt: skip


def test_scales_by_hand() -> None:
    weight = np.array([[[[1.0, -2.54]]], [[[0.0, 127.0]]]], np.float32)
    assert table.weight_scales(weight, 0) == pytest.approx([0.02, 1.0])
    assert table.weight_scales(weight.reshape(2, 2), 1) == pytest.approx([1 / 127, 1.0])
    integers = table.quantize_weight(weight, [0.02, 1.0], 0)
    assert integers.dtype == np.int8 and integers.ravel().tolist() == [50, -127, 0, 127]


def test_channels_between_their_own_ends_by_hand() -> None:
    known = example()
    layer = known.layers[0]
    steps, zero = table.output_grid(known, layer)
    assert zero == 128 and table.middles(known, layer) is None
    np.testing.assert_allclose(steps, [1 / 127, 0.1 / 127], rtol=1e-6)
    reach = Channels(highs=[2.1, -1.0], lows=[-3.0, -3.0])
    lopsided = known.model_copy(update={"outputs": {"y": reach}})
    steps, zero = table.output_grid(lopsided, layer)
    middles = table.middles(lopsided, layer)
    assert zero == 128 and middles is not None
    np.testing.assert_allclose(steps, [0.02, 2 / 255], rtol=1e-6)
    np.testing.assert_allclose(middles - 128 * steps, reach.lows, rtol=1e-6)  # level 0
    np.testing.assert_allclose(middles + 127 * steps, reach.highs, rtol=1e-6)  # level 255


def test_half_goes_to_even() -> None:
    weight = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 127.0]], np.float32)
    assert table.quantize_weight(weight, [1.0], 0).tolist() == [[0, 2, 2, 0, -2, 127]]


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 4), st.just(3), st.just(3)),
               elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from([0, 1]),
)  # fmt: skip
def test_integers_are_near_the_weights(weight: np.ndarray, axis: int) -> None:
    scales = table.weight_scales(weight, axis)
    assert all(np.isfinite(scales)) and min(scales) > 0
    integers = table.quantize_weight(weight, scales, axis)
    assert integers.min() >= -127 and integers.max() <= 127  # never -128
    unit = np.array(scales).reshape([-1 if k == axis else 1 for k in range(4)])
    error = np.abs(integers * unit - weight)
    # A channel that counts as zero may keep a large scale; any other is within half a step.
    peak = np.abs(weight).max(axis=tuple(k for k in range(4) if k != axis), keepdims=True)
    assert (error <= np.where(peak > 1e-30, unit * 0.5001, peak)).all()


def test_a_zero_channel_gets_a_usable_scale() -> None:
    weight = np.zeros((3, 1, 1, 1), np.float32)
    assert table.weight_scales(weight, 0) == pytest.approx([1 / 127] * 3)
    weight[0], weight[1] = 1.27, 12.7
    scales = table.weight_scales(weight, 0)
    # Neither zero nor tiny: the int32 bias is in units of (input scale * this).
    assert scales[0] <= scales[2] <= scales[1]


def test_an_older_weight_may_lie_beyond_its_scale() -> None:
    """A table that was edited by hand clips instead of wrapping around."""
    assert table.quantize_weight(np.array([[300.0, -300.0]], np.float32), [1.0], 0).tolist() == [[127, -127]]


def test_round_trip(tmp_path: Path) -> None:
    made = example()
    made.save(tmp_path)
    found = table.load(tmp_path)
    assert found == made
    assert found.weights["conv2d_0.w_0"][1] == 1 / 3  # to the last bit
    assert found.activations["x"].scale == pytest.approx(0.02)
    assert [layer.name for layer in found.quantized] == ["conv2d_0"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        json.dumps({**example().model_dump(), "surplus": 1}),
        json.dumps({**example().model_dump(), "weights": {"conv2d_0.w_0": ["one"]}}),
        json.dumps({**example().model_dump(), "activations": {"x": {"threshold": 0, "maximum": 1}}}),
        json.dumps({**example().model_dump(), "activations": {"x": {"threshold": -1, "maximum": 1}}}),
        json.dumps({**example().model_dump(), "weights": {"conv2d_0.w_0": [0.1, 0]}}),
        json.dumps({**example().model_dump(), "outputs": {"y": {"highs": [-0.1, 1]}}}),
        json.dumps({**example().model_dump(), "weights": {}}),
        json.dumps({**example().model_dump(), "activations": {}}),
    ],
    ids=[
        "empty",
        "cut",
        "list",
        "null",
        "bare",
        "surplus",
        "text",
        "zero",
        "negative",
        "weight",
        "output",
        "no-weight",
        "no-input",
    ],
)
def test_damaged(text: str, tmp_path: Path) -> None:
    (tmp_path / table.FILE).write_text(text)
    with pytest.raises(EdgekitError, match=table.FILE) as caught:
        table.load(tmp_path)
    assert caught.value.code == "EK409"


def test_damaged_bytes(tmp_path: Path) -> None:
    (tmp_path / table.FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgekitError) as caught:
        table.load(tmp_path)
    assert caught.value.code == "EK409"


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_threshold_is_finite(value: str, tmp_path: Path) -> None:
    example().save(tmp_path)
    file = tmp_path / table.FILE
    file.write_text(file.read_text().replace("2.54", value))
    with pytest.raises(EdgekitError) as caught:
        table.load(tmp_path)
    assert caught.value.code == "EK409"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="edgekit quantize") as caught:
        table.load(tmp_path)
    assert caught.value.code == "EK401"


def test_scales_that_do_not_fit_the_weight() -> None:
    with pytest.raises(EdgekitError, match="2 scales for a weight with 3 channels") as caught:
        table.quantize_weight(np.ones((3, 2, 1, 1), np.float32), [0.1, 0.1], 0)
    assert caught.value.code == "EK409"


def test_the_bias_of_a_channel_that_is_all_but_constant_fits_int32() -> None:
    """Weights of 1e-9 beside a bias of 3: in units of their own scale it would be 3e9 times the levels."""
    weight = np.array([[1.0, -0.5], [1e-9, 5e-10], [0.0, 0.0]], np.float32).reshape(3, 2, 1, 1)
    bias, step = np.array([0.2, -3.0, 3.0], np.float32), 0.05
    scales = np.array(table.weight_scales(weight, 0, bias, step))
    assert (np.abs(bias / (step * scales)) <= 2**24 * 1.01).all()
    plain = np.array(table.weight_scales(weight, 0))
    assert scales[0] == plain[0]  # it has room
    # What all weights of the channel, a level off, make of the largest input: nothing beside the bias.
    assert 2 * 255 * step * scales[1] < 1e-4 * 3
