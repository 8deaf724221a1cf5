from __future__ import annotations

import io

import pytest

from edgekit import console
from edgekit.console import Progress


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_plain_lines_come_at_most_every_two_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.task("calibrate", 100) as advance:
        for _ in range(100):
            clock.now += 0.0625
            advance()
    with progress.task("quick"):
        pass
    progress.line("[bold] done")
    lines = stream.getvalue().splitlines()
    assert lines == [
        "calibrate ...",
        "calibrate: 32/100",
        "calibrate: 64/100",
        "calibrate: 96/100",
        "quick ...",
        "[bold] done",
    ]


def test_bars_nest_and_show_brackets_as_they_are() -> None:
    stream = io.StringIO()
    progress = Progress(stream, terminal=True)
    with progress.task("outer [a]", 2) as outer:
        with progress.task("inner") as inner:
            inner(3)
        progress.line("a [bold]line")
        outer()
    assert "outer [a]" in stream.getvalue() and "a [bold]line" in stream.getvalue()
    with pytest.raises(ZeroDivisionError), progress.task("again"):
        raise ZeroDivisionError
    progress.line("plain again")
    assert stream.getvalue().endswith("plain again\n")
