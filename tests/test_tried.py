"""What a run tried, read from what it left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgekit import tried
from edgekit.quantization import analysis, table
from edgekit.recipe import Quantize

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


def test_the_rescue_s_choice_among_its_alternatives(world: Any) -> None:
    """Held against the table of scales, which says what became of each layer."""
    report = json.loads((world.bundle / "report.json").read_text())
    layers = json.loads((world.bundle / "paddle" / "quantization.json").read_text())["layers"]
    ways = report["alternatives"]
    assert [way["floats"] for way in ways] == list(range(len(ways)))
    (chosen,) = [way for way in ways if way["chosen"]]
    rescued = [layer for layer in layers if layer["reason"].startswith("rescue")]
    assert chosen["floats"] == len(rescued) > 0
    floats = [layer for layer in layers if not layer["int8"]]
    assert chosen["macs"] == sum(x["macs"] for x in floats) / sum(x["macs"] for x in layers)
    assert chosen["params"] == sum(x["params"] for x in floats) / sum(x["params"] for x in layers)
    assert {way["added"] for way in ways[1 : chosen["floats"] + 1]} == {layer["name"] for layer in rescued}
    errors = [way["error"] for way in ways]
    assert errors == sorted(errors, reverse=True) and ways[0]["added"] is None


def test_another_recipe_s_rescue_is_no_alternative(world: Any) -> None:
    found, scales = analysis.load(world.bundle / "paddle"), table.load(world.bundle / "paddle")
    assert tried.alternatives(scales.layers, None, Quantize()) == []
    assert tried.alternatives(scales.layers, found, Quantize(repair=["equalise"])) == []
    assert found is not None
    turned = [layer.model_copy(update={"int8": not layer.int8}) for layer in found.layers]
    other = found.model_copy(update={"layers": turned})
    assert tried.alternatives(scales.layers, other, Quantize()) == []
