"""The state of a training run in one file, which a killed run leaves whole."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data.files import write_bytes

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Check:
    """One evaluation: losses are means, `train_loss` over the steps since the one before (0 at the start)."""

    step: int
    seconds: float  # of training so far, in this run and those that it resumed
    train_loss: float
    held_out_loss: float


@dataclass
class State:
    """Everything that a run needs to go on as if it had never stopped; the order of pictures is a function
    of seed and step."""

    step: int = 0
    seconds: float = 0.0
    history: list[Check] = field(default_factory=list)
    values: Values = field(default_factory=dict)  # weights and the optimizer's accumulators
    best: Values = field(default_factory=dict)  # weights

    @property
    def best_loss(self) -> float:
        return min(check.held_out_loss for check in self.history)


def save(path: Path, state: State, fingerprint: str) -> None:
    """Write beside `path` and rename. Raises EK410 when the disk is full."""
    info = {
        "fingerprint": fingerprint,
        "step": state.step,
        "seconds": state.seconds,
        "history": [asdict(check) for check in state.history],
    }
    arrays = {f"values/{name}": value for name, value in state.values.items()}
    arrays |= {f"best/{name}": value for name, value in state.best.items()}
    stream = io.BytesIO()
    np.savez(stream, info=np.array(json.dumps(info)), **arrays)
    write_bytes(path, stream.getvalue())


def load(path: Path, fingerprint: str) -> State | None:
    """The state, or None where there is none, it belongs to another run, or cannot be read."""
    try:
        with np.load(path) as file:
            info = json.loads(str(file["info"]))
            if info["fingerprint"] != fingerprint:
                return None
            read: dict[str, Values] = {"values": {}, "best": {}}
            for name in file.files:
                part, _, rest = name.partition("/")
                if rest:
                    read[part][rest] = file[name]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    history = [Check(**check) for check in info["history"]]
    return State(info["step"], info["seconds"], history, read["values"], read["best"])
