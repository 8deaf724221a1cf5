"""edgekit's own stages, quantize to convert, on the recipe's settings and without its cache of stages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgekit import recipe as recipes
from edgekit.console import Progress
from edgekit.folder import PARAMETERS, PROGRAM, ModelFolder
from edgekit.program import graph
from edgekit.quantization import table, write_paddle
from edgekit.recipe import Convert
from edgekit.run import Run
from edgekit.stages import convert, export, quantize


def main(job: dict[str, Any]) -> None:
    out, method = Path(job["out"]), job["settings"]["method"]
    progress = Progress()
    preset = method if method in recipes.load(job["recipe"]).presets else None
    recipe = recipes.load(job["recipe"], preset, job["sets"])
    if recipe.quantize is None or recipe.quantize.method != method:
        raise SystemExit(f"{job['recipe']} has no settings for {method}: name a preset {method}")
    images = Run(False, False, progress).pictures(recipe, None, "calibration")
    folders = [out / name for name in ("int8", "exported", "converted")]
    for folder in folders:
        folder.mkdir()
    quantized, exported, converted = folders
    model = ModelFolder.open(Path(job["work"]) / "float")
    progress.line(quantize.run(model, recipe.quantize, images, quantized, progress))
    export.run(ModelFolder.open(quantized), exported)
    convert.run(ModelFolder.open(exported), Convert(targets=["onnx", "lite-arm"]), converted, progress)
    simulation = out / "simulation"
    simulation.mkdir()
    int8 = exported / table.INT8
    graph.write(write_paddle.simulated(graph.read(int8 / PROGRAM, int8 / PARAMETERS)), simulation)
    name = model.info.name
    onnx, nb = (converted / f"{name}.int8.{kind}" for kind in ("onnx", "nb"))
    made = [
        {"what": "ONNX", "engine": "onnx", "file": str(onnx), "bytes": onnx.stat().st_size, "of": "onnx"},
        # The simulation is of the program that the .nb is made from.
        {"what": ".nb", "engine": "paddle", "file": str(simulation), "bytes": nb.stat().st_size, "of": "nb"},
    ]
    (out / "made.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
