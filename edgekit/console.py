"""Progress on stderr: bars on a terminal, otherwise plain lines that a log file can hold. Tables as text."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    import rich.console
    import rich.progress

INTERVAL = 2.0  # seconds between two plain lines of one task
_WIDTH = 140  # of a table where there is no terminal


def printed(table: rich.console.RenderableType) -> str:
    """A table of rich's as text for stdout: in colour on a terminal, plain in a log."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    console = Console(
        file=io.StringIO(), force_terminal=terminal, width=None if terminal else _WIDTH, highlight=False
    )
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


class Advance(Protocol):
    def __call__(self, n: int = 1) -> None: ...


class Progress:
    """Says how far each task is. Tasks may nest; on a terminal all of them share one display."""

    def __init__(self, stream: TextIO | None = None, terminal: bool | None = None) -> None:
        self.stream = stream if stream is not None else sys.stderr
        if terminal is None:
            terminal = self.stream.isatty() and os.environ.get("TERM", "") != "dumb"
        self.terminal = terminal
        self._bars: rich.progress.Progress | None = None
        self._open = 0

    def line(self, text: str) -> None:
        """One line of text; above the bars when there are any."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """`with progress.task("calibrate", 128) as advance: ... advance()`; no total, no percentage."""
        with self._bar(label, total) if self.terminal else self._plain(label, total) as advance:
            yield advance

    @contextmanager
    def _plain(self, label: str, total: int | None) -> Iterator[Advance]:
        start = last = time.monotonic()
        done = 0

        def count() -> str:
            return f" {done}/{total}" if total is not None else f" {done}" if done else ""

        def advance(n: int = 1) -> None:
            nonlocal done, last
            done += n
            now = time.monotonic()
            if now - last >= INTERVAL and done != total:
                last = now
                self.line(f"{label}:{count()}")

        self.line(f"{label} ...")
        yield advance
        now = time.monotonic()
        if now - last >= INTERVAL:  # a quick task has said enough with its first line
            self.line(f"{label}:{count()} done in {now - start:.1f} s")

    @contextmanager
    def _bar(self, label: str, total: int | None) -> Iterator[Advance]:
        bars = self._start()
        task = bars.add_task(label, total=total)

        def advance(n: int = 1) -> None:
            bars.advance(task, n)

        try:
            yield advance
        finally:
            if total is None:
                bars.update(task, total=1, completed=1)
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = None

    def _start(self) -> rich.progress.Progress:
        from rich import progress
        from rich.console import Console

        if self._bars is None:
            self._bars = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(),
                console=Console(file=self.stream, force_terminal=True),
            )
            self._bars.start()
        self._open += 1
        return self._bars
