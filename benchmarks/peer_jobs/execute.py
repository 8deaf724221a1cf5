"""Run an ONNX file or a Paddle program on the evaluation tensors; raw outputs as NNNN.npz, in order."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edgekit.backends import paddle
from edgekit.folder import PARAMETERS, PROGRAM

Run = Callable[[dict[str, Any]], dict[str, Any]]


def onnx(file: Path, optimise: bool) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 4
    # Every peer's sums as ARM has them: without this, x86 that lacks VNNI saturates them.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, feed), strict=True))


def main(job: dict[str, Any]) -> None:
    file, out = Path(job["file"]), Path(job["out"])
    if job["engine"] == "onnx":
        run = onnx(file, job["optimise"])
    else:
        run = paddle.load(file / PROGRAM, file / PARAMETERS, optimise=job["optimise"])
    for tensor in sorted((Path(job["work"]) / "evaluation").glob("*.npy")):
        found = run({job["input"]: np.load(tensor)})
        # Some quantizers rename outputs, and none changes their order.
        values = [found[n] for n in job["outputs"]] if set(job["outputs"]) <= set(found) else found.values()
        np.savez(out / f"{tensor.stem}.npz", *values)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
