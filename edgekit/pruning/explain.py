"""The groups of a model as a table that a person reads: who makes a channel, who reads it, may it go."""

from __future__ import annotations

from typing import Any

from edgekit.pruning import search
from edgekit.pruning.groups import groups
from edgekit.pruning.trace import Trace
from edgekit.recipe import Prune


def rows(trace: Trace, section: Prune) -> list[dict[str, Any]]:
    """One row per group; `why` says what holds its channels, or some of them."""
    found = []
    for group in groups(trace):
        counts = search.steps(group, section)
        skipped = [pattern for pattern in section.skip if search.matches(group, pattern)]
        why = "; ".join(group.reasons)
        if skipped:
            why = f"prune.skip: {skipped[0]}"
        elif not why and len(counts) == 1:
            why = f"too small for steps of {section.multiple}"
        found.append(
            {
                "group": group.name,
                "channels": group.size,
                "most": 0 if skipped else counts[-1] * group.width,
                "made_by": [name.removesuffix(".w_0") for name in group.producers],
                "read_by": [name.removesuffix(".w_0") for name in group.consumers],
                "why": why,
            }
        )
    return found


def lines(found: list[dict[str, Any]], dead: int) -> list[str]:
    width = max((len(row["group"]) for row in found), default=5)
    head = f"{'group':{width}}  channels  may go  made by / read by / why not"
    told = [head]
    for row in found:
        text = f"{row['group']:{width}}  {row['channels']:8}  {row['most']:6}  {_few(row['made_by'])}"
        text += f" / {_few(row['read_by'])}"
        told.append(text + (f" / {row['why']}" if row["why"] else ""))
    free = sum(row["most"] > 0 for row in found)
    return [*told, f"{free} of {len(found)} groups can be pruned; {dead} dead channels go first."]


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "nobody"
