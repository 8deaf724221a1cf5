"""Paddle Lite: its optimizer (to `.nb`) and its x86 predictor, both in child processes (they can abort)."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.backends import child

Arrays = dict[str, npt.NDArray[np.float32]]


def optimise(program: Path, parameters: Path, target: str, out: Path) -> None:
    """Write `out` (a `.nb`) for `target` ("arm" or "x86"). Raises EK501 with Lite's last words."""
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        stem = Path(scratch) / "model"
        arguments = json.dumps([str(program), str(parameters), target, str(stem)])
        child.run("edgekit.backends.lite_child", ["opt", arguments], f"Paddle Lite's optimizer ({target})")
        made = stem.with_suffix(".nb")
        data = bytearray(made.read_bytes())
        start = data.find(b"\0", data.find(b"v2."))
        # Lite leaves uninitialised bytes behind its version string; zeroed, equal programs give equal files.
        if 0 < start < 18:
            data[start:18] = bytes(18 - start)
        out.write_bytes(bytes(data))


def run_x86(model: Path, feeds: list[Arrays], outputs: list[str]) -> list[Arrays]:
    """Outputs of an x86 `.nb` for each feed, in the order of `outputs`. Raises EK501 when Lite crashes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for k, feed in enumerate(feeds):
            np.savez(folder / f"in{k}.npz", **feed)
        arguments = json.dumps([str(model), str(folder), len(feeds)])
        child.run("edgekit.backends.lite_child", ["run", arguments], "Paddle Lite on x86")
        answers = []
        for k in range(len(feeds)):
            with np.load(folder / f"out{k}.npz") as found:
                values = [found[f"o{i}"] for i in range(len(found.files))]
            answers.append(dict(zip(outputs, values, strict=True)))
        return answers


_TARGETS = {"1": "HOST", "2": "X86", "4": "ARM"}
_PRECISIONS = {"1": "FP32", "2": "INT8", "3": "INT32", "4": "ANY", "5": "FP16", "7": "INT64"}
_LAYOUTS = {"1": "NCHW", "2": "ANY", "3": "NHWC"}


def kernels(model: Path) -> dict[str, int]:
    """Kernels in a `.nb` ("conv2d/fp32_out/ARM/INT8/NCHW") and how often each is used.

    A `.nb` names a kernel as op/alias/target/precision/layout, the last three as numbers of Lite's enums.
    """
    found: dict[str, int] = {}
    for raw in re.findall(rb"([a-z0-9_]+/[a-zA-Z0-9_]+)/(\d)/(\d)/(\d)", model.read_bytes()):
        name, target, precision, layout = (part.decode() for part in raw)
        key = "/".join(
            (
                name,
                _TARGETS.get(target, target),
                _PRECISIONS.get(precision, precision),
                _LAYOUTS.get(layout, layout),
            )
        )
        found[key] = found.get(key, 0) + 1
    return dict(sorted(found.items()))


def version() -> str:
    """The version of the optimizer, as `.nb` files carry it."""
    from importlib.metadata import version as installed

    return installed("paddlelite")
