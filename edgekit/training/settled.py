"""What a pruned program need not learn: layers whose answers are the float program's still.

Pruning takes channels where they cost least, and leaves whole stretches of a network as they were. Gradients
need not reach these: PicoDet-S at -25 % has lost none of its backbone's channels, and with the backbone left
alone ten minutes of training on one core bring the held-out loss from .276 to .205 instead of .221.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.calibration.moments import passes
from edgekit.calibration.readers import Floats
from edgekit.program.graph import Program, inputs, outputs
from edgekit.training import trainable

_EQUAL = 1e-6  # squared error over mean square: what is left after folding a dead channel into biases


def unsettled(student: Program, teacher: Program, pictures: Sequence[Floats]) -> list[str]:
    """The trainable weights of `student` between tensors that equal the teacher's on `pictures` and the
    outputs; all of them where no output differs.

    pictures: float32 [C, H, W], pre-processed. Tensors are compared with the teacher's of the same name.
    """
    every = trainable.weights(student)
    makers = student.producers()
    equal = _equal(student, teacher, pictures)
    reached: set[str] = set()
    ahead = list(student.fetches)
    while ahead:
        name = ahead.pop()
        if name in reached or name in equal:
            continue
        reached.add(name)
        if name in makers:
            ahead += inputs(makers[name])
    return [name for name in every if name in reached] or every


def _equal(student: Program, teacher: Program, pictures: Sequence[Floats]) -> set[str]:
    theirs = teacher.producers()
    ops = [op for op in student.block.ops if op.type not in ("feed", "fetch")]
    made = [name for op in ops for name in outputs(op, "Out") + outputs(op, "Output")]
    common = [name for name in made if name in theirs and student.shape(name) == teacher.shape(name)]
    errors, sizes = dict.fromkeys(common, 0.0), dict.fromkeys(common, 0.0)
    found = (passes(program, common, pictures, optimise=False) for program in (student, teacher))
    for (_, ours), (_, wanted) in zip(*found, strict=True):
        for name in common:
            errors[name] += float(np.square(ours[name] - wanted[name], dtype=np.float64).sum())
            sizes[name] += float(np.square(wanted[name], dtype=np.float64).sum())
    return {name for name in common if errors[name] <= _EQUAL * sizes[name]}
