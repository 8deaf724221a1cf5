"""What rendered pages say: sentences and labels of our own, in Chinese and English, and how they are split.

The texts lie in `sentences/`, one a line. No line serves two splits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from edgekit.data.cutouts import Split, round_robin

FOLDER = Path(__file__).parent / "sentences"
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Corpus:
    """The lines of one split. `mixed` has slots such as {price}, see `fill`."""

    chinese: tuple[str, ...]
    english: tuple[str, ...]
    chinese_labels: tuple[str, ...]
    english_labels: tuple[str, ...]
    mixed: tuple[str, ...]


@lru_cache(None)
def corpus(split: Split) -> Corpus:
    return Corpus(
        **{
            name: tuple(line for line, of in round_robin(read(name)).items() if of == split)
            for name in Corpus.__dataclass_fields__
        }
    )


def read(name: str) -> list[str]:
    """All lines of one file of `sentences/`."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def fill(template: str, rng: np.random.Generator) -> str:
    """A template with a random number, price, date, time, code, percentage or telephone number in each slot.

    Raises KeyError for a slot of another name.
    """

    def digits(count: int) -> str:
        return "".join(str(digit) for digit in rng.integers(0, 10, count))

    def date() -> str:
        year, month, day = rng.integers(1998, 2031), rng.integers(1, 13), rng.integers(1, 29)
        how = ("{}-{:02}-{:02}", "{}/{}/{}", "{}年{}月{}日", "{}.{:02}.{:02}")[int(rng.integers(4))]
        return how.format(year, month, day)

    makers: dict[str, Callable[[], str]] = {
        "number": lambda: str(rng.integers(10, 10 ** int(rng.integers(2, 6)))),
        "price": lambda: f"{rng.uniform(1, 10 ** rng.uniform(0.5, 3.5)):.2f}",
        "date": date,
        "time": lambda: f"{rng.integers(0, 24):02}:{rng.integers(0, 60):02}",
        "code": lambda: (
            f"{'ABCDEFGHJKLMNPQRSTUVWXYZ'[int(rng.integers(24))]}{digits(int(rng.integers(2, 7)))}"
        ),
        "percent": lambda: f"{rng.integers(5, 96)}%",
        "phone": lambda: f"0{digits(2)}-{digits(4)} {digits(4)}",
    }
    return _SLOT.sub(lambda slot: makers[slot[1]](), template)
