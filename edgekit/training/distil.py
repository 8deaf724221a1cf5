"""Distillation: a compressed program learns, on pictures without labels, to answer like the float one."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.program.graph import Program
from edgekit.training import answers as answers_
from edgekit.training import checkpoint, devices, schedule, trainable
from edgekit.training.answers import Answers
from edgekit.training.checkpoint import Check, State
from edgekit.training.graph_training import NO_CLIPS, Clips, Optimizer, Pair, Trainer, pairs

CHECKPOINT = "training.npz"
# So often in a run the held-out loss is measured and the state kept: a kill costs a tenth of it at most.
CHECKS = 10


@dataclass(frozen=True)
class Settings:
    """How to train; exactly one of `steps`, `epochs` and `minutes` says how long.

    With `minutes` the schedule follows the clock (held-out checks included, the teacher's answers not) and
    the run ends in time; only `steps` and `epochs` give the same result again.
    """

    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch: int = 8
    optimizer: Literal["adamw", "sgd"] = "adamw"
    rate: float = 1e-3  # learning rate at its highest, relative to the sizes of weights: `trainable.scales`
    weight_decay: float = 1e-4
    clip: float = 10.0  # highest norm of all gradients together
    warmup: float = 0.05  # share of the run
    temperature: float = 1.0
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.steps, self.epochs, self.minutes)) != 1:
            raise EdgekitError(
                "EK107", "Training lasts a number of steps, epochs or minutes: give one of them."
            )


@dataclass(frozen=True)
class Examples:
    """Pre-processed pictures, float32 [C, H, W] of one size; read in order and once, so it may be lazy.

    `key` changes when they do. `labels` are class numbers, one per picture, for classifiers.
    """

    pictures: Sequence[NDArray[np.float32]]
    key: str
    labels: NDArray[np.integer[Any]] | None = None


@dataclass(frozen=True)
class Distilled:
    program: Program  # the student with the weights of the best check; the start counts as one
    history: list[Check]
    seconds: float  # of training, without the teacher's answers
    pictures_per_second: float  # of this call; 0 when nothing was left to do

    @property
    def start_loss(self) -> float:
        return self.history[0].held_out_loss

    @property
    def best_loss(self) -> float:
        return min(check.held_out_loss for check in self.history)


def distil(
    student: Program,
    teacher: Program,
    train: Examples,
    held_out: Examples,
    settings: Settings,
    losses: Mapping[str, str],
    folder: Path,
    progress: Progress,
    features: Mapping[str, str] | None = None,
    weights: Collection[str] | None = None,
    clips: Clips = NO_CLIPS,
) -> Distilled:
    """Train `weights` of `student` (batch norms folded; default: all) to answer like `teacher`.

    `losses` is {output: name in losses.LOSSES}, `features` {inner tensor of the student: teacher's, of the
    same shape}; `clips` are clipping values among `weights`. `folder` keeps the teacher's answers and the
    state: a call with the same arguments goes on where a killed one stopped, to the same result.
    Raises EK103 (names that do not fit), EK107 (settings or labels that do not), EK407 (too few pictures),
    EK409 (pictures of several sizes), EK410 (disk full), EK503 (the loss is no longer a number; the
    checkpoint in `folder` keeps the last good state).
    """
    wanted = pairs(student, teacher, losses, features or {})
    _check(wanted, train, held_out, settings)
    tensors = list(dict.fromkeys(pair.teacher for pair in wanted))
    devices.join()
    if devices.rank() > 0:
        devices.barrier()  # the first process asks the teacher, the others find its answers
    known, unseen = (
        answers_.prepare(
            teacher,
            tensors,
            e.pictures,
            e.key,
            folder,
            progress,
            batch=settings.batch,
            threads=settings.threads,
        )
        for e in (train, held_out)
    )
    if devices.rank() == 0:
        devices.barrier()
    chosen = list(weights) if weights is not None else trainable.weights(student)
    if not chosen:
        raise EdgekitError("EK103", "The program has no weights to train.")
    with trainable.static_mode(settings.threads):
        run = _Run(student, chosen, wanted, settings, (train, known), (held_out, unseen), clips)
        return run.go(folder / CHECKPOINT, progress)


def _check(wanted: list[Pair], train: Examples, held_out: Examples, settings: Settings) -> None:
    if not train.pictures or not held_out.pictures:
        raise EdgekitError("EK407", "Training needs at least one picture to learn from and one held out.")
    if devices.count() > 1 and (settings.minutes is not None or settings.batch % devices.count()):
        raise EdgekitError(
            "EK107", "Several processes need steps or epochs, not minutes, and a batch that they can share."
        )
    if (train.labels is None) != (held_out.labels is None):
        raise EdgekitError("EK107", "Labels are needed for the held-out pictures, too.")
    if train.labels is not None and not any(pair.loss == "kl" for pair in wanted):
        raise EdgekitError("EK107", "Labels can be used for classifiers only (an output with the loss kl).")
    for examples in (train, held_out):
        if examples.labels is not None and len(examples.labels) != len(examples.pictures):
            raise EdgekitError(
                "EK408", f"{len(examples.labels)} labels for {len(examples.pictures)} pictures: one each."
            )


class _Run:
    def __init__(
        self,
        student: Program,
        weights: list[str],
        wanted: list[Pair],
        settings: Settings,
        train: tuple[Examples, Answers],
        held_out: tuple[Examples, Answers],
        clips: Clips,
    ) -> None:
        self.student, self.settings = student, settings
        (self.train, self.known), (self.held_out, self.unseen) = train, held_out
        self.batch = min(settings.batch, len(self.known))
        self.steps = settings.steps
        if settings.epochs is not None:
            self.steps = max(1, round(settings.epochs * (len(self.known) // self.batch)))
        self.trainer = Trainer(
            student,
            weights,
            wanted,
            self.known.moments,
            {name: rows.shape[1:] for name, rows in self.known.tensors.items()},
            self.known.pictures.shape[1:],
            Optimizer(settings.optimizer, settings.weight_decay, settings.clip),
            settings.temperature,
            self.train.labels is not None,
            clips,
        )
        digest = hashlib.sha256(student.desc.SerializeToString(deterministic=True))
        for name in sorted(student.params):
            digest.update(np.ascontiguousarray(student.params[name]).tobytes())
        for labels in (self.train.labels, self.held_out.labels):
            digest.update(b"" if labels is None else np.asarray(labels, np.int64).tobytes())
        # How many cores there are may change between a kill and going on.
        how = {key: value for key, value in asdict(settings).items() if key != "threads"}
        plan = [how, weights, [asdict(pair) for pair in wanted], asdict(clips)]
        digest.update(json.dumps([*plan, self.known.digest, self.unseen.digest]).encode())
        self.fingerprint = digest.hexdigest()

    def go(self, path: Path, progress: Progress) -> Distilled:
        state = checkpoint.load(path, self.fingerprint)
        if state is None:
            state = State()
            self._measure(state, 0.0, path)
            progress.line(f"distil: held-out loss {state.best_loss:.5g} at the start")
        else:
            self.trainer.restore(state.values)
            progress.line(f"distil: goes on after step {state.step}")
        first, before = state.step, state.seconds
        clock, total = time.monotonic(), 0.0
        with progress.task("Distilling (%)", 100) as advance:
            advance(int(100 * self._done(state)))
            while (done := self._done(state)) < 1:
                loss = self._step(state.step, done)
                state.step += 1
                state.seconds = before + time.monotonic() - clock
                if math.isnan(loss):
                    raise _diverged(f"at step {state.step}", path)
                total += loss
                now = min(self._done(state), 1.0)
                if int(CHECKS * now) > int(CHECKS * done):
                    self._measure(state, total / (state.step - state.history[-1].step), path)
                    total = 0.0
                    state.seconds = before + time.monotonic() - clock
                    progress.line(self._report(state, first, before))
                advance(int(100 * now) - int(100 * done))
        seen = (state.step - first) * self.batch
        made = self.student.copy()
        made.params.update(state.best)
        return Distilled(made, state.history, state.seconds, seen / max(state.seconds - before, 1e-9))

    def _done(self, state: State) -> float:
        """The share of the run that is over."""
        if self.steps is not None:
            return state.step / self.steps
        return state.seconds / (60 * (self.settings.minutes or 0))

    def _step(self, step: int, done: float) -> float:
        rows = schedule.rows(step, len(self.known), self.batch, self.settings.seed)
        rate = schedule.rate(done, self.settings.rate, self.settings.warmup)
        return self.trainer.step(
            self._feed(self.train, self.known, rows[devices.rank() :: devices.count()]), rate
        )

    def _feed(self, examples: Examples, answers: Answers, rows: NDArray[np.int64]) -> checkpoint.Values:
        labels = None if examples.labels is None else examples.labels[rows]
        tensors = {name: values[rows] for name, values in answers.tensors.items()}
        return self.trainer.feed(answers.pictures[rows], tensors, labels)

    def _measure(self, state: State, train_loss: float, path: Path) -> None:
        """Add a check to the state, with the best weights when these are, and keep it on disk."""
        loss = 0.0
        for start in range(0, len(self.unseen), self.batch):
            rows = np.arange(start, min(start + self.batch, len(self.unseen)))
            loss += self.trainer.loss(self._feed(self.held_out, self.unseen, rows)) * len(rows)
        loss /= len(self.unseen)
        if math.isnan(loss):
            raise _diverged(f"after step {state.step}", path)
        better = not state.history or loss < state.best_loss
        state.history.append(Check(state.step, state.seconds, train_loss, loss))
        state.values = self.trainer.values()
        if better:
            state.best = self.trainer.trained()
        if devices.rank() == 0:
            checkpoint.save(path, state, self.fingerprint)

    def _report(self, state: State, first: int, before: float) -> str:
        check, done = state.history[-1], min(self._done(state), 1.0)
        speed = (state.step - first) * self.batch / (state.seconds - before)
        left = state.seconds * (1 - done) / done
        return (
            f"distil: step {state.step}, loss {check.train_loss:.5g}, held out {check.held_out_loss:.5g} "
            f"(best {state.best_loss:.5g}), {speed:.1f} pictures/s, {left:.0f} s left"
        )


def _diverged(when: str, path: Path) -> EdgekitError:
    kept = f"{path} keeps the last good state" if path.is_file() else "there was no good state to keep"
    return EdgekitError(
        "EK503",
        f"Training diverged: the loss is not a number {when}; {kept}. Try a lower learning rate.",
    )
