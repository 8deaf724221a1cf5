"""Whole runs: what they return, that they can be repeated and resumed, and how they fail."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.program.graph import Program
from edgekit.training import checkpoint, trainable
from edgekit.training import distil as room
from edgekit.training.distil import Distilled, Examples, Settings, distil
from edgekit.training.graph_training import Trainer
from tests.program import nets
from tests.training import worlds
from tests.training.worlds import learn


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return worlds.program(worlds.Branches, tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def student(teacher: Program) -> Program:
    return worlds.perturbed(teacher)


def same(one: Distilled, other: Distilled) -> bool:
    return all(np.array_equal(one.program.params[n], other.program.params[n]) for n in one.program.params)


def losses_of(made: Distilled) -> list[tuple[int, float, float]]:
    return [(check.step, check.train_loss, check.held_out_loss) for check in made.history]


def held_out_loss(program: Program, teacher: Program, folder: Path) -> float:
    """Kullback-Leibler divergence on the held-out pictures of `learn`, in numpy."""
    feeds = [
        {"x": x[None].astype(np.float16).astype(np.float32)} for x in worlds.examples(8, seed=9).pictures
    ]
    (end,) = teacher.fetches
    q, p = (
        np.concatenate([found[end] for found in nets.run(which, folder / str(k), feeds)]).astype(np.float64)
        for k, which in enumerate((program, teacher))
    )
    return float((p * np.log(p / q)).sum(-1).mean())


def test_it_learns_and_returns_the_best_check(student: Program, teacher: Program, tmp_path: Path) -> None:
    before = {name: value.copy() for name, value in student.params.items()}
    made = learn(student, teacher, tmp_path / "run", steps=60, rate=3e-3)
    assert made.best_loss < 0.7 * made.start_loss
    assert made.history[0].step == 0 and made.history[-1].step == 60 and len(made.history) == 11
    assert made.pictures_per_second > 1
    assert made.start_loss == pytest.approx(held_out_loss(student, teacher, tmp_path), rel=1e-3)
    assert made.best_loss == pytest.approx(held_out_loss(made.program, teacher, tmp_path), rel=1e-3)
    assert all(np.array_equal(before[name], student.params[name]) for name in before)  # not in place


def test_the_best_is_not_the_last(student: Program, teacher: Program, tmp_path: Path) -> None:
    """The rate is far too high: whatever comes last is worse than the start, which is returned."""
    made = learn(student, teacher, tmp_path / "run", rate=0.3)
    assert made.history[-1].held_out_loss > made.start_loss
    assert made.best_loss == min(check.held_out_loss for check in made.history)
    assert made.best_loss == pytest.approx(held_out_loss(made.program, teacher, tmp_path), rel=1e-3)


def test_an_equal_student_stays(teacher: Program, tmp_path: Path) -> None:
    made = learn(teacher, teacher, tmp_path, steps=5)
    assert made.start_loss == pytest.approx(0, abs=1e-6)
    assert all(np.allclose(made.program.params[n], teacher.params[n], atol=1e-3) for n in teacher.params)


def test_seeds(student: Program, teacher: Program, tmp_path: Path) -> None:
    one, again, other = (learn(student, teacher, tmp_path / str(k), seed=s) for k, s in enumerate((1, 1, 2)))
    assert same(one, again) and losses_of(one) == losses_of(again)
    assert not same(one, other)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_stopped_run_goes_on_to_the_same_result(
    optimizer: str, student: Program, teacher: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(student, teacher, tmp_path / "whole", optimizer=optimizer)
    seen: list[int] = []
    take = Trainer.step

    def stop(self: Trainer, *args: Any) -> float:
        seen.append(len(seen))
        if len(seen) == 13:
            raise KeyboardInterrupt
        return take(self, *args)

    monkeypatch.setattr(Trainer, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        learn(student, teacher, tmp_path / "parts", optimizer=optimizer)
    resumed = learn(student, teacher, tmp_path / "parts", optimizer=optimizer)
    assert len(seen) == 13 + 20 - 12  # it did not begin again
    assert same(whole, resumed) and losses_of(whole) == losses_of(resumed)
    # A finished run is not repeated; another one is not taken for it.
    finished = learn(student, teacher, tmp_path / "parts", optimizer=optimizer)
    assert len(seen) == 21 and same(whole, finished) and finished.pictures_per_second == 0
    learn(student, teacher, tmp_path / "parts", optimizer=optimizer, rate=2e-3)
    assert len(seen) == 41


CHILD = """
import sys
from pathlib import Path
from tests.training import worlds
folder = Path(sys.argv[1])
teacher = worlds.program(worlds.Branches, folder / "net")
worlds.learn(worlds.perturbed(teacher), teacher, folder / "run", steps=200)
"""


def test_kill_9(student: Program, teacher: Program, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stderr=subprocess.DEVNULL)
    kept = tmp_path / "run" / room.CHECKPOINT
    deadline = time.monotonic() + 60
    steps = 0
    while steps == 0 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.05)
        steps = _step_of(kept)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    steps = _step_of(kept)
    assert 0 < steps < 200 and steps % 20 == 0
    resumed = learn(student, teacher, tmp_path / "run", steps=200)
    assert [check.step for check in resumed.history] == list(range(0, 201, 20))
    assert resumed.best_loss < resumed.start_loss


def _step_of(path: Path) -> int:
    if not path.is_file():
        return 0
    with np.load(path) as file:
        return int(str(file["info"]).partition('"step": ')[2].partition(",")[0])


def test_a_loss_that_is_no_number_stops_the_run(student: Program, teacher: Program, tmp_path: Path) -> None:
    with pytest.raises(
        EdgekitError, match=r"diverged.*at step \d.*training.npz keeps the last good"
    ) as error:
        learn(student, teacher, tmp_path, rate=1e30, warmup=0.0, clip=1e9, optimizer="sgd")
    assert error.value.code == "EK503" and error.value.exit_code == 5
    with np.load(tmp_path / room.CHECKPOINT) as file:
        kept = {name: file[name] for name in file.files}
    weights = trainable.weights(student)
    assert {f"best/{name}" for name in weights} <= set(kept)
    for name in weights:
        np.testing.assert_array_equal(kept[f"best/{name}"], student.params[name])
    assert all(np.isfinite(value).all() for name, value in kept.items() if name != "info")


def test_a_student_without_numbers_is_refused(student: Program, teacher: Program, tmp_path: Path) -> None:
    broken = student.copy()
    name = trainable.weights(student)[0]
    broken.params[name] = np.full_like(broken.params[name], np.nan)
    with pytest.raises(EdgekitError, match="no good state") as error:
        learn(broken, teacher, tmp_path)
    assert error.value.code == "EK503"


def test_frozen_weights_do_not_change(student: Program, teacher: Program, tmp_path: Path) -> None:
    weights = trainable.weights(student)[:4]
    losses = {student.fetches[0]: "kl"}
    wanted = Settings(steps=10, threads=1)
    data = worlds.examples(16), worlds.examples(4, seed=9)
    made = distil(student, teacher, *data, wanted, losses, tmp_path, Progress(), weights=weights)
    changed = {n for n in student.params if not np.array_equal(student.params[n], made.program.params[n])}
    assert changed == set(weights)


def test_features_pull_inner_tensors_together(student: Program, teacher: Program, tmp_path: Path) -> None:
    inner = nets.output_of(teacher, "hard_swish")
    data = worlds.examples(24), worlds.examples(8, seed=9)
    wanted = Settings(steps=40, rate=3e-3, threads=1)
    losses = {student.fetches[0]: "kl"}
    feeds = [{"x": x[None]} for x in data[1].pictures]

    def distance(program: Program) -> float:
        from edgekit.program import edit

        ours, theirs = (
            np.concatenate(
                [found[inner] for found in nets.run(edit.cut(p, {inner: inner}), tmp_path / "x", feeds)]
            )
            for p in (program, teacher)
        )
        return float(np.square(ours - theirs).mean())

    def trained(features: dict[str, str], name: str) -> Program:
        return distil(
            student, teacher, *data, wanted, losses, tmp_path / name, Progress(), features=features
        ).program

    assert distance(trained({inner: inner}, "with")) < 0.9 * distance(trained({}, "without"))


def test_labels_lead_away_from_a_teacher_that_errs(teacher: Program, tmp_path: Path) -> None:
    """Every label is class 3, whatever the teacher says: with labels its probability grows."""
    data = worlds.examples(16), worlds.examples(4, seed=9)
    told = [dataclasses.replace(e, labels=np.full(len(e.pictures), 3)) for e in data]
    losses, wanted = {teacher.fetches[0]: "kl"}, Settings(steps=30, rate=3e-2, threads=1)
    feeds = [{"x": x[None]} for x in data[0].pictures]

    def probability(examples: list[Examples], name: str) -> float:
        made = distil(teacher, teacher, *examples, wanted, losses, tmp_path / name, Progress())
        found = nets.run(made.program, tmp_path / "run", feeds)
        return float(np.mean([answer[teacher.fetches[0]][0, 3] for answer in found]))

    assert probability(told, "with") > probability(list(data), "without") + 0.1


def test_minutes_end_in_time_with_the_schedule_done(
    student: Program, teacher: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    take = Trainer.step

    def watch(self: Trainer, feed: Any, rate: float) -> float:
        rates.append(rate)
        return take(self, feed, rate)

    monkeypatch.setattr(Trainer, "step", watch)
    made = learn(student, teacher, tmp_path, steps=None, minutes=1.5 / 60)
    assert 1.5 <= made.seconds < 6
    assert len(rates) > 5 and rates[-1] < 0.2e-3 < max(rates) <= 1e-3
    assert made.history[-1].step == len(rates)


def test_epochs(student: Program, teacher: Program, tmp_path: Path) -> None:
    assert learn(student, teacher, tmp_path, steps=None, epochs=2).history[-1].step == 2 * 24 // 8


def test_what_it_says(
    student: Program, teacher: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn(student, teacher, tmp_path)
    said = capsys.readouterr().err
    assert "Asking the teacher" in said and "at the start" in said
    (line,) = (line for line in said.splitlines() if line.startswith("distil: step 10,"))
    for part in ("loss ", "held out ", "(best ", "pictures/s", " s left"):
        assert part in line


def test_the_mode_of_paddle_is_left_as_it_was(student: Program, teacher: Program, tmp_path: Path) -> None:
    paddle.disable_static()
    flag = "FLAGS_new_executor_serial_run"
    before = paddle.get_flags([flag])
    learn(student, teacher, tmp_path, steps=1)
    assert paddle.in_dynamic_mode() and paddle.get_flags([flag]) == before


def test_arguments_that_do_not_fit(student: Program, teacher: Program, tmp_path: Path) -> None:
    losses, wanted = {student.fetches[0]: "kl"}, Settings(steps=1)
    some, labels = worlds.examples(4), np.zeros(4, np.int64)
    told = dataclasses.replace(some, labels=labels)

    def code(train: Examples, held_out: Examples, which: dict[str, str] = losses, **more: Any) -> str:
        with pytest.raises(EdgekitError) as error:
            distil(student, teacher, train, held_out, wanted, which, tmp_path, Progress(), **more)
        return error.value.code

    assert code(worlds.examples(0), some) == code(some, worlds.examples(0)) == "EK407"
    assert code(told, some) == code(some, told) == "EK107"
    assert code(told, told, {student.fetches[0]: "mse"}) == "EK107"
    assert code(told, dataclasses.replace(some, labels=labels[:3])) == "EK408"
    assert code(some, some, features={"nowhere": "nowhere"}) == "EK103"
    assert code(some, some, weights=[]) == "EK103"
    for wrong in ({}, {"steps": 1, "minutes": 1.0}):
        with pytest.raises(EdgekitError) as error:
            Settings(**wrong)
        assert error.value.code == "EK107"


def test_a_damaged_checkpoint_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    state = checkpoint.State(
        3, 1.5, [checkpoint.Check(0, 0.0, 0.0, 2.0)], {"w": np.ones(3)}, {"w": np.zeros(3)}
    )
    checkpoint.save(path, state, "a")
    found = checkpoint.load(path, "a")
    assert found is not None and (found.step, found.seconds, found.history) == (3, 1.5, state.history)
    np.testing.assert_array_equal(found.values["w"], np.ones(3))
    np.testing.assert_array_equal(found.best["w"], np.zeros(3))
    assert checkpoint.load(path, "b") is None and checkpoint.load(tmp_path / "none", "a") is None
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PK" + whole[2:40]):
        path.write_bytes(damaged)
        assert checkpoint.load(path, "a") is None


TOGETHER = """
import sys
from pathlib import Path
import numpy as np
from edgekit.training import devices
from tests.training import worlds
folder = Path(sys.argv[1])
teacher = worlds.program(worlds.Branches, folder / f"net{devices.rank()}")
made = worlds.learn(worlds.perturbed(teacher), teacher, folder / "run", steps=10, optimizer="sgd")
np.savez(folder / f"{devices.rank()}.npz", **made.program.params)
"""


@pytest.mark.slow
def test_two_processes_are_one(student: Program, teacher: Program, tmp_path: Path) -> None:
    """Each takes half of every batch; what comes out is what one process makes of whole batches."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    paths = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [*launch, "--log_dir", str(tmp_path / "log"), str(script), str(tmp_path)],
        check=True,
        timeout=120,
        capture_output=True,
        cwd=tmp_path,  # it leaves a log there
        env={**os.environ, "PYTHONPATH": paths, "PADDLE_DISTRI_BACKEND": "gloo", "OMP_NUM_THREADS": "1"},
    )
    alone = learn(student, teacher, tmp_path / "alone", steps=10, optimizer="sgd")
    for rank in range(2):
        with np.load(tmp_path / f"{rank}.npz") as found:
            for name, value in alone.program.params.items():
                np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
    assert any(
        np.abs(value - student.params[name]).max() > 1e-4 for name, value in alone.program.params.items()
    )
