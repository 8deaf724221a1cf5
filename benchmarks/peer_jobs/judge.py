"""edgekit's metric of what a peer's file answered: against float, and against truth where there is any."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.folder import ModelFolder
from edgekit.tasks import evaluate


def main(job: dict[str, Any]) -> None:
    info = ModelFolder.open(Path(job["work"]) / "float").info
    wrong = 0

    def answers(folder: Path) -> list[evaluate.Answer]:
        nonlocal wrong
        found, wrong = [], 0
        for file, size in zip(sorted(folder.glob("*.npz")), job["sizes"], strict=True):
            with np.load(file) as arrays:
                values = [arrays[f"arr_{k}"] for k in range(len(job["outputs"]))]
            wrong += not all(np.isfinite(value).all() for value in values)
            found.append(evaluate.answers(info, dict(zip(job["outputs"], values, strict=True)), tuple(size)))
        return found

    reference, got = answers(Path(job["reference"])), answers(Path(job["got"]))
    metrics = dict(evaluate.compare(info, reference, got))
    if job["annotations"] is not None:
        metrics.update(evaluate.truth(info, Path(job["annotations"]), job["names"], got))
    Path(job["out"]).write_text(json.dumps({"metrics": metrics, "not_finite": wrong}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
