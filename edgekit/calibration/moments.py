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

BATCH = 8
PLACES = 256  # of a picture, per layer
RIDGE = 1e-4  # of the mean diagonal


@dataclass
class Moments:
    """E[z z'] over n rows z = [x, 1]: [k + 1, k + 1]; the last column is the mean."""

    matrix: Doubles
    n: int

    @staticmethod
    def of(x: Floats) -> Moments:
        z = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
        return Moments((z.T @ z).astype(np.float64) / len(z), len(z))

    def plus(self, other: Moments) -> Moments:
        n = self.n + other.n
        return Moments((self.matrix * self.n + other.matrix * other.n) / n, n)


def batches(pictures: Sequence[Floats], program: Program) -> Iterator[tuple[int, Floats]]:
    """(number of the first picture, [n, 3, H, W]); n is 1 where the program's input says so."""
    size = BATCH if program.shape(program.feeds[0])[0] < 0 else 1
    for start in range(0, len(pictures), size):
        yield start, np.stack(pictures[start : start + size])


def passes(
    program: Program, tensors: Sequence[str], pictures: Sequence[Floats]
) -> Iterator[tuple[int, dict[str, Floats]]]:
    """Run the program as far as `tensors` need; their values batch by batch."""
    feed = program.feeds[0]
    inner = [name for name in dict.fromkeys(tensors) if name != feed]
    if not inner:
        for start, batch in batches(pictures, program):
            yield start, {feed: batch}
        return
    part = edit.cut(program, {name: name for name in inner})
    with tempfile.TemporaryDirectory() as scratch:
        graph.write(part, Path(scratch))
        run = backend.load(Path(scratch) / "inference.pdmodel", Path(scratch) / "inference.pdiparams")
        for start, batch in batches(pictures, program):
            yield start, {feed: batch, **run({feed: batch})}


def collect(
    program: Program, layers: Sequence[Reader], pictures: Sequence[Floats], advance: Callable[[], None]
) -> dict[str, Moments]:
    """Moments of every layer's input, by weight. Raises EK501 when a tensor is not finite."""
    found: dict[str, Moments] = {}
    for start, values in passes(program, [layer.input for layer in layers], pictures):
        for layer in layers:
            k = layer.matrix(program.params[layer.weight]).shape[1]
            x = rows(layer, values[layer.input], k, PLACES, start)
            if not np.isfinite(x).all():
                raise EdgekitError("EK501", f"{layer.input} holds values that are not finite.")
            part = Moments.of(x)
            known = found.get(layer.weight)
            found[layer.weight] = part if known is None else known.plus(part)
        for _ in range(len(values[program.feeds[0]])):
            advance()
    return found


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
    h = moments.matrix
    solved = np.linalg.solve(_ridged(h[np.ix_(columns, columns)]), h[np.ix_(columns, gone)])
    result = weights.copy()
    result[:, gone] = 0
    result[:, columns] += weights[:, gone] @ solved.T
    return result


def towards(weights: Doubles, inner: Doubles, cross: Doubles) -> Doubles:
    """Weights [out, k + 1] that come nearest to wanted answers, with a ridge towards those that are there.

    inner: E[z z'] of what the layer really reads; cross: E[(wanted - weights z) z'], [out, k + 1].
    """
    return np.asarray(weights + np.linalg.solve(_ridged(inner), cross.T).T)


def _ridged(matrix: Doubles) -> Doubles:
    return np.asarray(matrix + np.eye(len(matrix)) * RIDGE * np.trace(matrix) / len(matrix))
