"""Two Paddle programs side by side: what they cost, and how far the weights of each layer are apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.folder import DESCRIPTION, ModelFolder
from edgekit.inspection import home, inspect
from edgekit.program import edit, graph

Row = dict[str, Any]
Weights = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Model:
    """`values`: what `edgekit inspect` says; `weights` with batch norms folded, by layer; `bytes`: of both
    files of the float program."""

    path: Path
    values: dict[str, Any]
    weights: Weights
    bytes: int


def open_model(path: Path) -> Model:
    """Raises EK401, EK404, EK405 as `edgekit inspect` does."""
    values = inspect(path).values
    folder = home(path)
    described = (folder / DESCRIPTION).is_file()
    files = ModelFolder.open(folder) if described else None
    program, parameters = (files.program, files.parameters) if files else graph.locate(folder)
    params = edit.fold_batch_norm(files.read() if files else graph.load(folder)).params
    by_name = {name.removesuffix(".w_0"): value for name, value in params.items()}
    weights = {each["name"]: by_name[each["name"]] for each in values["layers"]}
    return Model(path, values, weights, program.stat().st_size + parameters.stat().st_size)


def costs(a: Model, b: Model) -> list[Row]:
    """As `sides.costs`."""
    found = [{"what": "float program", "unit": "bytes", "a": a.bytes, "b": b.bytes}]
    of = [
        {
            "MACs": ("count", each.values["macs"]),
            "parameters": ("count", each.values["params"]),
            "MACs in int8": ("share", each.values["int8_macs_share"]),
            "ops": ("number", sum(each.values["ops"].values())),
            "layers": ("number", len(each.values["layers"])),
            "layers in int8": ("number", sum(layer["int8"] for layer in each.values["layers"])),
        }
        for each in (a, b)
    ]
    return found + [
        {"what": what, "unit": unit, "a": one, "b": of[1][what][1]} for what, (unit, one) in of[0].items()
    ]


def layers(a: Model, b: Model) -> list[Row]:
    """Layers of either: type, and for each side its weights' shape, MACs and whether it is int8 (None where
    it has no such layer); `sqnr_db` of B's weights with A's for the signal, None where they are equal, or
    cannot be compared. First those of one side only, then other shapes, then by SQNR."""
    of = [{each["name"]: each for each in model.values["layers"]} for model in (a, b)]
    rows = []
    for name in dict.fromkeys((*of[0], *of[1])):
        known = [each.get(name) for each in of]
        rows.append(
            {
                "layer": name,
                "type": next(each["type"] for each in known if each is not None),
                **{
                    side: None
                    if each is None
                    else {
                        "shape": list(model.weights[name].shape),
                        "macs": each["macs"],
                        "int8": each["int8"],
                    }
                    for side, each, model in zip("ab", known, (a, b), strict=True)
                },
                "sqnr_db": _sqnr(a.weights.get(name), b.weights.get(name)),
            }
        )
    return sorted(rows, key=_how_alike)


def _sqnr(signal: npt.NDArray[np.generic] | None, other: npt.NDArray[np.generic] | None) -> float | None:
    if signal is None or other is None or signal.shape != other.shape:
        return None
    noise = float(np.square(other.astype(np.float64) - signal.astype(np.float64)).sum())
    power = float(np.square(signal.astype(np.float64)).sum())
    return 10 * float(np.log10(power / noise)) if noise > 0 and power > 0 else None


def _how_alike(row: Row) -> tuple[int, float, str]:
    a, b = row["a"], row["b"]
    if a is None or b is None:
        return 0, 0.0, row["layer"]
    if a["shape"] != b["shape"]:
        return 1, 0.0, row["layer"]
    return (2, row["sqnr_db"], row["layer"]) if row["sqnr_db"] is not None else (3, 0.0, row["layer"])
