"""Second moments of what layers read, and least-squares weights from them.

One pass over calibration pictures per set of layers. Pruning asks which channels can be expressed by the
others and refits weights (He et al. 2017, "Channel Pruning"; Luo et al. 2017, "ThiNet"); rounding of
weights (GPTQ) asks the same moments.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.backends import paddle as backend
from edgekit.calibration.readers import Doubles, Floats, Reader, answers, rows
from edgekit.errors import EdgekitError
from edgekit.program import edit, graph
from edgekit.program.graph import Program

BATCH = 8  # pictures at most
_PIXELS = BATCH * 224 * 224  # of a batch: some programs keep every tensor until a pass is over
PLACES = 256  # of a picture, per layer
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the mean diagonal
ENOUGH = 20  # rows per column from which the least ridge is right


@dataclass
class Moments:
    """Sums of z z' over rows z = [x, 1], [k + 1, k + 1], for even and for odd pictures apart.

    The halves serve to choose a ridge: what is fitted to the one is judged on the other.
    """

    sums: tuple[Doubles, Doubles]
    counts: tuple[int, int]

    @staticmethod
    def of(x: Floats, pictures: int, first: int) -> Moments:
        """Of rows [n, k], the same number for each of `pictures` pictures, numbered from `first`."""
        z = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
        odd = odd_rows(len(x), pictures, first)
        even, other = z[~odd], z[odd]
        return Moments(
            ((even.T @ even).astype(np.float64), (other.T @ other).astype(np.float64)),
            (len(even), len(other)),
        )

    def plus(self, other: Moments) -> Moments:
        (a, b), (c, d) = self.sums, other.sums
        return Moments((a + c, b + d), (self.counts[0] + other.counts[0], self.counts[1] + other.counts[1]))

    @property
    def n(self) -> int:
        return sum(self.counts)

    @property
    def matrix(self) -> Doubles:
        """E[z z'] [k + 1, k + 1]; the last column is the mean."""
        return (self.sums[0] + self.sums[1]) / self.n


def odd_rows(rows: int, pictures: int, first: int) -> npt.NDArray[np.bool_]:
    """Which of the rows of a batch are of pictures with an odd number."""
    return np.repeat((first + np.arange(pictures)) % 2 == 1, rows // pictures)


def batches(pictures: Sequence[Floats], program: Program) -> Iterator[tuple[int, Floats]]:
    """(number of the first picture, [n, 3, H, W]): pictures of one size, or one."""
    several = program.shape(program.feeds[0])[0] < 0
    start = 0
    while start < len(pictures):
        end = start + 1
        size = max(1, min(BATCH, _PIXELS // int(np.prod(pictures[start].shape[-2:])))) if several else 1
        while end < min(start + size, len(pictures)) and pictures[end].shape == pictures[start].shape:
            end += 1
        yield start, np.stack(pictures[start:end])
        start = end


def passes(
    program: Program, tensors: Sequence[str], pictures: Sequence[Floats], *, optimise: bool = True
) -> Iterator[tuple[int, dict[str, Floats]]]:
    """Run the program as far as `tensors` need; their values batch by batch.

    `optimise=False` for tensors that Paddle's fused ops would skip (before and after a batch norm, say), and
    for programs with quantize_linear, which Paddle's passes rewrite.
    """
    feed = program.feeds[0]
    inner = [name for name in dict.fromkeys(tensors) if name != feed]
    if not inner:
        for start, batch in batches(pictures, program):
            yield start, {feed: batch}
        return
    part = edit.cut(program, {name: name for name in inner})
    with tempfile.TemporaryDirectory() as scratch:
        graph.write(part, Path(scratch))
        files = Path(scratch) / "inference.pdmodel", Path(scratch) / "inference.pdiparams"
        run = backend.load(*files, optimise=optimise)
        for start, batch in batches(pictures, program):
            yield start, {feed: batch, **run({feed: batch})}


def collect(
    program: Program,
    layers: Sequence[Reader],
    pictures: Sequence[Floats],
    advance: Callable[[], None],
    *,
    optimise: bool = True,
) -> dict[str, Moments]:
    """Moments of every layer's input, by weight; `optimise` as in `passes`.

    Raises EK501 when a tensor is not finite.
    """
    found: dict[str, Moments] = {}
    for start, values in passes(program, [layer.input for layer in layers], pictures, optimise=optimise):
        for layer in layers:
            k = layer.matrix(program.params[layer.weight]).shape[1]
            x = rows(layer, values[layer.input], k, PLACES, start)
            if not np.isfinite(x).all():
                raise EdgekitError("EK501", f"{layer.input} holds values that are not finite.")
            part = Moments.of(x, len(values[layer.input]), start)
            known = found.get(layer.weight)
            found[layer.weight] = part if known is None else known.plus(part)
        for _ in range(len(values[program.feeds[0]])):
            advance()
    return found


def means(
    program: Program,
    layers: Sequence[Reader],
    pictures: Sequence[Floats],
    advance: Callable[[], None],
    *,
    optimise: bool = True,
) -> dict[str, Doubles]:
    """E[z] [k + 1] of every layer's rows z = [x, 1], by weight: the last column of `Moments.matrix`. Of a
    depthwise layer each channel has its own, [channels, k + 1]. `optimise` as in `passes`."""
    sums: dict[str, Doubles] = {}
    counts = dict.fromkeys((layer.weight for layer in layers), 0)
    for start, values in passes(program, [layer.input for layer in layers], pictures, optimise=optimise):
        for layer in layers:
            k = layer.matrix(program.params[layer.weight]).shape[1]
            x = rows(layer, values[layer.input], k, PLACES, start)
            total = x.sum(axis=0, dtype=np.float64)
            if layer.kind == "depthwise":
                total = total.reshape(-1, k)
            sums[layer.weight] = sums.get(layer.weight, np.zeros(1)) + total
            counts[layer.weight] += len(x)
        for _ in range(len(values[program.feeds[0]])):
            advance()
    return {
        name: np.concatenate([total / counts[name], np.ones((*total.shape[:-1], 1))], axis=-1)
        for name, total in sums.items()
    }


def layer_answers(
    program: Program, layers: Sequence[Reader], pictures: Sequence[Floats], advance: Callable[[], None]
) -> dict[str, Floats]:
    """What each layer answers, its bias included, where `rows` looks at its input: [n, out], by weight."""
    found: dict[str, list[Floats]] = {layer.weight: [] for layer in layers}
    for start, values in passes(program, [layer.output for layer in layers], pictures):
        for layer in layers:
            found[layer.weight].append(answers(layer, values[layer.output], PLACES, start))
        for _ in range(len(values[program.feeds[0]])):
            advance()
    result = {}
    for layer in layers:
        bias = program.params[layer.bias].reshape(-1) if layer.bias is not None else np.zeros(1)
        result[layer.weight] = np.concatenate(found[layer.weight]) + bias.astype(np.float32)
    return result


def without(weights: Doubles, moments: Moments, keep: npt.NDArray[np.bool_], bias: bool) -> Doubles:
    """Weights [out, k + 1] (bias last) that answer best when only the columns in `keep` [k] are left.

    Least squares against the layer's own answers on the same inputs, with a ridge towards the weights that
    are there; columns that are gone are zero. Without `bias` the last column is left alone.
    """
    columns = np.flatnonzero(np.r_[keep, bias])
    gone = np.flatnonzero(~keep)

    def parts(sums: Doubles, n: int) -> tuple[Doubles, Doubles]:
        return sums[np.ix_(columns, columns)] / n, weights[:, gone] @ sums[np.ix_(gone, columns)] / n

    result = weights.copy()
    result[:, gone] = 0
    halves = [parts(s, n) for s, n in zip(moments.sums, moments.counts, strict=True) if n]
    result[:, columns] += step(*parts(moments.sums[0] + moments.sums[1], moments.n), halves, moments.n)
    return result


def step(inner: Doubles, cross: Doubles, halves: Sequence[tuple[Doubles, Doubles]], n: int) -> Doubles:
    """The change of weights [out, k] that comes nearest to what is missing, by least squares with a ridge.

    inner: E[z z'] of what a layer reads, [k, k]; cross: E[missing z'], [out, k]; halves: the same of either
    half of the pictures. With few rows the ridge is the one that, fitted to one half, does best on the other.
    """
    ridge = RIDGES[0]
    if n < ENOUGH * len(inner) and len(halves) == 2:
        one, two = halves
        ridge = min(RIDGES, key=lambda r: _judged(one, two, r) + _judged(two, one, r))
    return _solve(inner, cross, ridge)


def _judged(fit: tuple[Doubles, Doubles], judge: tuple[Doubles, Doubles], ridge: float) -> float:
    """The squared error on the other half, but for a constant."""
    change = _solve(*fit, ridge)
    inner, cross = judge
    return float(((change @ inner - 2 * cross) * change).sum())


def _solve(inner: Doubles, cross: Doubles, ridge: float) -> Doubles:
    ridged = inner + np.eye(len(inner)) * ridge * np.trace(inner) / len(inner)
    return np.asarray(np.linalg.solve(ridged, cross.T).T)
