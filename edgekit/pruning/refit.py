"""Weights refitted to what is left: least squares, layer by layer from the input on, without a gradient.

Each layer is asked to answer as the float network's does, given what the pruned network really delivers
(He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks", section 3.2; Luo et al. 2017,
"ThiNet"). The bias is refitted with the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgekit.calibration import moments
from edgekit.calibration.moments import PLACES, Moments, passes
from edgekit.calibration.readers import Doubles, Floats, Reader, readers, rows
from edgekit.program.graph import Program, inputs, outputs
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
    """The float program with every consumer of `atoms` refitted to do without them; shapes as they were."""
    made = program.copy()
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


def levels(program: Program, layers: Sequence[Reader]) -> list[list[Reader]]:
    """The layers in waves: those of one wave do not read each other's answers."""
    own = {layer.output: layer for layer in layers}
    depth: dict[str, int] = {}
    waves: dict[int, list[Reader]] = {}
    for op in program.block.ops:
        at = max((depth.get(name, 0) for name in inputs(op)), default=0)
        layer = next((own[name] for name in outputs(op) if name in own), None)
        if layer is not None:
            waves.setdefault(at, []).append(layer)
            at += 1
        for name in outputs(op):
            depth[name] = at
    return [waves[k] for k in sorted(waves)]


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
    for wave in levels(made, [layer for layer in readers(made) if layer.weight in wanted]):
        sums = {layer.weight: _Sums() for layer in wave}
        for start, values in passes(made, [layer.input for layer in wave], pictures):
            for layer in wave:
                weights = with_bias(made, layer)
                x = rows(layer, values[layer.input], weights.shape[1] - 1, PLACES, start)
                sums[layer.weight].add(x, wanted[layer.weight], weights)
        for layer in wave:
            weights = with_bias(made, layer)
            set_weights(made, layer, SOLVERS[method](sums[layer.weight], weights, layer.bias is not None))
            advance()
    return made


class _Sums:
    """What one pass adds up for one layer."""

    def __init__(self) -> None:
        self.n = 0
        self.inner: Doubles = np.zeros(0)
        self.cross: Doubles = np.zeros(0)
        self.got: list[Doubles] = []
        self.wanted: list[Doubles] = []

    def add(self, x: Floats, wanted: Floats, weights: Doubles) -> None:
        z = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
        target = wanted[self.n : self.n + len(x)]
        got = z @ weights.T.astype(np.float32)
        inner, cross = z.T @ z, (target - got).T @ z
        self.inner = inner + self.inner if self.n else inner.astype(np.float64)
        self.cross = cross + self.cross if self.n else cross.astype(np.float64)
        self.n += len(x)
        self.got.append(np.stack([got.sum(0), (got.astype(np.float64) ** 2).sum(0)]))
        self.wanted.append(np.stack([target.sum(0), (target.astype(np.float64) ** 2).sum(0)]))


def _least_squares(sums: _Sums, weights: Doubles, has_bias: bool) -> Doubles:
    inner, cross = sums.inner / sums.n, sums.cross / sums.n
    if has_bias:
        return moments.towards(weights, inner, cross)
    made = weights.copy()
    made[:, :-1] = moments.towards(weights[:, :-1], inner[:-1, :-1], cross[:, :-1])
    return made


def _statistics(sums: _Sums, weights: Doubles, has_bias: bool) -> Doubles:
    (mean, square), (want_mean, want_square) = (np.sum(s, axis=0) / sums.n for s in (sums.got, sums.wanted))
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
