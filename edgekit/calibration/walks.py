"""One question asked of many parts of a network, by several walks through it side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from threading import Event, Lock
from typing import TypeVar

from edgekit import cpu

T = TypeVar("T")

Walk = Callable[[Sequence[str], Callable[[], None]], dict[str, T]]


def dealt(names: Sequence[str], walk: Walk[T], advance: Callable[[], None]) -> dict[str, T]:
    """What `walk` finds for `names`, in their order: one walk per core, the names dealt out among them.

    Each walk gets its names in the order given, and a function to call for every piece of work.
    """
    cores = cpu.cores()
    over, one = Event(), Lock()

    def tick() -> None:
        if over.is_set():
            raise CancelledError
        with one:
            advance()

    found: dict[str, T] = {}
    with ThreadPoolExecutor(cores) as pool:
        under_way = [pool.submit(walk, names[k::cores], tick) for k in range(cores)]
        try:
            for each in as_completed(under_way):
                found.update(each.result())
        finally:
            over.set()  # after an error, or Ctrl-C, no walk goes on to its end
    return {name: found[name] for name in names}
