"""`edgekit inspect`: what is in a program, layer by layer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from edgekit.folder import DESCRIPTION, ModelFolder
from edgekit.program import cost, edit, graph
from edgekit.quantization import rule, table
from edgekit.result import Result


def home(model: Path) -> Path:
    """Where the program of a model folder, or of a bundle, lies."""
    return model / "paddle" if (model / "paddle" / DESCRIPTION).is_file() else model


def inspect(model: Path) -> Result:
    """Raises EK401, EK404, EK405 as `graph.load` does."""
    folder = home(model)
    program = ModelFolder.open(folder).read() if (folder / DESCRIPTION).is_file() else graph.load(folder)
    ops = Counter(op.type for op in program.block.ops if op.type not in ("feed", "fetch"))
    folded = edit.fold_batch_norm(program)
    if folder.is_dir() and (folder / table.FILE).is_file():
        layers = table.load(folder).layers
        state = "its table of scales says which"
    else:
        layers = rule.layers(folded, [])
        state = "not quantized; int8 marks what `edgekit quantize` would take"
    macs = sum(layer.macs for layer in layers)
    share = sum(layer.macs for layer in table.layers_of(layers, "onnx") if layer.int8) / max(1, macs)
    params = cost.parameter_count(program)
    width = max([len(layer.name) for layer in layers] or [5])
    lines = [
        f"{model}: {params / 1e6:.3f} M parameters, {macs / 1e6:.1f} M MACs (batch 1), "
        f"{sum(ops.values())} ops",
        f"inputs {', '.join(f'{n} {program.shape(n)}' for n in program.feeds)}; "
        f"outputs {', '.join(program.fetches)}",
        "ops: " + ", ".join(f"{count} {name}" for name, count in ops.most_common()),
        f"{len(layers)} layers with weights, {sum(layer.int8 for layer in layers)} int8 "
        f"({share:.1%} of the MACs; {state}):",
        f"{'layer':{width}}  {'type':16}  {'params':>9}  {'MACs':>11}  precision",
    ]
    for layer in layers:
        precision = "int8" if layer.int8 else f"float ({layer.reason})"
        if layer.only:
            precision = f"int8 in {table.FILES[layer.only]} alone ({layer.reason})"
        lines.append(
            f"{layer.name:{width}}  {layer.type:16}  {layer.params:9,}  {layer.macs:11,}  {precision}"
        )
    values = {
        "params": params,
        "macs": macs,
        "int8_macs_share": share,
        "ops": dict(ops),
        "inputs": {name: program.shape(name) for name in program.feeds},
        "outputs": program.fetches,
        "layers": [
            layer.model_dump(include={"name", "type", "params", "macs", "int8", "reason"}) for layer in layers
        ],
    }
    return Result(lines, values)
