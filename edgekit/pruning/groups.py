"""Groups: the atoms among which pruning chooses, those made by the same layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.pruning.atoms import Ints
from edgekit.pruning.trace import Trace


@dataclass(frozen=True)
class Group:
    """Channels that are interchangeable: each atom is one channel (or `width` tied ones) of every producer.

    `atoms` may be removed; `size` counts all channels of the first producer, those that must stay included.
    """

    name: str
    producers: list[str]  # weights that make these channels
    consumers: list[str]  # weights that read them
    atoms: Ints
    width: int
    size: int
    reasons: list[str]  # why some or all of the channels must stay


def groups(trace: Trace) -> list[Group]:
    """The groups in the order of their first producers. Named after the first producer, as layers are."""
    made: dict[int, dict[str, int]] = {}
    read: dict[int, dict[str, None]] = {}
    for piece in trace.slices:
        for atom in piece.atoms:
            if piece.role == "out":
                counts = made.setdefault(int(atom), {})
                counts[piece.parameter] = counts.get(piece.parameter, 0) + 1
            elif piece.role == "in":
                read.setdefault(int(atom), {})[piece.parameter] = None
    by_producers: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for atom, counts in made.items():
        by_producers.setdefault(tuple(counts.items()), []).append(atom)
    result = []
    for key, atoms in by_producers.items():
        reasons = list(dict.fromkeys(r for atom in atoms for r in trace.reasons.get(atom, [])))
        consumers = list(dict.fromkeys(name for atom in atoms for name in read.get(atom, {})))
        width = key[0][1]
        free = np.asarray([atom for atom in atoms if atom not in trace.reasons], np.int64)
        producers = [name for name, _ in key]
        result.append(
            Group(
                producers[0].removesuffix(".w_0"),
                producers,
                consumers,
                free,
                width,
                len(atoms) * width,
                reasons,
            )
        )
    return result
