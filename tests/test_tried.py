"""What a run tried, read from what it left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgekit import tried
from edgekit.quantization.analysis import Analysis, LayerFigures
from edgekit.quantization.table import Layer
from edgekit.recipe import Quantize, Rescue
from tests.report.examples import ANALYSIS, LAYER

PRUNE = {
    "stage": "prune",
    "errors": {"removed": 0.1, "refit": 0.01},
    "groups": [{"group": "a", "channels": 16, "removed": 4}, {"group": "b", "channels": 8, "removed": 0}],
}
LATER = {**PRUNE, "groups": [{"group": "a", "channels": 12, "removed": 4}]}
QUANTIZE = {"stage": "quantize", "errors": {"kl": 0.5, "equalise": 0.6}, "undone": ["equalise"]}


def test_attempts_in_their_order() -> None:
    found = tried.attempts([{"stage": "fetch"}, PRUNE, LATER, QUANTIZE])
    assert [(a["stage"], a["step"], a["error"], a["kept"]) for a in found] == [
        ("prune 1", "removed", 0.1, True), ("prune 1", "refit", 0.01, True),
        ("prune 2", "removed", 0.1, True), ("prune 2", "refit", 0.01, True),
        ("quantize", "kl", 0.5, True), ("quantize", "equalise", 0.6, False),
    ]  # fmt: skip
    assert tried.attempts([PRUNE])[0]["stage"] == "prune"


def test_groups_over_rounds(tmp_path: Path) -> None:
    file = tmp_path / "sensitivity.json"
    # Two channels go together in each step of group a.
    file.write_text(json.dumps({"rankings": {"a": list(range(8))}, "points": {"a": [[0, 0.0], [2, 0.25]]}}))
    assert tried.groups([PRUNE, LATER], file) == [
        {"name": "a", "channels": 16, "removed": [4, 4], "losses": [(0.25, 0.25)]},
        {"name": "b", "channels": 8, "removed": [0, 0], "losses": []},
    ]
    assert [group["losses"] for group in tried.groups([PRUNE], None)] == [[], []]
    assert tried.groups([QUANTIZE], None) == []


def layer(name: str, macs: int, params: int, int8: bool) -> Layer:
    return Layer(
        name=name, type="conv2d", input="x", output=name, weight=f"{name}.w", bias=None, relu=None, axis=0,
        macs=macs, params=params, int8=int8, reason="",
    )  # fmt: skip


def figures(name: str, error: float, int8: bool) -> LayerFigures:
    return LayerFigures.model_validate(LAYER | {"name": name, "error": error, "int8": int8})


def test_the_rescue_s_choice_among_its_alternatives() -> None:
    # c was float to begin with, b is too large for the share of weights, a was left in float.
    layers = [layer("a", 10, 10, False), layer("b", 90, 90, True), layer("c", 100, 0, False)]
    found = Analysis.model_validate(ANALYSIS).model_copy(
        update={"layers": [figures("a", 0.4, False), figures("b", 0.1, True)]}
    )
    section = Quantize(repair=["rescue"], rescue=Rescue(macs=0.6, params=0.2))
    assert tried.alternatives(layers, found, section) == [
        {
            "floats": 0, "added": None, "error": pytest.approx(0.5), "macs": 0.5, "params": 0,
            "chosen": False,
        },
        {
            "floats": 1, "added": "a", "error": pytest.approx(0.1), "macs": 0.55, "params": 0.1,
            "chosen": True,
        },
    ]  # fmt: skip
    # Nothing where there was no rescue, or where it was another recipe's: this one would not have left b.
    assert tried.alternatives(layers, None, section) == []
    assert tried.alternatives(layers, found, Quantize(repair=["gptq"])) == []
    other = found.model_copy(update={"layers": [figures("a", 0.4, True), figures("b", 0.1, False)]})
    assert tried.alternatives(layers, other, section) == []


def test_a_bundle_tells_its_alternatives(world: Any) -> None:
    """Held against the table of scales, which says what became of each layer."""
    report = json.loads((world.bundle / "report.json").read_text())
    layers = json.loads((world.bundle / "paddle" / "quantization.json").read_text())["layers"]
    (chosen,) = [way for way in report["alternatives"] if way["chosen"]]
    floats = [layer for layer in layers if not layer["int8"]]
    assert chosen["macs"] == sum(x["macs"] for x in floats) / sum(x["macs"] for x in layers)
    assert chosen["params"] == sum(x["params"] for x in floats) / sum(x["params"] for x in layers)
    assert [a["step"] for a in report["attempts"]] == ["kl", "thresholds", "equalise", "rescue", "gptq"]
