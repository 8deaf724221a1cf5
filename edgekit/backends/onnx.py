"""ONNX Runtime on CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError

Arrays = dict[str, npt.NDArray[np.float32]]
Run = Callable[[Arrays], Arrays]

# x86 without VNNI saturates sums of uint8 x int8 at 16 bits; with this it multiplies uint8 by uint8, as
# exactly as VNNI and ARM do, on which it changes nothing.
EXACT = ("session.x64quantprecision", "1")


def session(model: Path, threads: int = 2) -> Any:
    """Raises EK501 when the model cannot be loaded."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry(*EXACT)
    try:
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise EdgekitError("EK501", f"ONNX Runtime cannot load {model}: {str(error)[:300]}") from error


def load(model: Path, threads: int = 2) -> Run:
    """A function from inputs to outputs by name. Raises EK501 when the model cannot be loaded or run."""
    opened = session(model, threads)
    inputs = [i.name for i in opened.get_inputs()]
    names = [o.name for o in opened.get_outputs()]

    def run(feed: Arrays) -> Arrays:
        try:
            values = opened.run(names, {name: feed[name] for name in inputs})
        except Exception as error:
            raise EdgekitError("EK501", f"ONNX Runtime failed to run {model}: {str(error)[:300]}") from error
        return dict(zip(names, values, strict=True))

    return run


def latency(models: list[Path], feed: Arrays, *, warmup: int = 5, runs: int = 40) -> list[float]:
    """Median ms of each model at batch 1 on one thread, the models taking turns within one run.

    Taking turns makes the ratio trustworthy on a machine whose clock and neighbours change.
    """
    sessions = [session(model, threads=1) for model in models]
    times: list[list[float]] = [[] for _ in models]
    for turn in range(warmup + runs):
        for k, opened in enumerate(sessions):
            start = time.perf_counter()
            opened.run(None, feed)
            if turn >= warmup:
                times[k].append((time.perf_counter() - start) * 1e3)
    return [statistics.median(t) for t in times]
