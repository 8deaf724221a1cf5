"""One question asked of many parts of a network, by several walks through it side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from threading import Event, Lock
from typing import TypeVar

T = TypeVar("T")

# Two walks use two cores best, but Paddle's oneDNN crashed (a null weight in a convolution's reorder) while
# two programs ran side by side. One walk, whose programs use all cores, is somewhat slower.
WALKS = 1

Walk = Callable[[Sequence[str], Callable[[], None]], dict[str, T]]


def dealt(names: Sequence[str], walk: Walk[T], advance: Callable[[], None]) -> dict[str, T]:
    """What `walk` finds for `names`, in their order: `WALKS` walks, the names dealt out among them.

    Each walk gets its names in the order given, and a function to call for every piece of work.
    """
    over, one = Event(), Lock()

    def tick() -> None:
        if over.is_set():
            raise CancelledError
        with one:
            advance()

    found: dict[str, T] = {}
    with ThreadPoolExecutor(WALKS) as pool:
        under_way = [pool.submit(walk, names[k::WALKS], tick) for k in range(WALKS)]
        try:
            for each in as_completed(under_way):
                found.update(each.result())
        finally:
            over.set()  # after an error, or Ctrl-C, no walk goes on to its end
    return {name: found[name] for name in names}
