"""The teacher's answers: computed once, kept on disk, and read from there in every epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.backends import paddle as backend
from edgekit.console import Progress
from edgekit.data.files import build_once, write_bytes
from edgekit.errors import EdgekitError
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.training.losses import Moments

# Up to so many values per picture are kept as float32: logits, of which half precision takes some.
_SMALL = 16384


@dataclass(frozen=True)
class Answers:
    """Pictures and what the teacher says of them, row by row, in files that are mapped into memory.

    `pictures` is float16 [N, C, H, W]; `tensors` are float16 or float32 [N, ...], by the teacher's names.
    """

    pictures: NDArray[np.float16]
    tensors: dict[str, NDArray[Any]]
    moments: dict[str, Moments]
    digest: str  # of the teacher, the tensors and the key of the pictures

    def __len__(self) -> int:
        return len(self.pictures)


def prepare(
    teacher: Program,
    tensors: Sequence[str],
    pictures: Sequence[NDArray[np.float32]],
    key: str,
    folder: Path,
    progress: Progress,
    *,
    batch: int = 8,
    threads: int = 2,
) -> Answers:
    """The teacher's `tensors` (any of its inner or output tensors) for float32 pictures [C, H, W].

    Kept below `folder`, under a name made of the teacher, `tensors` and `key`, which stands for the
    pictures: where that is there already and intact, no picture is read and the teacher does not run.
    Pictures are rounded to float16 before the teacher sees them, so both see the same.
    Raises EK103 for a tensor without a batch axis, EK409 for pictures of different sizes, EK410 (disk).
    """
    digest = hashlib.sha256(teacher.desc.SerializeToString(deterministic=True))
    for name in sorted(teacher.params):
        digest.update(name.encode() + np.ascontiguousarray(teacher.params[name]).tobytes())
    digest.update(json.dumps([list(tensors), len(pictures), key]).encode())

    def make(made: Path) -> None:
        moments = _compute(teacher, tensors, pictures, made, progress, batch, threads)
        write_bytes(made / "moments.json", json.dumps(moments).encode())

    name = digest.hexdigest()
    made = build_once(folder / f"answers-{name[:16]}", make, progress.line)
    moments = json.loads((made / "moments.json").read_text())
    return Answers(
        np.load(made / "pictures.npy", mmap_mode="r"),
        {tensor: np.load(made / f"{k}.npy", mmap_mode="r") for k, tensor in enumerate(tensors)},
        {tensor: Moments(*moments[tensor]) for tensor in tensors},
        name,
    )


def _compute(
    teacher: Program,
    tensors: Sequence[str],
    pictures: Sequence[NDArray[np.float32]],
    folder: Path,
    progress: Progress,
    batch: int,
    threads: int,
) -> dict[str, list[float]]:
    """Fill `folder`; mean and variance of each tensor."""
    (feed,) = teacher.feeds
    graph.write(edit.cut(teacher, {name: name for name in tensors}), folder, "teacher")
    run = backend.load(folder / "teacher.pdmodel", folder / "teacher.pdiparams", threads=threads)
    kept: list[Any] = []
    stored: Any = None
    sums = np.zeros((len(tensors), 3))  # count, sum, sum of squares
    with progress.task("Asking the teacher", len(pictures)) as advance:
        for start, rows in _batches(pictures, batch):
            if stored is None:
                stored = _file(folder / "pictures.npy", np.float16, len(pictures), rows.shape[1:])
            stored[start : start + len(rows)] = rows
            found = run({feed: rows.astype(np.float32)})
            for k, name in enumerate(tensors):
                values = found[name]
                if values.ndim == 0 or values.shape[0] != len(rows):
                    raise EdgekitError(
                        "EK103",
                        f"{name!r} has shape {list(values.shape)} for {len(rows)} pictures: only tensors "
                        "with a row per picture can be distilled.",
                    )
                if len(kept) == k:
                    dtype = np.float32 if values[0].size <= _SMALL else np.float16
                    kept.append(_file(folder / f"{k}.npy", dtype, len(pictures), values.shape[1:]))
                kept[k][start : start + len(rows)] = values
                exact = values.astype(np.float64)
                sums[k] += values.size, exact.sum(), np.square(exact).sum()
            advance(len(rows))
    for file in (stored, *kept):
        file.flush()
    mean = sums[:, 1] / sums[:, 0]
    variance = sums[:, 2] / sums[:, 0] - mean**2
    return {name: [float(mean[k]), float(variance[k])] for k, name in enumerate(tensors)}


def _file(path: Path, dtype: Any, rows: int, shape: tuple[int, ...]) -> Any:
    return np.lib.format.open_memmap(path, "w+", dtype, (rows, *shape))  # type: ignore[no-untyped-call]


def _batches(
    pictures: Sequence[NDArray[np.float32]], batch: int
) -> Iterator[tuple[int, NDArray[np.float16]]]:
    shape: tuple[int, ...] | None = None
    for start in range(0, len(pictures), batch):
        rows = [pictures[k] for k in range(start, min(start + batch, len(pictures)))]
        shape = shape or rows[0].shape
        for k, row in enumerate(rows):
            if row.shape != shape:
                raise EdgekitError(
                    "EK409",
                    f"Picture {start + k} has shape {list(row.shape)}, the first one {list(shape)}: training "
                    "needs pictures of one size.",
                )
        yield start, np.stack(rows).astype(np.float16)
