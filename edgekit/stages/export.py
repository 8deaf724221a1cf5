"""export: model folder -> programs that the converters accept.

`inference.*` becomes the float program as Paddle Lite needs it; with a table of scales beside it, the
quantized program is written into `int8/`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from edgekit.folder import ModelFolder
from edgekit.program import edit, graph
from edgekit.quantization import table, write_paddle

INT8 = "int8"


def run(model: ModelFolder, out: Path) -> str:
    program = edit.lite_ready(edit.fold_batch_norm(graph.read(model.program, model.parameters)))
    graph.write(program, out)
    entry = {"stage": "export"}
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    if not (model.path / table.FILE).is_file():
        return f"float program, {len(program.ops)} ops"
    shutil.copy2(model.path / table.FILE, out / table.FILE)
    quantized = write_paddle.write(program, table.load(model.path))
    (out / INT8).mkdir()
    graph.write(quantized, out / INT8)
    return f"float program, {len(program.ops)} ops; int8 program, {len(quantized.ops)} ops"
