"""The teacher is asked once; what it said is read from disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.backends import paddle as backend
from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.program.graph import Program
from edgekit.training import answers
from tests.program import nets
from tests.training import worlds
from tests.training.worlds import Floats


@pytest.fixture
def teacher(tmp_path: Path) -> Program:
    return worlds.program(worlds.Branches, tmp_path / "teacher")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pictures of every run of a predictor."""
    seen: list[int] = []
    load = backend.load

    def counted(*args: Any, **options: Any) -> backend.Run:
        run = load(*args, **options)

        def count(feed: backend.Arrays) -> backend.Arrays:
            seen.append(len(feed["x"]))
            return run(feed)

        return count

    monkeypatch.setattr(backend, "load", counted)
    return seen


class Watched(Sequence[Floats]):
    """Pictures that know how often they were read."""

    def __init__(self, pictures: list[Floats]) -> None:
        self.pictures, self.reads = pictures, 0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, k: Any) -> Any:
        self.reads += 1
        return self.pictures[k]

    def __iter__(self) -> Iterator[Floats]:
        raise AssertionError("read by index")


def test_asked_once_and_right(teacher: Program, asked: list[int], tmp_path: Path) -> None:
    pictures = Watched([feed["x"][0] for feed in nets.pictures(10)])
    inner, end = nets.output_of(teacher, "hard_swish"), teacher.fetches[0]

    def ask(key: str = "k") -> answers.Answers:
        return answers.prepare(teacher, [end, inner], pictures, key, tmp_path / "kept", Progress(), batch=4)

    first = ask()
    assert asked == [4, 4, 2] and pictures.reads == 10
    again = ask()
    assert asked == [4, 4, 2] and pictures.reads == 10
    asked.clear()
    expected = nets.run(
        teacher, tmp_path / "run", [{"x": first.pictures[k : k + 1].astype(np.float32)} for k in range(10)]
    )
    for found in (first, again):
        assert len(found) == 10 and list(found.tensors) == [end, inner]
        np.testing.assert_array_equal(found.pictures, np.stack(pictures.pictures).astype(np.float16))
        np.testing.assert_allclose(found.tensors[end], np.concatenate([e[end] for e in expected]), atol=1e-6)
        assert found.moments[end].mean == pytest.approx(1 / 20)
        assert found.moments[end].variance == pytest.approx(found.tensors[end].var(), rel=1e-5)
    asked.clear()
    ask("other pictures")
    assert asked == [4, 4, 2]
    teacher.params[nets.first(teacher, "conv2d").inputs[0].arguments[0]] *= 1.01
    ask()
    assert asked == [4, 4, 2] * 2


def test_large_tensors_take_half_the_room(
    teacher: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, end = nets.output_of(teacher, "hard_swish"), teacher.fetches[0]
    monkeypatch.setattr(answers, "_SMALL", 20)
    pictures = worlds.examples(2).pictures
    found = answers.prepare(teacher, [end, inner], pictures, "k", tmp_path, Progress())
    assert found.tensors[end].dtype == np.float32 and found.tensors[inner].dtype == np.float16


def test_a_killed_run_leaves_nothing_that_looks_finished(
    teacher: Program, asked: list[int], tmp_path: Path
) -> None:
    class Broken(Watched):
        def __getitem__(self, k: Any) -> Any:
            if k == 5:
                raise KeyboardInterrupt
            return super().__getitem__(k)

    pictures = list(worlds.examples(8).pictures)
    with pytest.raises(KeyboardInterrupt):
        answers.prepare(teacher, teacher.fetches, Broken(pictures), "k", tmp_path, Progress(), batch=4)
    found = answers.prepare(teacher, teacher.fetches, pictures, "k", tmp_path, Progress(), batch=4)
    assert asked == [4, 4, 4] and np.abs(found.tensors[teacher.fetches[0]]).min() > 0


def test_pictures_of_two_sizes_are_refused(teacher: Program, tmp_path: Path) -> None:
    pictures = [np.zeros((3, 16, 16), np.float32), np.zeros((3, 16, 20), np.float32)]
    with pytest.raises(EdgekitError, match="Picture 1 has shape") as error:
        answers.prepare(teacher, teacher.fetches, pictures, "k", tmp_path, Progress())
    assert error.value.code == "EK409"
