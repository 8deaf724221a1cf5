"""Run a program piece by piece: from what is known at one op to what is needed at a later one.

Asking many questions about one network, a layer at a time, costs one pass altogether where every question
from the input on would cost a pass of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from edgekit import cpu
from edgekit.backends import paddle as backend
from edgekit.backends.paddle import Arrays
from edgekit.calibration.moments import batches
from edgekit.calibration.readers import Floats, Reader
from edgekit.program import edit, graph
from edgekit.program.graph import Program, inputs, make_op, outputs

_NONE = "edgekit.no_parameters"
_PIXELS = 48 * 640 * 640


def affordable(pictures: Sequence[Floats], pixels: int = _PIXELS) -> list[Floats]:
    """The first pictures that have so few pixels together that a walk can keep what it knows of each."""
    total = np.cumsum([np.prod(picture.shape[-2:]) for picture in pictures])
    return list(pictures[: max(1, int((total <= pixels).sum()))])


def frontier(program: Program, position: int) -> list[str]:
    """The tensors made by the ops before `position` (inputs included) that later ops read."""
    ops = program.ops
    made = {name for op in ops[:position] for name in outputs(op)}
    read = dict.fromkeys(name for op in ops[position:] for name in inputs(op))
    return [name for name in read if name in made and name not in program.params]


def segment(program: Program, start: int, end: int, targets: Sequence[str]) -> Program:
    """The ops of [start, end) that `targets` need, as a program with the tensors it reads as its inputs."""
    made = program.copy()
    wanted = set(targets)
    kept = []
    for op in reversed(made.ops[start:end]):
        if op.type not in ("feed", "fetch") and any(name in wanted for name in outputs(op)):
            wanted.update(inputs(op))
            kept.append(op)
    kept.reverse()
    inside = {name for op in kept for name in outputs(op)}
    given = [name for name in dict.fromkeys(n for op in kept for n in inputs(op)) if name not in inside]
    feeds = [name for name in given if name not in made.params]
    ops = [make_op("feed", {"X": ["feed"]}, {"Out": [name]}, {"col": k}) for k, name in enumerate(feeds)]
    ops += kept
    ops += [make_op("fetch", {"X": [name]}, {"Out": ["fetch"]}, {"col": k}) for k, name in enumerate(targets)]
    made.replace_ops(ops)
    edit.drop_unused(made)
    return made


def layer_by_layer(
    program: Program, layers: Sequence[Reader], pictures: Sequence[Floats]
) -> Iterator[tuple[Reader, list[Floats]]]:
    """Each layer, from the input on, with what it reads, batch by batch. Its weights, and those of layers
    still to come, may be changed in between: what comes after follows from them."""
    wanted = {layer.output: layer for layer in layers}
    known: list[Arrays] = [{program.feeds[0]: batch} for _, batch in batches(pictures, program)]
    position = 0
    for place, op in enumerate(program.ops):
        layer = next((wanted[name] for name in outputs(op) if name in wanted), None)
        if layer is not None:
            known = advance(program, position, place, frontier(program, place), known)
            position = place
            yield layer, [batch[layer.input] for batch in known]


def opened(part: Program) -> Callable[[Arrays], Arrays]:
    """A function from what is known, the inputs of a segment among it, to the segment's outputs."""
    if not part.params:
        part.set_param(_NONE, np.zeros(1, np.float32))  # Paddle loads no program without any
    with tempfile.TemporaryDirectory() as scratch:
        graph.write(part, Path(scratch))
        files = Path(scratch) / "inference.pdmodel", Path(scratch) / "inference.pdiparams"
        run = backend.load(*files, threads=cpu.cores())
    return lambda values: run({name: values[name] for name in part.feeds})


def advance(
    program: Program, start: int, end: int, targets: Sequence[str], known: Sequence[Arrays]
) -> list[Arrays]:
    """The values of `targets` for each batch of `known`, which holds the frontier at `start`.

    A target that is known already is passed on.
    """
    missing = [name for name in targets if name not in known[0]]
    if not missing:
        return [{name: batch[name] for name in targets} for batch in known]
    run = opened(segment(program, start, end, missing))
    return [{name: values[name] for name in targets} for values in ({**b, **run(b)} for b in known)]
