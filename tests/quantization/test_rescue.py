"""Which layers stay float, on hand-made cases."""

from __future__ import annotations

import pytest

from edgekit.quantization import rescue
from edgekit.quantization.noise import Noise, Reading
from edgekit.quantization.sensitivity import Cost
from edgekit.quantization.table import Layer, layers_of
from edgekit.recipe import Rescue


def layer(
    name: str, macs: int, params: int = 0, kind: str = "conv2d", int8: bool = True, fan_in: int = 10**6
) -> Layer:
    return Layer(
        name=name, type=kind, input="x", output="y", weight=name, bias=None, relu=None, axis=0,
        macs=macs, params=params, int8=int8, fan_in=fan_in, reason="" if int8 else "quantize.float: x",
    )  # fmt: skip


NET = [layer("a", 10), layer("b", 40), layer("c", 20), layer("d", 30)]
ERRORS = {"a": 0.1, "b": 0.2, "c": 0.01, "d": 0.001}


def chosen(net: list[Layer], errors: dict[str, float], section: Rescue) -> list[str]:
    names = rescue.order(net, errors, section)
    return names[: rescue.enough(names, errors, section.error)]


def test_the_most_error_for_the_least_work_goes_first_until_it_is_enough() -> None:
    every = Rescue(error=1e-9, macs=1, params=1)
    assert chosen(NET, ERRORS, every) == ["a", "b", "c", "d"]
    assert chosen(NET, ERRORS, every.model_copy(update={"error": 0.25})) == ["a"]
    assert chosen(NET, ERRORS, every.model_copy(update={"error": 0.02})) == ["a", "b"]
    assert chosen(NET, ERRORS, every.model_copy(update={"error": 0.5})) == []


def test_what_does_not_fit_is_passed_over() -> None:
    assert chosen(NET, {**ERRORS, "c": 0.1}, Rescue(error=1e-9, macs=0.35)) == ["a", "c"]


def test_what_is_float_already_takes_room() -> None:
    net = [*NET[:3], layer("d", 30, int8=False)]
    assert chosen(net, ERRORS, Rescue(error=1e-9, macs=0.4)) == ["a"]


def test_size_counts_too() -> None:
    net = [layer("big", 10, params=90), layer("small", 10, params=10), layer("rest", 80, params=100)]
    errors = {"big": 0.2, "small": 0.1, "rest": 0.0}
    assert chosen(net, errors, Rescue(error=1e-9, macs=1, params=0.45)) == ["small"]
    assert chosen(net, errors, Rescue(error=0.21, macs=1, params=1)) == ["small"]


def test_a_depthwise_layer_costs_more() -> None:
    """Six times the work of its multiplications, as counted on ARM; its size is not more."""
    net = [layer("deep", 1, kind="depthwise_conv2d"), layer("plain", 1), layer("rest", 98)]
    for error, first in ((0.5, "plain"), (0.7, "deep")):
        errors = {"deep": error, "plain": 0.1, "rest": 0.0}
        assert rescue.order(net, errors, Rescue(error=1e-9, macs=1))[0] == first


def test_prices_are_those_that_were_counted() -> None:
    """Instructions on an emulated a76, 64 channels of 128 x 128, float less int8, over those that a pointwise
    multiplication adds: 22.2 - 10.8 for each value of 64 multiplications, of which int8 has 6 beside them."""
    plain = (22.2 - 10.8 + 6) / 64
    for fan_in, stride, float_takes, int8_takes in (
        (9, 1, 22.5, 8.3),
        (25, 1, 59.9, 20.8),
        (9, 2, 70.8, 10.6),
    ):
        deep = layer("deep", fan_in, kind="depthwise_conv2d", fan_in=fan_in).model_copy(
            update={"stride": stride}
        )
        assert rescue.price(deep) == pytest.approx((float_takes - int8_takes) / plain, rel=0.15)
    assert rescue.price(layer("wide", 64, fan_in=64)) == pytest.approx((22.2 - 10.8) / plain, rel=0.1)
    assert rescue.price(layer("first", 27, fan_in=27)) < rescue.price(layer("later", 27, fan_in=270)) / 3
    assert rescue.price(layer("tiny", 8, fan_in=8)) > 0


def test_a_depthwise_layer_among_int8_tensors_costs_more() -> None:
    deep = layer("deep", 1, kind="depthwise_conv2d")
    chained = deep.model_copy(update={"relu": "r"})
    rest = [layer("plain", 9), layer("rest", 90)]
    errors = {"deep": 0.25, "plain": 0.3, "rest": 0.1}
    assert chosen([deep, *rest], errors, Rescue(error=0.45, macs=1)) == ["deep"]
    assert chosen([chained, *rest], errors, Rescue(error=0.45, macs=1)) == ["plain"]


def test_what_costs_more_than_it_brings_stays_int8() -> None:
    """`c` is a fifth of the work and of an error that is a tenth of what is left."""
    assert chosen(NET, {**ERRORS, "c": 0.01, "d": 0.09}, Rescue(error=1e-9, macs=1)) == ["a", "b", "d", "c"]
    some = Rescue(error=1e-9, macs=0.7)
    assert chosen(NET, {**ERRORS, "c": 0.01, "d": 0.09}, some) == ["a", "b"]
    gated = some.model_copy(update={"gates": {"agreement_ap": ">= 0.9"}})
    assert rescue.order(NET, {**ERRORS, "c": 0.01, "d": 0.09}, gated) == ["a", "b", "c"]


def test_gptq_takes_most_of_what_weights_cost() -> None:
    """A layer whose answers are off by 3 with float weights, and by 4 with rounded ones (squared)."""
    cost = Cost(0.08, Reading(1.0, 1.0, None), Noise(signal=100, noise=4), Noise(signal=100, noise=3))
    assert rescue.expected(cost, rounded=False) == 0.08
    assert rescue.expected(cost, rounded=True) == pytest.approx(0.06 + 0.25 * 0.02)
    exact = Cost(0.0, Reading(1.0, 1.0, None), Noise(signal=100), Noise(signal=100))
    assert rescue.expected(exact, rounded=True) == 0


def test_the_reason_is_told() -> None:
    made = rescue.applied(NET, {"lite": ["a", "b"], "onnx": ["a", "d"]}, {"lite": ERRORS, "onnx": ERRORS})
    assert [each.int8 for each in made] == [False, True, True, True]
    assert [each.only for each in made] == [None, "onnx", None, "lite"]
    assert "0.1 in Paddle Lite, 0.1 in ONNX" in made[0].reason and made[2] == NET[2]
    assert "Paddle Lite" in made[1].reason and "ONNX" not in made[1].reason


def test_each_file_has_its_own_layers_in_int8() -> None:
    made = rescue.applied(NET, {"lite": ["a", "b"], "onnx": ["a", "d"]}, {"lite": ERRORS, "onnx": ERRORS})
    assert [layer.name for layer in layers_of(made, "lite") if layer.int8] == ["c", "d"]
    assert [layer.name for layer in layers_of(made, "onnx") if layer.int8] == ["b", "c"]


def test_the_fewest_layers_that_keep_a_gate() -> None:
    for least in range(9):
        asked: list[int] = []

        def holds(count: int, least: int = least, asked: list[int] = asked) -> bool:
            asked.append(count)
            return count >= least

        assert rescue.fewest(7, holds) == min(least, 7)
        assert len(asked) <= 3 and len(set(asked)) == len(asked)
