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
from edgekit.program.graph import Program
from edgekit.quantization import table, write_paddle

INT8 = "int8"


def run(model: ModelFolder, out: Path) -> str:
    program = _ready(model.program, model.parameters)
    graph.write(program, out)
    entry = {"stage": "export"}
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    if not (model.path / table.FILE).is_file():
        return f"float program, {len(program.ops)} ops"
    files = model.path / table.PREPARED / PROGRAM, model.path / table.PREPARED / PARAMETERS
    if not all(file.is_file() for file in files):
        raise EdgekitError(
            "EK401",
            f"{model.path} has a table of scales but no {table.PREPARED}/ program. Run edgekit quantize.",
        )
    shutil.copy2(model.path / table.FILE, out / table.FILE)
    quantized = write_paddle.write(_ready(*files), table.load(model.path))
    (out / INT8).mkdir()
    graph.write(quantized, out / INT8)
    return f"float program, {len(program.ops)} ops; int8 program, {len(quantized.ops)} ops"


def _ready(program: Path, parameters: Path) -> Program:
    return edit.lite_ready(edit.fold_batch_norm(graph.read(program, parameters)))
