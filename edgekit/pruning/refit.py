"""Weights refitted to what is left: least squares, layer by layer from the input on, without a gradient.

Each layer is asked to answer as the float network's does, given what the pruned network really delivers
(He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks", section 3.2; Luo et al. 2017,
"ThiNet"). The bias is refitted with the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgekit.calibration import moments, segments
from edgekit.calibration.moments import PLACES, Moments
from edgekit.calibration.readers import Doubles, Floats, Reader, readers, rows
from edgekit.program.graph import Program, outputs
from edgekit.pruning.remove import lost_mask
from edgekit.pruning.trace import Trace


def with_bias(program: Program, reader: Reader) -> Doubles:
    """A layer's weights [out, k + 1], the bias in the last column (0 where it has none)."""
    matrix = reader.matrix(program.params[reader.weight])
    bias = np.zeros(len(matrix))
    if reader.bias is not None:
        bias = program.params[reader.bias].reshape(-1).astype(np.float64)
    return np.concatenate([matrix, bias[:, None]], axis=1)


def set_weights(program: Program, reader: Reader, weights: Doubles) -> None:
    """The reverse of `with_bias`, in place; the last column is dropped where there is no bias."""
    shape = program.params[reader.weight].shape
    program.params[reader.weight] = reader.restore(weights[:, :-1], shape)
    if reader.bias is not None:
        old = program.params[reader.bias]
        program.params[reader.bias] = weights[:, -1].reshape(old.shape).astype(old.dtype)


def mask_out(
    program: Program,
    trace: Trace,
    layers: Mapping[str, Reader],
    known: Mapping[str, Moments],
    atoms: set[int],
) -> Program:
    """The float program with every consumer of `atoms` refitted to do without them; shapes as they were.

    It shares its description with `program`, only parameters are its own.
    """
    made = Program(program.desc, dict(program.params))
    for piece in trace.slices:
        lost = lost_mask(piece.atoms, atoms)
        if piece.role != "in" or not lost.any():
            continue
        reader = layers.get(piece.parameter)
        if reader is None or piece.parameter not in known:
            value = np.moveaxis(made.params[piece.parameter].copy(), piece.axis, 0)
            value[lost] = 0
            made.params[piece.parameter] = np.ascontiguousarray(np.moveaxis(value, 0, piece.axis))
            continue
        weights = with_bias(made, reader)
        keep = np.repeat(~lost, (weights.shape[1] - 1) // len(lost))
        set_weights(
            made, reader, moments.without(weights, known[reader.weight], keep, reader.bias is not None)
        )
    return made


def refit(
    program: Program,
    wanted: Mapping[str, Floats],
    pictures: Sequence[Floats],
    method: str,
    advance: Callable[[], None],
) -> Program:
    """Refit the layers named in `wanted` (weight -> the float layer's answers, bias included, [n, out]).

    method: "refit" (least squares) or "statistics": only a gain and a bias per output channel, so that mean
    and variance are the float network's, which is what batch norm statistics re-estimated on the pruned
    network do once they are folded.
    """
    made = program.copy()
    layers = {layer.output: layer for layer in readers(made) if layer.weight in wanted}
    known = [{made.feeds[0]: batch} for _, batch in moments.batches(pictures, made)]
    position = 0
    for place, op in enumerate(made.ops):
        layer = next((layers[name] for name in outputs(op) if name in layers), None)
        if layer is None:
            continue
        # What this layer reads is final: everything before it has been refitted.
        known = segments.advance(made, position, place, segments.frontier(made, place), known)
        position = place
        weights, first = with_bias(made, layer), 0
        sums = _Sums(weights.shape[1], len(weights))
        for batch in known:
            x = rows(layer, batch[layer.input], weights.shape[1] - 1, PLACES, first)
            sums.add(x, wanted[layer.weight], weights, len(batch[layer.input]), first)
            first += len(batch[layer.input])
        set_weights(made, layer, SOLVERS[method](sums, weights, layer.bias is not None))
        advance()
    return made


class _Sums:
    """What one pass adds up for one layer; products for even and odd pictures apart."""

    def __init__(self, size: int, out: int) -> None:
        self.counts = [0, 0]
        self.inner = [np.zeros((size, size)) for _ in range(2)]
        self.cross = [np.zeros((out, size)) for _ in range(2)]
        self.got = np.zeros((2, out))  # sums of the layer's answers and of their squares
        self.wanted = np.zeros((2, out))

    @property
    def n(self) -> int:
        return sum(self.counts)

    def add(self, x: Floats, wanted: Floats, weights: Doubles, pictures: int, first: int) -> None:
        z = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
        target = wanted[self.n : self.n + len(x)]
        got = z @ weights.T.astype(np.float32)
        self.got += _powers(got)
        self.wanted += _powers(target)
        odd = moments.odd_rows(len(x), pictures, first)
        for half, chosen in enumerate((~odd, odd)):
            self.inner[half] += z[chosen].T @ z[chosen]
            self.cross[half] += (target[chosen] - got[chosen]).T @ z[chosen]
            self.counts[half] += int(chosen.sum())


def _powers(values: Floats) -> Doubles:
    return np.stack([values.sum(0, np.float64), (values.astype(np.float64) ** 2).sum(0)])


def _least_squares(sums: _Sums, weights: Doubles, has_bias: bool) -> Doubles:
    used = slice(None) if has_bias else slice(-1)
    halves = [
        (inner[used, used] / n, cross[:, used] / n)
        for inner, cross, n in zip(sums.inner, sums.cross, sums.counts, strict=True)
        if n
    ]
    inner = (sums.inner[0] + sums.inner[1])[used, used] / sums.n
    cross = (sums.cross[0] + sums.cross[1])[:, used] / sums.n
    made = weights.copy()
    made[:, used] += moments.step(inner, cross, halves, sums.n)
    return made


def _statistics(sums: _Sums, weights: Doubles, has_bias: bool) -> Doubles:
    (mean, square), (want_mean, want_square) = sums.got / sums.n, sums.wanted / sums.n
    variance, want = np.maximum(square - mean**2, 0), np.maximum(want_square - want_mean**2, 0)
    gain = np.where(variance > 1e-12, np.sqrt(want / np.maximum(variance, 1e-12)), 1.0)
    made = np.asarray(weights * gain[:, None])
    if has_bias:
        made[:, -1] += want_mean - gain * mean
    return made


SOLVERS: dict[str, Callable[[_Sums, Doubles, bool], Doubles]] = {
    "refit": _least_squares,
    "statistics": _statistics,
}
