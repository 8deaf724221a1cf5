"""Weights refitted to what is left: least squares, layer by layer from the input on, without a gradient.

Each layer is asked to answer as the float network's does, given what the pruned network really delivers
(He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks", section 3.2; Luo et al. 2017,
"ThiNet"), where an activation follows after that activation. The bias is refitted with the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.calibration import moments, segments
from edgekit.calibration.moments import PLACES, Moments
from edgekit.calibration.readers import Doubles, Floats, Reader, readers, rows, set_weights, with_bias
from edgekit.program.graph import Program
from edgekit.pruning import activations
from edgekit.pruning.activations import Activation
from edgekit.pruning.remove import lost_mask
from edgekit.pruning.trace import Trace

_CHUNK = 4096  # rows per product in single precision
_STEPS = 4
_LONGER = 1.8  # 2 and more may diverge


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
    made = Program(program.desc, dict(program.params), program.typical)
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
    layers = [layer for layer in readers(made) if layer.weight in wanted]
    for layer, values in segments.layer_by_layer(made, layers, pictures):
        weights = with_bias(made, layer)
        asked = _asked(layer, weights.shape[1] - 1, values, wanted)
        set_weights(made, layer, SOLVERS[method](asked, weights, activations.after(made, layer)))
        advance()
    return made


@dataclass(frozen=True)
class _Asked:
    """What a layer reads, [n, k + 1] with ones, and what it should answer, [n, out], bias included.

    Rows of pictures with an even number come first; `even` says how many.
    """

    z: Floats
    wanted: Floats
    even: int
    bias: bool

    def answers(self, weights: Doubles) -> Floats:
        return np.asarray(self.z @ weights.T.astype(np.float32))


def _asked(layer: Reader, k: int, values: Sequence[Floats], wanted: Mapping[str, Floats]) -> _Asked:
    found, odd, first = [], [], 0
    for batch in values:
        x = rows(layer, batch, k, PLACES, first)
        found.append(np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1))
        odd.append(moments.odd_rows(len(x), len(batch), first))
        first += len(batch)
    order = np.argsort(np.concatenate(odd), kind="stable")
    z, answers = np.concatenate(found)[order], wanted[layer.weight][order]
    return _Asked(z, answers, sum(int((~part).sum()) for part in odd), layer.bias is not None)


def _product(a: Floats, b: Floats) -> Doubles:
    """a' b, added up in double precision."""
    total = np.zeros((a.shape[1], b.shape[1]))
    for start in range(0, len(a), _CHUNK):
        total += a[start : start + _CHUNK].T @ b[start : start + _CHUNK]
    return total


def _least_squares(asked: _Asked, weights: Doubles, activation: Activation | None) -> Doubles:
    used = slice(None) if asked.bias else slice(-1)
    n = len(asked.z)
    parts = [part for part in (slice(0, asked.even), slice(asked.even, n)) if part.start < part.stop]
    halves = [asked.z[part, used] for part in parts]
    inners = [_product(z, z) for z in halves]

    def change(missing: Floats) -> Doubles:
        crosses = [_product(missing[part], z) for part, z in zip(parts, halves, strict=True)]
        means = [
            (inner / len(z), cross / len(z)) for inner, cross, z in zip(inners, crosses, halves, strict=True)
        ]
        found = np.zeros_like(weights)
        found[:, used] = moments.step(np.add.reduce(inners) / n, np.add.reduce(crosses) / n, means, n)
        return found

    made = weights + change(asked.wanted - asked.answers(weights))
    return made if activation is None else _through(activation, asked, made, change)


def _through(
    activation: Activation, asked: _Asked, weights: Doubles, change: Callable[[Floats], Doubles]
) -> Doubles:
    """The squared error after the activation made smaller, from the least-squares weights on.

    Where both what is wanted and what is answered lie in a flat part of the activation, no answer is wrong
    (Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks for Classification and Detection",
    section 3.2). Each error counts by the square of the activation's slope between the two, at most 1: the
    weighted problem is solved by steps of the unweighted one, longer than its own by `_LONGER`.
    """
    final = activation(asked.wanted)
    answers = asked.answers(weights)
    off = final - activation(answers)
    for _ in range(_STEPS):
        missing = asked.wanted - answers
        slope = np.divide(off, missing, out=np.zeros_like(missing), where=np.abs(missing) > 1e-6)
        np.clip(slope / min(1.0, float(slope.max(initial=1e-6))), 0, 1, out=slope)
        better = weights + _LONGER * change(slope * slope * missing)
        answers = asked.answers(better)
        now = final - activation(answers)
        if np.vdot(now, now) >= np.vdot(off, off):
            break
        weights, off = better, now
    return weights


def _statistics(asked: _Asked, weights: Doubles, activation: Activation | None) -> Doubles:
    got = asked.answers(weights)
    mean, want_mean = (x.mean(0, np.float64) for x in (got, asked.wanted))
    variance, want = (x.var(0, np.float64) for x in (got, asked.wanted))
    gain = np.where(variance > 1e-12, np.sqrt(want / np.maximum(variance, 1e-12)), 1.0)
    made = np.asarray(weights * gain[:, None])
    if asked.bias:
        made[:, -1] += want_mean - gain * mean
    return made


SOLVERS: dict[str, Callable[[_Asked, Doubles, Activation | None], Doubles]] = {
    "refit": _least_squares,
    "statistics": _statistics,
}
