"""quantize: float model folder -> the same with batch norms folded and a table of scales beside it.

The program stays float: the table says what int8 will be, and `export` and `convert` write it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgekit.backends import paddle as backend
from edgekit.calibration import histograms
from edgekit.calibration.histograms import Feed, Histogram
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.folder import ModelFolder
from edgekit.program import edit, graph
from edgekit.program.graph import Program
from edgekit.quantization import kl, mse, rule, table
from edgekit.quantization.table import Activation, Layer, Table
from edgekit.recipe import Quantize
from edgekit.tasks.preprocessing import preprocess

METHODS = {"kl": kl.threshold, "mse": mse.threshold}

# A channel far below the largest would get a scale that only magnifies noise, and a bias that overflows.
_LEAST_CHANNEL = 1e-3
# From this ratio of the largest channel to the median on, a convolution's output gets a scale per channel.
_UNEVEN = 3.0
# With dequantized inputs and a quantized output ONNX Runtime makes one integer op of each of these, and it
# then refuses to run on a scale per channel.
_ONE_SCALE = frozenset(
    ("pool2d", "sigmoid", "softmax", "leaky_relu", "elementwise_add", "elementwise_mul", "concat")
)


def run(model: ModelFolder, section: Quantize, images: ImageSet, out: Path, progress: Progress) -> str:
    start = time.monotonic()
    program = edit.fold_batch_norm(graph.read(model.program, model.parameters))
    layers = rule.layers(program, section.keep_float)
    found = calibrate(program, layers, model, images, progress)
    made = fill(program, layers, found, len(images.paths), section.method)
    graph.write(program, out)
    made.save(out)
    int8 = made.quantized
    share = sum(layer.macs for layer in int8) / max(1, sum(layer.macs for layer in layers))
    entry = {
        "stage": "quantize",
        "method": section.method,
        "float": section.keep_float,
        "pictures": len(images.paths),
        "data": images.digest,
    }
    ModelFolder(out, model.info.model_copy(update={"lineage": [*model.info.lineage, entry]})).save_info()
    return (
        f"{section.method} on {len(images.paths)} pictures: {len(int8)} of {len(layers)} layers int8, "
        f"{share:.0%} of the MACs, in {time.monotonic() - start:.1f} s"
    )


def calibrate(
    program: Program, layers: list[Layer], model: ModelFolder, images: ImageSet, progress: Progress
) -> dict[str, Histogram]:
    """Histograms of every tensor that some target quantizes."""
    tensors = _tensors(layers)
    name = model.info.inputs[0].name
    inner = [tensor for tensor in tensors if tensor != name]
    prepared = [preprocess(read_image(path), model.info.preprocess)[None] for path in images.paths]

    with tempfile.TemporaryDirectory() as scratch, progress.task("Calibrating", 2 * len(prepared)) as advance:
        folder = Path(scratch)
        graph.write(edit.cut(program, {tensor: tensor for tensor in inner}), folder)
        run_program = backend.load(folder / "inference.pdmodel", folder / "inference.pdiparams")

        def feeds() -> Iterator[Feed]:
            for picture in prepared:
                yield {name: picture}
                advance()

        return histograms.collect(run_program, feeds, tensors)


def fill(
    program: Program,
    layers: list[Layer],
    found: dict[str, Histogram],
    pictures: int,
    method: str,
) -> Table:
    """The table: thresholds of activations by `method`, abs-max scales of weights and output channels."""
    activations = {}
    for name, histogram in found.items():
        # A tensor that is zero on all pictures: any threshold represents it.
        clip = 1.0
        if histogram.maximum > 0:
            clip = METHODS[method](histogram.counts, histogram.bin_width)
        activations[name] = Activation(threshold=clip, maximum=histogram.maximum)
    int8 = [layer for layer in layers if layer.int8]
    read_as_int8, made_as_int8 = {layer.input for layer in int8}, {layer.output for layer in int8}
    one_scale = {
        name
        for op in program.block.ops
        if op.type in _ONE_SCALE
        and read_as_int8.issuperset(graph.outputs(op))
        and made_as_int8.issuperset(graph.inputs(op))
        for name in graph.inputs(op)
    }
    outputs = {}
    for layer in int8:
        if layer.type == "matmul" or layer.relu or layer.output in read_as_int8 | one_scale:
            continue
        channels = found[layer.output].channels
        if float(channels.max()) < _UNEVEN * float(np.median(channels)):
            continue  # one scale serves, and ONNX Runtime dequantizes it faster
        least = max(_LEAST_CHANNEL * float(channels.max(initial=0)), 1e-6)
        outputs[layer.output] = [float(value) for value in np.maximum(channels, least)]
    return Table(
        method=method,
        pictures=pictures,
        layers=layers,
        activations=activations,
        outputs=outputs,
        weights={
            layer.weight: table.weight_scales(program.params[layer.weight], layer.axis) for layer in int8
        },
    )


def _tensors(layers: list[Layer]) -> list[str]:
    wanted: dict[str, None] = {}
    for layer in layers:
        if layer.int8:
            wanted[layer.input] = None
            if layer.type != "matmul":
                wanted[layer.relu or layer.output] = None
    return list(wanted)
