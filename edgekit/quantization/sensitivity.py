"""What each layer costs the network's answers when it alone is int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgekit.calibration import segments
from edgekit.calibration.judging import Judge, loss
from edgekit.calibration.moments import batches
from edgekit.calibration.readers import Floats
from edgekit.program.edit import without_hints
from edgekit.program.graph import Program, inputs, outputs, set_slot
from edgekit.quantization import write_paddle
from edgekit.quantization.noise import Noise, Reading
from edgekit.quantization.table import LEVELS, Layer, Table, Target, dequantized, middles, output_grid

DELIVERED = ".dequantized"


@dataclass(frozen=True)
class Cost:
    """What int8 does to one layer, and that to the network."""

    error: float  # of the network's outputs, over their variance
    reading: Reading  # what it reads, rounded
    output: Noise  # what it answers, bias included
    output_read: Noise  # the same with float weights

    @property
    def from_input(self) -> float | None:
        """Of the squared error of what the layer answers, the share that is there with float weights; None
        where there is no error."""
        if self.output.noise <= 0:
            return None
        return min(1.0, self.output_read.noise / self.output.noise)


def alone(
    program: Program,
    table: Table,
    judge: Judge,
    advance: Callable[[], None],
    *,
    weights: Program,
    targets: Sequence[Target] = ("lite",),
) -> dict[Target, dict[str, Cost]]:
    """One int8 layer at a time: {target: {layer's name: its cost}}, on the pictures of `judge`.

    weights: the program whose weights and biases an int8 layer has, rounded to the table's scales (`program`
    itself for rounding to nearest). For ONNX levels begin at a tensor's floor, and what a layer answers is
    rounded, too, where no int8 layer reads it; Paddle Lite leaves it float. `Cost.reading` is Lite's in any
    case. `advance` is called once per layer.
    """
    program = without_hints(program)  # parts of it are loaded hundreds of times
    layers = {layer.name: layer for layer in table.quantized}
    places: dict[str, int] = {}
    ends: dict[str, int] = {}
    by_weight = {layer.weight: layer.name for layer in layers.values()}
    by_output = {layer.output: layer.name for layer in layers.values()}
    for place, op in enumerate(program.ops):
        places.update((by_weight[name], place) for name in inputs(op) if name in by_weight)
        ends.update((by_output[name], place + 1) for name in outputs(op) if name in by_output)
    rounding = _outputs(table) if "onnx" in targets else {}

    known = [{program.feeds[0]: batch} for _, batch in batches(judge.pictures, program)]
    position = 0
    found: dict[Target, dict[str, Cost]] = {target: {} for target in targets}
    for name in sorted(layers, key=lambda name: places[name]):
        place, layer = places[name], layers[name]
        before = {n for op in program.ops[:place] for n in outputs(op)}
        needed = [*segments.frontier(program, place), *(n for n in judge.names if n in before)]
        known = segments.advance(program, position, place, list(dict.fromkeys(needed)), known)
        position = place
        activation = table.activations[layer.input]
        width = program.params[layer.weight].shape[0] if layer.type == "matmul" else None
        reading = Reading(activation.threshold, activation.maximum, width)
        read = f"{layer.input}{DELIVERED}"
        made = _with_one(program, table, layer, place, weights)
        int8_layer = segments.opened(segments.segment(made, place, ends[name], [layer.output]))
        float_layer = segments.opened(segments.segment(program, place, ends[name], [layer.output]))
        wanted = [float_layer(batch)[layer.output] for batch in known]
        lite = [{**batch, read: reading.add(batch[layer.input])} for batch in known]
        behind = _behind(program, layer.output, ends[name])
        rest = [n for n in judge.names if n not in known[0] and n != layer.output]
        to_the_end = segments.opened(segments.segment(behind, place, len(behind.ops), rest)) if rest else None
        for target in targets:
            onnx = target == "onnx"
            given = [{**b, read: _levels(b[layer.input], activation.grid)} for b in known] if onnx else lite
            output, output_read = Noise(), Noise()
            got = []
            for batch, right in zip(given, wanted, strict=True):
                answered = int8_layer(batch)[layer.output]
                if onnx and name in rounding:
                    answered = rounding[name](answered)
                output.add(right, answered)
                output_read.add(right, float_layer({**batch, layer.input: batch[read]})[layer.output])
                answers = {**batch, layer.output: answered}
                reached = {**answers, **(to_the_end(answers) if to_the_end is not None else {})}
                got.append({n: reached[n] for n in judge.names})
            found[target][name] = Cost(loss(judge.reference, got), reading, output, output_read)
        advance()
    return found


def _behind(program: Program, tensor: str, end: int) -> Program:
    """A copy without the op, the last before `end`, that makes `tensor`: one that is given it."""
    made = program.copy()
    made.replace_ops([*made.ops[: end - 1], *made.ops[end:]])
    return made


def _outputs(table: Table) -> dict[str, Callable[[Floats], Floats]]:
    """{layer: rounding of its output before a ReLU}, for those that no int8 layer reads."""
    read = {layer.input for layer in table.quantized}
    found: dict[str, Callable[[Floats], Floats]] = {}
    for layer in table.quantized:
        name = layer.relu or layer.output
        if not layer.int8_output or name in read:
            continue
        steps, zero = output_grid(table, layer)
        low, high = -zero, 2 * LEVELS + 1 - zero
        middle = middles(table, layer)
        channels = np.zeros(1, np.float32) if middle is None else middle
        found[layer.name] = partial(
            _rounded,
            low=low,
            high=high,
            step=steps.reshape(1, -1, 1, 1),
            middle=channels.reshape(1, -1, 1, 1),
        )
    return found


def _levels(x: Floats, grid: tuple[float, int]) -> Floats:
    step, zero = np.float32(grid[0]), grid[1]
    return np.asarray(np.clip(np.rint(x / step), -zero, 2 * LEVELS + 1 - zero) * step, np.float32)


def _rounded(y: Floats, low: int, high: int, step: Floats, middle: Floats) -> Floats:
    return np.asarray(np.clip(np.rint((y - middle) / step), low, high) * step + middle, np.float32)


def _with_one(program: Program, table: Table, layer: Layer, place: int, weights: Program) -> Program:
    """`program` with one layer that reads a tensor of its own, for others may read the same one."""
    made = program.copy()
    made.add_var(f"{layer.input}{DELIVERED}", made.shape(layer.input))
    op = made.block.ops[place]
    set_slot(op.inputs, write_paddle.input_slot(op), [f"{layer.input}{DELIVERED}"])
    value = weights.params[layer.weight]
    made.params[layer.weight] = dequantized(value, table.weights[layer.weight], layer.axis)
    if layer.bias is not None:
        made.params[layer.bias] = weights.params[layer.bias]
    return made
