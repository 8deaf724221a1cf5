"""The golden vectors, stage by stage: pre-processing, each network, post-processing and labels.

Each stage starts from what is recorded, not from what the stage before it gave: so the one that differs is
the one that is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.apps.bundles import KINDS, Bundle, Kind
from edgekit.backends import onnx
from edgekit.checking.findings import Finding
from edgekit.data.images import read_image
from edgekit.errors import EdgekitError
from edgekit.tasks import evaluate
from edgekit.tasks.preprocessing import preprocess

STEP = "golden"
Arrays = dict[str, NDArray[Any]]

# The mean over the values of the tensor: another OpenCV may round a few pixels another way.
_INPUT = 5e-4
_FLOAT = 50.0  # dB: another processor adds up in another order
# int8 rounds again what another processor's float parts give; that is small beside what int8 itself costs.
_INT8 = 6.0  # dB below the difference between int8 and float
_SCORE, _PIXELS = 1e-3, 2.0


def check(bundle: Bundle) -> list[Finding]:
    """Raises nothing for damage: that is a finding."""
    folders = sorted(path for path in (bundle.path / "golden").glob("*") if path.is_dir())
    if not folders:
        return [Finding(STEP, "golden", "failed", "there are no golden vectors")]
    try:
        vectors = [_Vector(folder) for folder in folders]
    except (OSError, ValueError, KeyError, EdgekitError) as error:
        return [Finding(STEP, "golden", "failed", f"cannot be read: {type(error).__name__}: {error}")]
    found = [_preprocessing(bundle, vectors)]
    for kind in KINDS:
        if kind in bundle.onnx:
            found.append(_network(bundle, kind, vectors))
            found.append(_answers(bundle, kind, vectors))
    return found


class _Vector:
    """One of the bundle's `golden/` folders."""

    def __init__(self, folder: Path) -> None:
        self.name = f"golden/{folder.name}"
        self.picture = read_image(folder / "picture.png")
        self.tensor: NDArray[np.float32] = np.load(folder / "input.npy", allow_pickle=False)
        self.answers: dict[str, Any] = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
        self.folder = folder

    def raw(self, kind: str, outputs: list[str]) -> Arrays:
        names = {name: f"{kind}.onnx.{name.replace('/', '_')}.npy" for name in outputs}
        return {name: np.load(self.folder / file, allow_pickle=False) for name, file in names.items()}


def _preprocessing(bundle: Bundle, vectors: list[_Vector]) -> Finding:
    subject = "pre-processing"
    for vector in vectors:
        try:
            tensor = preprocess(vector.picture, bundle.info.preprocess)[None]
        except EdgekitError as error:
            return Finding(STEP, subject, "failed", f"{vector.name}: {error.message}")
        if tensor.shape != vector.tensor.shape:
            says = f"{vector.name}: the tensor is {tensor.shape}, was {vector.tensor.shape}"
            return Finding(STEP, subject, "failed", says)
        off = tensor.astype(np.float64) - vector.tensor
        if np.abs(off).mean() > _INPUT:
            by_channel = ", ".join(f"{value:+.3g}" for value in off.mean(axis=(0, 2, 3)))
            says = (
                f"the tensor of {vector.name} is off by {np.abs(off).mean():.3g} in the mean (by channel: "
                f"{by_channel}): look at preprocess (mean, std, scale, channels, resize) in manifest.json"
            )
            return Finding(STEP, subject, "failed", says)
    return Finding(STEP, subject, "passed", f"{len(vectors)} pictures give the recorded tensors")


def _network(bundle: Bundle, kind: Kind, vectors: list[_Vector]) -> Finding:
    subject = bundle.onnx[kind].name
    outputs = [output.name for output in bundle.info.outputs]
    least = np.inf
    try:
        run = onnx.load(bundle.onnx[kind])
        for vector in vectors:
            got = run({bundle.info.inputs[0].name: vector.tensor})
            recorded = vector.raw(kind, outputs)
            for name in outputs:
                if kind == "fp32":
                    ratio, needed = _db(recorded[name], got[name] - recorded[name]), _FLOAT
                else:
                    cost = recorded[name] - vector.raw("fp32", outputs)[name]
                    ratio, needed = _db(cost, got[name] - recorded[name]), _INT8
                least = min(least, ratio)
                if ratio < needed:
                    return _differs(subject, kind, vector, name, ratio)
    except EdgekitError as error:
        return Finding(STEP, subject, "failed", error.message)
    except (OSError, ValueError, KeyError) as error:
        return Finding(STEP, subject, "failed", f"{type(error).__name__}: {error}")
    how = "exactly" if least == np.inf else f"within {least:.0f} dB"
    beside = " of what int8 costs" if kind == "int8" and least != np.inf else ""
    return Finding(
        STEP, subject, "passed", f"{len(vectors)} tensors give the recorded outputs, {how}{beside}"
    )


def _differs(subject: str, kind: str, vector: _Vector, output: str, ratio: float) -> Finding:
    where = f"{vector.name}: the output {output} and the recorded one"
    if kind != "int8":
        return Finding(
            STEP, subject, "failed", f"{where} differ: its signal is only {ratio:.1f} dB above that"
        )
    says = f"{where} differ by {abs(ratio):.1f} dB {'more' if ratio < 0 else 'less'} than int8 and float do"
    return Finding(STEP, subject, "failed", says)


def _db(signal: NDArray[Any], noise: NDArray[Any]) -> float:
    """10 log10 of the ratio of powers; infinite without noise."""
    power = float((noise.astype(np.float64) ** 2).sum())
    if power == 0:
        return float("inf")
    whole = float((signal.astype(np.float64) ** 2).sum())
    return float(10 * np.log10(whole / power)) if whole > 0 and np.isfinite(power) else -float("inf")


def _answers(bundle: Bundle, kind: Kind, vectors: list[_Vector]) -> Finding:
    """The recorded outputs through post-processing and labels against the recorded answers."""
    subject = f"post-processing and labels ({kind})"
    outputs = [output.name for output in bundle.info.outputs]
    try:
        for vector in vectors:
            size = (vector.picture.shape[0], vector.picture.shape[1])
            answer = evaluate.answers(bundle.info, vector.raw(kind, outputs), size)
            told = json.loads(json.dumps(evaluate.answer_json(bundle.info, answer)))
            if says := _difference(told, vector.answers[f"{kind}.onnx"]):
                return Finding(STEP, subject, "failed", f"{vector.name}: {says}")
    except EdgekitError as error:
        return Finding(STEP, subject, "failed", error.message)
    except (OSError, ValueError, KeyError) as error:
        return Finding(STEP, subject, "failed", f"{type(error).__name__}: {error}")
    return Finding(STEP, subject, "passed", f"{len(vectors)} recorded outputs give the recorded answers")


def _difference(got: dict[str, Any], recorded: dict[str, Any]) -> str:
    """What is said first that was not recorded; empty when both say the same."""
    if "text" in recorded:
        if got.get("text") != recorded["text"]:
            return f"labels or decoding: it reads {got.get('text')!r}, recorded is {recorded['text']!r}"
        return ""
    key = next(iter(recorded))
    rows, wanted = got.get(key, []), recorded[key]
    if len(rows) != len(wanted):
        return f"post-processing: {len(rows)} {key}, recorded are {len(wanted)}"
    for row, other in zip(rows, wanted, strict=True):
        if row.get("class") == other.get("class") and row.get("label") != other.get("label"):
            return (
                f"labels: class {other.get('class')} is called {row.get('label')!r}, recorded is "
                f"{other.get('label')!r}"
            )
        for field, value in other.items():
            if field != "label" and not _near(row.get(field), value):
                return f"post-processing: {field} is {row.get(field)}, recorded is {value}"
    return ""


def _near(got: Any, recorded: Any) -> bool:
    if isinstance(recorded, list):
        first, second = np.asarray(got, float), np.asarray(recorded, float)
        return first.shape == second.shape and bool((np.abs(first - second) <= _PIXELS).all())
    if isinstance(recorded, float):
        return isinstance(got, int | float) and abs(got - recorded) <= _SCORE
    return bool(got == recorded)
