"""export: model folder -> programs that the converters accept.

`inference.*` becomes the float program as Paddle Lite needs it; with a table of scales beside it, the
quantized program is written into `int8/`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.folder import PARAMETERS, PROGRAM, ModelFolder
from edgekit.program import edit, graph
from edgekit.quantization import analysis, table, write_paddle


def run(model: ModelFolder, out: Path) -> str:
    program = edit.lite_ready(edit.fold_batch_norm(model.read()))
    graph.write(program, out)
    entry = {"stage": "export"}
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    if not (model.path / table.FILE).is_file():
        return f"float program, {len(program.ops)} ops"
    files = model.path / table.INT8 / PROGRAM, model.path / table.INT8 / PARAMETERS
    if not all(file.is_file() for file in files):
        raise EdgekitError(
            "EK401",
            f"{model.path} has a table of scales but no {table.INT8}/ program. Run edgekit quantize again.",
        )
    shutil.copy2(model.path / table.FILE, out / table.FILE)
    if (model.path / analysis.FILE).is_file():
        shutil.copy2(model.path / analysis.FILE, out / analysis.FILE)
    # Written anew from the table, which may have been edited.
    quantized = write_paddle.write(
        edit.lite_ready(write_paddle.unrounded(graph.read(*files))), table.load(model.path).of("lite")
    )
    (out / table.INT8).mkdir()
    graph.write(quantized, out / table.INT8)
    return f"float program, {len(program.ops)} ops; int8 program, {len(quantized.ops)} ops"
