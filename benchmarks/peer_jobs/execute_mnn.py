"""Run an .mnn file on the evaluation tensors, as `execute.py` does the others. No edgekit here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import MNN.expr as expr
import MNN.nn as nn
import numpy as np


def main(job: dict[str, Any]) -> None:
    settings = ({"backend": "CPU", "precision": "high", "numThread": 2},)
    net = nn.load_module_from_file(
        job["file"], [job["input"]], job["outputs"], runtime_manager=nn.create_runtime_manager(settings)
    )
    for tensor in sorted((Path(job["work"]) / "evaluation").glob("*.npy")):
        values = np.load(tensor)
        given = expr.const(values.ravel(), list(values.shape), expr.NCHW, expr.float)
        outputs = net.forward([expr.convert(given, expr.NC4HW4)])
        found = [np.array(expr.convert(output, expr.NCHW).read()) for output in outputs]
        np.savez(Path(job["out"]) / f"{tensor.stem}.npz", *found)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
