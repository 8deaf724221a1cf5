"""What a run tried, and at what cost: read from what its stages left, for the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit.quantization import rescue
from edgekit.quantization.analysis import Analysis
from edgekit.quantization.table import Layer
from edgekit.recipe import Quantize

Entry = dict[str, Any]


def attempts(lineage: Sequence[Entry]) -> list[Entry]:
    """Every measured error of the outputs, in the order of the steps (`edgekit.report.schema.Attempt`)."""
    rounds = sum(entry.get("stage") == "prune" for entry in lineage)
    return list(_attempts(lineage, rounds))


def _attempts(lineage: Sequence[Entry], rounds: int) -> Iterator[Entry]:
    number = 0
    for entry in lineage:
        stage = str(entry.get("stage"))
        if stage == "prune":
            number += 1
        name = f"{stage} {number}" if stage == "prune" and rounds > 1 else stage
        for step, error in entry.get("errors", {}).items():
            yield {
                "stage": name,
                "step": step,
                "error": error,
                "kept": step not in entry.get("undone", []),
            }


def alternatives(layers: Sequence[Layer], analysis: Analysis | None, section: Quantize) -> list[Entry]:
    """The rescue's choice and the others that it had: with no layer left in float, with one, and so on, up to
    the shares of the recipe (`edgekit.report.schema.Alternative`). `layers`: the table's, after the rescue.

    Nothing where no rescue was kept, or another recipe than `section` made the table.
    """
    if analysis is None or "rescue" not in section.repair:
        return []
    figures = {figure.name: figure for figure in analysis.layers}
    before = [
        layer.model_copy(update={"int8": True, "only": None}) if layer.name in figures else layer
        for layer in layers
    ]
    errors = {name: rescue.expected(figure, "gptq" in section.repair) for name, figure in figures.items()}
    order = rescue.order(before, errors, section.rescue)
    chosen = {name for name, figure in figures.items() if not figure.int8}
    if chosen != set(order[: len(chosen)]):
        return []
    macs, params = max(1, sum(layer.macs for layer in layers)), max(1, sum(layer.params for layer in layers))
    found = []
    for count in range(len(order) + 1):
        floats = [layer for layer in before if not layer.int8 or layer.name in order[:count]]
        found.append(
            {
                "floats": count,
                "added": order[count - 1] if count else None,
                "error": sum(error for name, error in errors.items() if name not in order[:count]),
                "macs": sum(layer.macs for layer in floats) / macs,
                "params": sum(layer.params for layer in floats) / params,
                "chosen": count == len(chosen),
            }
        )
    return found


def groups(lineage: Sequence[Entry], sensitivity: Path | None) -> list[Entry]:
    """The channels of each group that could be pruned, what went in each round, and what the first round
    measured (`edgekit.report.schema.Group`). `sensitivity`: its `sensitivity.json`."""
    rounds = [
        {row["group"]: row for row in entry["groups"]}
        for entry in lineage
        if entry.get("stage") == "prune" and entry["groups"]
    ]
    if not rounds:
        return []
    measured: dict[str, Any] = {"points": {}, "rankings": {}}
    if sensitivity is not None and sensitivity.is_file():
        measured = json.loads(sensitivity.read_text(encoding="utf-8"))
    return [
        {
            "name": name,
            "channels": row["channels"],
            # A group that has become too small for another step is in no later round.
            "removed": [found[name]["removed"] if name in found else 0 for found in rounds],
            "losses": [
                (removed / len(measured["rankings"][name]), loss)
                for removed, loss in measured["points"].get(name, [])
                if removed
            ],
        }
        for name, row in rounds[0].items()
    ]
