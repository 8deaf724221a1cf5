"""Atoms: one atom is what must stay or go together, however many tensors and parameters it runs through.

Every output channel of a layer starts as an atom of its own; where two channels are added to each other,
or otherwise tied, their atoms become one (union-find, Tarjan 1975).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Along:
    """The atoms along one axis of a tensor: `atoms[i]` is the atom of index i. An atom may occur twice."""

    axis: int
    atoms: Ints


class Atoms:
    """Union-find over atoms, each with the reasons for which it must stay."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._reasons: list[dict[str, None]] = []

    def fresh(self, count: int, reason: str | None = None) -> Ints:
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        self._reasons.extend({reason: None} if reason else {} for _ in range(count))
        return np.arange(start, start + count)

    def find(self, atom: int) -> int:
        while self._parent[atom] != atom:
            self._parent[atom] = self._parent[self._parent[atom]]
            atom = self._parent[atom]
        return atom

    def roots(self, atoms: Ints) -> Ints:
        return np.asarray([self.find(int(a)) for a in atoms], np.int64)

    def tie(self, first: Ints, second: Ints) -> None:
        """Index by index, the two become one atom."""
        if len(first) != len(second):
            raise ValueError(f"{len(first)} channels cannot be tied to {len(second)}")
        for a, b in zip(first, second, strict=True):
            one, two = self.find(int(a)), self.find(int(b))
            if one != two:
                keep, gone = min(one, two), max(one, two)
                self._parent[gone] = keep
                self._reasons[keep].update(self._reasons[gone])

    def protect(self, atoms: Ints, reason: str) -> None:
        for atom in atoms:
            self._reasons[self.find(int(atom))][reason] = None

    def reasons(self, atom: int) -> list[str]:
        return list(self._reasons[self.find(atom)])

    def __len__(self) -> int:
        return len(self._parent)
