"""How far a student's answer is from the teacher's: losses by name, as ops of a static program.

Each is 0 for equal answers and of the order of 1 for unrelated ones, so that the sum over outputs needs no
weights. What makes it so are constants, measured once on the teacher's answers (`Moments`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.program.graph import Program, attr, inputs

# Losses of the raw outputs by task; keys are their roles in a recipe's `postprocess`.
DEFAULTS = {
    "classification": {"probabilities": "kl"},
    "detection": {"boxes": "boxes", "scores": "bce"},
    "text_detection": {"map": "bce"},
    "text_recognition": {"probabilities": "kl"},
}
FEATURE_WEIGHT = 0.1  # of inner features: they help the outputs along and are no aim of their own

_TINY = 1e-6


@dataclass(frozen=True)
class Moments:
    """Of all the teacher's answers for one tensor."""

    mean: float
    variance: float


@dataclass(frozen=True)
class Answer:
    """One output: the student's tensor and the teacher's, both [N, ...], static variables.

    `ending` is the op that makes the student's probabilities of `student`, which are logits then: softmax,
    sigmoid or "". `confidence` is [N, anchors]: how sure the teacher is of each box.
    """

    student: Any
    teacher: Any
    moments: Moments
    ending: str = ""
    confidence: Any = None
    temperature: float = 1.0


def mse(answer: Answer) -> Any:
    """Mean squared error over the variance of the teacher's answers."""
    import paddle

    error = paddle.mean(paddle.square(answer.student - answer.teacher))
    return error / max(answer.moments.variance, _TINY)


def kl(answer: Answer) -> Any:
    """Kullback-Leibler divergence of class probabilities (last axis) from logits, at a temperature.

    Times the temperature squared (Hinton et al.), which keeps the size of the gradients.
    """
    import paddle
    from paddle.nn import functional

    student = functional.log_softmax(answer.student / answer.temperature, axis=-1)
    teacher = functional.log_softmax(answer.teacher / answer.temperature, axis=-1)
    divergence = paddle.sum(paddle.exp(teacher) * (teacher - student), axis=-1)
    return paddle.mean(divergence) * answer.temperature**2


def bce(answer: Answer) -> Any:
    """Binary cross entropy to the teacher's probabilities, less their own entropy, over their mean.

    Most scores of a detector and most pixels of a text map are near 0: the mean makes up for their number.
    """
    import paddle
    from paddle.nn import functional

    t = paddle.clip(answer.teacher, _TINY, 1 - _TINY)
    if answer.ending == "sigmoid":
        log_p, log_q = functional.log_sigmoid(answer.student), functional.log_sigmoid(-answer.student)
    else:
        s = paddle.clip(answer.student, _TINY, 1 - _TINY)
        log_p, log_q = paddle.log(s), paddle.log(1 - s)
    divergence = t * (paddle.log(t) - log_p) + (1 - t) * (paddle.log(1 - t) - log_q)
    return paddle.mean(divergence) / max(answer.moments.mean, _TINY)


def boxes(answer: Answer) -> Any:
    """Absolute error of boxes [N, anchors, 4] in their own unit, weighted by the square of the confidence.

    Not by the confidence alone: the background's thousands of boxes, which nobody looks at, would have two
    thirds of the sum.
    """
    import paddle

    error = paddle.mean(paddle.abs(answer.student - answer.teacher), axis=-1)
    weight = paddle.square(answer.confidence)
    return paddle.sum(weight * error) / (paddle.sum(weight) + _TINY)


LOSSES: dict[str, Callable[[Answer], Any]] = {"mse": mse, "kl": kl, "bce": bce, "boxes": boxes}


def labelled(logits: Any, labels: Any) -> Any:
    """Cross entropy of class logits [N, classes] to integer labels [N, 1]."""
    import paddle
    from paddle.nn import functional

    return paddle.mean(functional.softmax_with_cross_entropy(logits, labels))


def ending(program: Program, output: str) -> tuple[str, str]:
    """The tensor of logits behind an output and the op that ends it: softmax, sigmoid, or "" for neither."""
    producers = program.producers()
    name = output
    while name in producers:
        op = producers[name]
        if op.type in ("softmax", "sigmoid"):
            return inputs(op, "X")[0], op.type
        # Old exporters end every output with a multiplication by 1.
        if op.type != "assign" and not (
            op.type == "scale" and attr(op, "scale", 1.0) == 1.0 and attr(op, "bias", 0.0) == 0.0
        ):
            break
        name = inputs(op, "X")[0]
    return output, ""


def check(losses: dict[str, str], program: Program) -> None:
    """Raises EK103 for a loss that does not exist, or does not fit the program's outputs."""
    for output, name in losses.items():
        if name not in LOSSES:
            raise EdgekitError("EK103", f"There is no loss {name!r}: choose one of {', '.join(LOSSES)}.")
        if output not in program.fetches:
            raise EdgekitError(
                "EK103", f"The program has no output {output!r}: it has {', '.join(program.fetches)}."
            )
    if "boxes" in losses.values() and list(losses.values()).count("bce") != 1:
        raise EdgekitError(
            "EK103", "The loss of boxes needs the loss bce for exactly one output, the scores."
        )
