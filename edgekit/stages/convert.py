"""convert: exported folder -> files that devices load: `.onnx` and `.nb`, float and int8."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from edgekit.backends import child, lite
from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.folder import DESCRIPTION, PARAMETERS, PROGRAM, ModelFolder
from edgekit.program import edit, graph
from edgekit.quantization import table, write_onnx, write_paddle
from edgekit.recipe import Convert

FILE = "convert.json"
OPSET = 13  # the least that has per-channel QuantizeLinear; paddle2onnx raises it where an op needs more


def run(model: ModelFolder, section: Convert, out: Path, progress: Progress) -> str:
    name = model.info.name
    scales = table.load(model.path) if (model.path / table.FILE).is_file() else None
    int8 = model.path / table.INT8
    exported = any(entry.get("stage") == "export" for entry in model.info.lineage)
    if scales is not None and not (exported and int8.is_dir()):
        raise EdgekitError(
            "EK401",
            f"{model.path} has a table of scales, but was not exported with it. Run edgekit export first.",
        )
    kernels: dict[str, dict[str, int]] = {}
    made: list[str] = []
    with progress.task("Converting", len(section.targets)) as advance:
        for target in section.targets:
            if target == "onnx":
                made += _onnx(model, scales, out)
            else:
                place = target.removeprefix("lite-")
                pairs = {"fp32": (model.program, model.parameters)}
                # Paddle Lite's int8 kernels for x86 are broken (NaN or crash): int8 is for ARM only.
                if scales is not None and place == "arm":
                    pairs["int8"] = (int8 / PROGRAM, int8 / PARAMETERS)
                for kind, pair in pairs.items():
                    file = f"{name}.{kind}.nb" if place == "arm" else f"{name}.{kind}.x86.nb"
                    to_lite(*pair, place, out / file)
                    kernels[file] = lite.kernels(out / file)
                    made.append(file)
            advance()
    if scales is not None and f"{name}.int8.nb" in kernels:
        _check_kernels(kernels[f"{name}.int8.nb"], scales.of("lite"))
    (out / DESCRIPTION).write_text((model.path / DESCRIPTION).read_text())
    (out / FILE).write_text(json.dumps({"kernels": kernels, "lite": lite.version()}, indent=1) + "\n")
    sizes = ", ".join(f"{file} {(out / file).stat().st_size / 1e6:.2f} MB" for file in made)
    return sizes


def to_lite(program: Path, parameters: Path, place: str, out: Path) -> None:
    """Write `out` (a `.nb`) for `place` ("arm" or "x86"). Raises EK404 and EK501."""
    with tempfile.TemporaryDirectory() as scratch:
        graph.write(edit.compact(graph.read(program, parameters)), Path(scratch))
        lite.optimise(Path(scratch) / PROGRAM, Path(scratch) / PARAMETERS, place, out)


def _onnx(model: ModelFolder, scales: table.Table | None, out: Path) -> list[str]:
    import onnx

    name = model.info.name
    target = out / f"{name}.fp32.onnx"
    _paddle2onnx(model.program, model.parameters, target)
    if scales is None:
        return [target.name]
    with tempfile.TemporaryDirectory() as scratch:
        folder, file = Path(scratch), Path(scratch) / "unrounded.onnx"
        int8 = graph.read(model.path / table.INT8 / PROGRAM, model.path / table.INT8 / PARAMETERS)
        graph.write(write_paddle.unrounded(int8), folder)
        _paddle2onnx(folder / PROGRAM, folder / PARAMETERS, file)
        try:
            quantized = write_onnx.write(onnx.load(file), scales.of("onnx"))
        except (KeyError, onnx.checker.ValidationError) as error:
            raise EdgekitError("EK501", f"The int8 ONNX cannot be written: {error}") from error
    onnx.save(quantized, out / f"{name}.int8.onnx")
    return [target.name, f"{name}.int8.onnx"]


def _paddle2onnx(program: Path, parameters: Path, target: Path) -> None:
    arguments = json.dumps([str(program), str(parameters), str(target), OPSET])
    child.run("edgekit.backends.paddle2onnx_child", [arguments], "paddle2onnx")
    if not target.is_file():
        raise EdgekitError("EK501", "paddle2onnx ended without an error but wrote no file.")


def _check_kernels(kernels: dict[str, int], scales: table.Table) -> None:
    """Every layer that the table says is int8 must have become an int8 kernel, none silently float."""
    convolutions = sum(layer.type != "matmul" for layer in scales.quantized)
    found = sum(
        count
        for kernel, count in kernels.items()
        if kernel.startswith(("conv2d/", "depthwise_conv2d/")) and "/INT8/" in kernel
    )
    if found != convolutions:
        raise EdgekitError(
            "EK501",
            f"Paddle Lite made {found} int8 convolutions of the {convolutions} that the table asks for: "
            f"{kernels}. Leave the layers that it refuses in float (quantize.float).",
        )
