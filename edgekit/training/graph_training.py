"""The two static programs of a distillation: one that trains, one that only measures the loss."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.program.graph import Program
from edgekit.training import devices, trainable
from edgekit.training import losses as losses_
from edgekit.training.checkpoint import Values
from edgekit.training.losses import Answer, Moments

_LABELS = "edgekit_labels"


@dataclass(frozen=True)
class Pair:
    """A tensor of the student that shall come to equal one of the teacher."""

    student: str
    teacher: str
    loss: str
    ending: str = ""  # softmax or sigmoid, where both are the logits behind an output
    weight: float = 1.0


def pairs(
    student: Program, teacher: Program, losses: Mapping[str, str], features: Mapping[str, str]
) -> list[Pair]:
    """What is compared, for {output: loss} and {student tensor: teacher tensor}.

    Where the outputs end in a softmax or sigmoid, their logits are, save that `bce` takes the teacher's
    probabilities. Raises EK103 for unknown losses, outputs and tensors.
    """
    losses_.check(dict(losses), student)
    losses_.check(dict(losses), teacher)
    found = []
    for output, loss in losses.items():
        (ours, ending), (theirs, their_ending) = (losses_.ending(p, output) for p in (student, teacher))
        if ending != their_ending:
            ours, theirs, ending = output, output, ""
        elif loss == "bce":
            theirs = output
            if ending == "softmax":
                ours, ending = output, ""
        found.append(Pair(ours, theirs, loss, ending))
    for ours, theirs in features.items():
        for name, program in ((ours, student), (theirs, teacher)):
            if name not in program.producers():
                raise EdgekitError("EK103", f"The program has no inner tensor {name!r} to take as a feature.")
        found.append(Pair(ours, theirs, "mse", weight=losses_.FEATURE_WEIGHT))
    return found


@dataclass(frozen=True)
class Optimizer:
    kind: Literal["adamw", "sgd"]
    weight_decay: float
    clip: float  # of the norm of all gradients together


@dataclass(frozen=True)
class Clips:
    """Clipping values among the weights (PACT): their learning rate, relative to that of the others, and how
    much the sum of their squares, in units of about what they were, adds to the loss."""

    names: tuple[str, ...] = ()
    rate: float = 1.0
    decay: float = 0.0


NO_CLIPS = Clips()


class Trainer:
    """One student in one process: `step` trains, `loss` measures. Use it inside `trainable.static_mode`."""

    def __init__(
        self,
        student: Program,
        weights: Collection[str],
        pairs: list[Pair],
        moments: Mapping[str, Moments],
        shapes: Mapping[str, tuple[int, ...]],
        picture: tuple[int, ...],
        optimizer: Optimizer,
        temperature: float,
        labels: bool,
        clips: Clips = NO_CLIPS,
    ) -> None:
        """Shapes have no batch axis; `moments` and `shapes` are of the teacher's tensors."""
        import paddle

        self.weights = list(weights)
        self.labels = labels
        self._scope = paddle.static.Scope()
        self._place = paddle.CPUPlace()
        self._executor = paddle.static.Executor(self._place)
        (self._feed,) = student.feeds
        rates = dict.fromkeys(clips.names, clips.rate)
        main, startup = trainable.parse(student, self.weights, picture, rates), paddle.static.Program()
        with paddle.static.program_guard(main, startup):
            loss = _total(main.global_block(), pairs, moments, shapes, temperature, labels)
            # Not for_test: convolutions of the inference kind keep their first weights in oneDNN's cache.
            measuring = main.clone()
            self._rate = _minimise(loss + _decayed(main.global_block(), clips), optimizer)
        self._loss = loss.name
        with paddle.static.scope_guard(self._scope):
            self._executor.run(startup)
        self._scales = trainable.scales(student, self.weights)
        values: dict[str, Any] = dict(student.params)
        for name, unit in self._scales.items():
            values[trainable.trained(name)] = values.pop(name) / unit
            values[trainable.scale(name)] = unit
        trainable.set_values(self._scope, values, self._place)
        self._main, self._measuring = main, measuring
        # What training changes; the rate is set anew for every step.
        accumulators = [v.name for v in startup.list_vars() if v.persistable and v.name != self._rate.name]
        self._state = [*map(trainable.trained, self.weights), *sorted(accumulators)]

    def step(self, feed: Values, rate: float) -> float:
        """Train on one batch; the loss before it."""
        self._scope.find_var(self._rate.name).get_tensor().set(np.array([rate], np.float32), self._place)
        return self._run(self._main, feed)

    def loss(self, feed: Values) -> float:
        return self._run(self._measuring, feed)

    def feed(
        self, pictures: NDArray[Any], tensors: Mapping[str, NDArray[Any]], labels: NDArray[Any] | None
    ) -> Values:
        """One batch for `step` and `loss`, from rows of the teacher's tensors by name."""
        made: Values = {self._feed: np.ascontiguousarray(pictures, np.float32)}
        made |= {_fed(name): np.ascontiguousarray(rows, np.float32) for name, rows in tensors.items()}
        if self.labels and labels is not None:
            made[_LABELS] = labels.astype(np.int64).reshape(-1, 1)
        return made

    def values(self) -> Values:
        """Weights and the optimizer's accumulators, to `restore` from."""
        return trainable.get_values(self._scope, self._state)

    def restore(self, values: Values) -> None:
        trainable.set_values(self._scope, values, self._place)

    def trained(self) -> Values:
        """The weights, ready for the program."""
        found = trainable.get_values(self._scope, list(map(trainable.trained, self.weights)))
        return {name: found[trainable.trained(name)] * unit for name, unit in self._scales.items()}

    def _run(self, program: Any, feed: Values) -> float:
        (loss,) = self._executor.run(program, feed=feed, fetch_list=[self._loss], scope=self._scope)
        value = float(np.ravel(loss)[0])
        return value if math.isfinite(value) else math.nan


def _fed(tensor: str) -> str:
    return f"edgekit_teacher_{tensor}"


def _total(
    block: Any,
    pairs: list[Pair],
    moments: Mapping[str, Moments],
    shapes: Mapping[str, tuple[int, ...]],
    temperature: float,
    labels: bool,
) -> Any:
    import paddle

    fed = {
        name: paddle.static.data(_fed(name), [-1, *shapes[name]], "float32")
        for name in dict.fromkeys(pair.teacher for pair in pairs)
    }
    scores = next((fed[pair.teacher] for pair in pairs if pair.loss == "bce"), None)
    total: Any = None
    for pair in pairs:
        answer = Answer(
            block.var(pair.student),
            fed[pair.teacher],
            moments[pair.teacher],
            pair.ending,
            _confidence(scores, shapes[pair.teacher]) if pair.loss == "boxes" else None,
            temperature,
        )
        loss = losses_.LOSSES[pair.loss](answer)
        if pair.weight != 1:
            loss = loss * pair.weight
        total = loss if total is None else total + loss
    if labels:
        logits = next(block.var(pair.student) for pair in pairs if pair.loss == "kl")
        total = total + losses_.labelled(logits, paddle.static.data(_LABELS, [-1, 1], "int64"))
    return total


def _decayed(block: Any, clips: Clips) -> Any:
    """What clipping values add to the loss for being large (Choi et al. 2018, section 3)."""
    import paddle

    if not clips.decay:
        return 0.0
    squares = [paddle.square(block.var(trainable.trained(name))) for name in clips.names]
    return clips.decay * paddle.add_n(squares)


def _confidence(scores: Any, boxes: tuple[int, ...]) -> Any:
    """[N, anchors]: the highest score of each box, from [N, classes, anchors] or [N, anchors, classes]."""
    import paddle

    return paddle.max(scores, axis=1 if scores.shape[2] == boxes[0] else 2)


def _minimise(loss: Any, wanted: Optimizer) -> Any:
    """Append gradients and updates of all parameters; the variable that holds the learning rate."""
    import paddle

    clip = paddle.nn.ClipGradByGlobalNorm(wanted.clip)
    if wanted.kind == "adamw":
        made = paddle.optimizer.AdamW(
            0.0,
            weight_decay=wanted.weight_decay,
            grad_clip=clip,
            apply_decay_param_fun=lambda name: len(loss.block.var(name).shape) > 1,
        )
    else:
        made = paddle.optimizer.Momentum(0.0, 0.9, weight_decay=wanted.weight_decay, grad_clip=clip)
    gradients = made.backward(loss)
    made.apply_gradients([(weight, devices.mean(gradient)) for weight, gradient in gradients])
    return made._global_learning_rate()
