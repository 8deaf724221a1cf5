"""Which channel of a group to remove first: FPGM on filters and on responses, and its rivals.

A score is what is lost with a channel; the lowest goes first. Sums over the layers of a group are taken of
scores divided by their mean, so that no layer outweighs the others by the size of its numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.calibration.moments import Moments
from edgekit.calibration.readers import Doubles, Reader
from edgekit.program.graph import Program
from edgekit.pruning.atoms import Ints
from edgekit.pruning.groups import Group
from edgekit.pruning.trace import Trace


@dataclass(frozen=True)
class Evidence:
    """What scores are computed from."""

    program: Program
    trace: Trace
    readers: Mapping[str, Reader]  # by weight
    moments: Mapping[str, Moments]  # by weight
    seed: int = 0


def fpgm(points: Doubles) -> Doubles:
    """Sum of the Euclidean distances of each row of [n, k] to all rows.

    The rows with the lowest sums lie nearest to the geometric median: the others can stand in for them
    (He et al. 2019, "Filter Pruning via Geometric Median", eq. 6).
    """
    squares = (points**2).sum(1)
    return _distances(squares, points @ points.T)


def _distances(squares: Doubles, products: Doubles) -> Doubles:
    return np.asarray(
        np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0)).sum(1), np.float64
    )


def ranking(criterion: str, group: Group, evidence: Evidence) -> list[int]:
    """The group's atoms, the first to go first."""
    if criterion == "refit":
        return _by_refit(group, evidence)
    scores = CRITERIA[criterion](group, evidence)
    return [int(group.atoms[k]) for k in np.argsort(scores, kind="stable")]


def _made(group: Group, evidence: Evidence, score: Callable[[Doubles], Doubles]) -> Doubles:
    """A score over the filters of each producer, summed onto the group's atoms."""
    total = np.zeros(len(group.atoms))
    for name in group.producers:
        piece = evidence.trace.of(name, "out")
        assert piece is not None
        filters = np.moveaxis(evidence.program.params[name], piece.axis, 0)
        values = score(filters.reshape(len(filters), -1).astype(np.float64))
        total += _onto(group.atoms, piece.atoms, values)
    return total


def _read(group: Group, evidence: Evidence, score: Callable[[Doubles, Doubles], Doubles]) -> Doubles | None:
    """A score over what each consumer reads, summed onto the atoms.

    `score` gets E[x x'] [n, n] over the group's channels and the consumer's weights for them [n, out * taps].
    None when no consumer was measured.
    """
    total, found = np.zeros(len(group.atoms)), False
    for name in group.consumers:
        piece, reader = evidence.trace.of(name, "in"), evidence.readers.get(name)
        if piece is None or reader is None or name not in evidence.moments:
            continue
        own = np.flatnonzero(np.isin(piece.atoms, group.atoms))
        weights = reader.matrix(evidence.program.params[name])
        taps = weights.shape[1] // len(piece.atoms)
        columns = own[:, None] * taps + np.arange(taps)
        h = evidence.moments[name].matrix
        products = np.mean([h[np.ix_(columns[:, t], columns[:, t])] for t in range(taps)], axis=0)
        values = score(products, weights[:, columns].transpose(1, 0, 2).reshape(len(own), -1))
        total += _onto(group.atoms, piece.atoms[own], values)
        found = True
    return total if found else None


def _onto(atoms: Ints, where: Ints, values: Doubles) -> Doubles:
    """Values of channels, over their mean, summed by atom in the order of `atoms`."""
    mean = values.mean()
    totals: dict[int, float] = {}
    for atom, value in zip(where, values / mean if mean > 0 else values, strict=True):
        totals[int(atom)] = totals.get(int(atom), 0.0) + float(value)
    return np.asarray([totals.get(int(atom), 0.0) for atom in atoms])


def _fpgm_weights(group: Group, evidence: Evidence) -> Doubles:
    return _made(group, evidence, fpgm)


def _fpgm(group: Group, evidence: Evidence) -> Doubles:
    """FPGM on responses: the distance between two channels is the root mean square of their difference over
    calibration pictures; each sum is weighted by the norm of the consumer's weights for the channel."""

    def score(products: Doubles, weights: Doubles) -> Doubles:
        distances = _distances(np.diag(products), products)
        return np.asarray(distances * np.sqrt((weights**2).sum(1)), np.float64)

    found = _read(group, evidence, score)
    return _fpgm_weights(group, evidence) if found is None else found


def _l1(group: Group, evidence: Evidence) -> Doubles:
    return _made(group, evidence, lambda filters: np.abs(filters).sum(1))


def _energy(group: Group, evidence: Evidence) -> Doubles:
    """What the channel puts into its consumers' outputs: its mean square times their squared weights."""
    found = _read(group, evidence, lambda products, weights: np.diag(products) * (weights**2).sum(1))
    return _l1(group, evidence) if found is None else found


def _random(group: Group, evidence: Evidence) -> Doubles:
    seed = [evidence.seed, zlib.crc32(group.name.encode())]
    return np.random.Generator(np.random.PCG64(seed)).random(len(group.atoms))


def _by_refit(group: Group, evidence: Evidence) -> list[int]:
    """Greedy: each time the atom whose removal costs least after its consumers' weights are refitted.

    The cost of column j is |w_j|^2 / (H^-1)_jj (Hassibi & Stork 1993, "Optimal Brain Surgeon"), relative to
    the variance of the consumer's answers.
    """
    states = [_Surgeon.of(name, group, evidence) for name in group.consumers if name in evidence.moments]
    if not states:
        scores = _l1(group, evidence)
        return [int(group.atoms[k]) for k in np.argsort(scores, kind="stable")]
    left = [int(atom) for atom in group.atoms]
    order = []
    while left:
        costs = sum((np.asarray([s.cost(atom) for atom in left]) for s in states), np.zeros(len(left)))
        best = left.pop(int(np.argmin(costs)))
        for state in states:
            state.remove(best)
        order.append(best)
    return order


@dataclass
class _Surgeon:
    weights: Doubles  # [out, k + 1]
    inverse: Doubles
    scale: float
    columns: dict[int, Ints]

    @staticmethod
    def of(name: str, group: Group, evidence: Evidence) -> _Surgeon:
        reader, piece = evidence.readers[name], evidence.trace.of(name, "in")
        assert piece is not None
        matrix = reader.matrix(evidence.program.params[name])
        h = evidence.moments[name].matrix
        ridged = h + np.eye(len(h)) * 1e-4 * np.trace(h) / len(h)
        weights = np.concatenate([matrix, np.zeros((len(matrix), 1))], axis=1)
        mean = weights @ h[:, -1]
        variance = float(np.einsum("ok,kl,ol->", weights, h, weights) - (mean**2).sum())
        taps = matrix.shape[1] // len(piece.atoms)
        columns = {
            int(atom): (np.flatnonzero(piece.atoms == atom)[:, None] * taps + np.arange(taps)).reshape(-1)
            for atom in group.atoms
        }
        return _Surgeon(weights, np.linalg.inv(ridged), max(variance, 1e-12), columns)

    def cost(self, atom: int) -> float:
        own = self.columns[atom]
        if len(own) == 0:
            return 0.0
        diagonal = np.diag(self.inverse)[own]
        return float(((self.weights[:, own] ** 2).sum(0) / np.maximum(diagonal, 1e-12)).sum() / self.scale)

    def remove(self, atom: int) -> None:
        for j in self.columns[atom]:
            pivot = max(float(self.inverse[j, j]), 1e-12)
            self.weights -= np.outer(self.weights[:, j] / pivot, self.inverse[j])
            self.inverse -= np.outer(self.inverse[:, j], self.inverse[j]) / pivot
            self.weights[:, j] = 0


CRITERIA: dict[str, Callable[[Group, Evidence], Doubles]] = {
    "fpgm": _fpgm,
    "fpgm-weights": _fpgm_weights,
    "l1": _l1,
    "energy": _energy,
    "random": _random,
}
NAMES: Sequence[str] = (*CRITERIA, "refit")
