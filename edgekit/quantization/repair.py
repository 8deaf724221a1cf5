"""What brings an int8 network's answers back without training.

Each step leaves a program, whose answers in float are as before or as near as rounded weights are, and a
table of scales for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgekit.calibration import samples
from edgekit.calibration.readers import Doubles, Floats
from edgekit.program.graph import Op, Program, attr, inputs
from edgekit.quantization import equalise, thresholds, write_paddle
from edgekit.quantization.table import Activation, Layer, Table
from edgekit.quantization.thresholds import Consumer, Grid

_ENOUGH = samples.ROWS // 2  # values per channel
_GENTLY = 0.25  # the strength of `outputs`' factors


@dataclass(frozen=True)
class Int8:
    """A float program as int8 is written from it, and the scales."""

    program: Program
    table: Table

    def simulated(self) -> Program:
        return write_paddle.simulated(write_paddle.write(self.program, self.table))


def grids(
    program: Program,
    layers: Sequence[Layer],
    ranges: Mapping[str, Floats],
    pictures: Sequence[Floats],
    advance: Callable[[], None],
    *,
    factors: bool,
) -> dict[str, Grid]:
    """The best threshold (and channel factors, where these are wanted and pay) of each tensor that an int8
    layer reads. `ranges`: max |x| per channel.

    Left out are tensors whose readers cannot be judged, and those with few values, as after a global pooling:
    what a few dozen pictures never excite, others do, and a factor fitted to the few clips it away.
    """
    groups = {
        inputs(op, "Filter")[0]: int(attr(op, "groups", 1))
        for op in program.block.ops
        if op.type.endswith("conv2d")
    }
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        if layer.int8:
            readers.setdefault(layer.input, []).append(layer)
    consumers: dict[str, list[Consumer]] = {}
    for name, those in readers.items():
        found = [
            thresholds.consumer(program.params[each.weight], each.type, groups.get(each.weight, 1))
            for each in those
        ]
        known = [each for each in found if each is not None]
        if len(known) == len(found):
            consumers[name] = known
    values = samples.collect(program, list(consumers), pictures, advance)
    strengths = thresholds.STRENGTHS if factors else thresholds.STRENGTHS[:1]
    return {
        name: thresholds.best(values[name], ranges[name], those, strengths)
        for name, those in consumers.items()
        if len(values[name]) >= _ENOUGH
    }


def outputs(
    program: Program,
    table: Table,
    ranges: Mapping[str, Floats],
    pictures: Sequence[Floats],
    advance: Callable[[], None],
) -> Table:
    """`table` with better thresholds for what only ONNX Runtime quantizes: outputs of int8 layers that no
    int8 layer reads.

    Behind a ReLU that depthwise layers in float read alone, thresholds may differ by channel: what makes up
    for that goes into their weights. No further than the fourth root of the ranges, though: a channel that
    a few dozen pictures never excite is excited by others, and what it then says must not be clipped.
    """
    read = {layer.input for layer in table.quantized}
    only = [name for name in table.activations if name not in read and name in ranges]
    only = [name for name in only if name not in table.outputs]
    values = samples.collect(program, only, pictures, advance)
    readers = program.consumers()
    owners = {layer.relu: layer for layer in table.quantized if layer.relu}
    activations, by_channel = dict(table.activations), dict(table.outputs)
    for name in only:
        if len(values[name]) < _ENOUGH:
            continue
        found = [_float_reader(program, op, name) for op in readers.get(name, [])]
        known = [each for each in found if each is not None]
        judged = known if known and len(known) == len(found) else [thresholds.alike(values[name].shape[1])]
        free = name in owners and judged is known and all(each.own for each in known)
        strengths = (0.0, _GENTLY) if free else (0.0,)
        grid = thresholds.best(values[name], ranges[name], judged, strengths, pays=1.0)
        if grid.factors is None:
            activations[name] = Activation(threshold=grid.threshold, maximum=grid.maximum)
        else:
            by_channel[owners[name].output] = (grid.threshold * grid.factors).tolist()
    return table.model_copy(update={"activations": activations, "outputs": by_channel})


def _float_reader(program: Program, op: Op, name: str) -> Consumer | None:
    if not op.type.endswith("conv2d") or inputs(op, "Input") != [name]:
        return None
    weight = program.params.get(inputs(op, "Filter")[0])
    return None if weight is None else thresholds.consumer(weight, op.type, int(attr(op, "groups", 1)))


def evened(
    program: Program, layers: Sequence[Layer], found: Mapping[str, Grid]
) -> tuple[Program, dict[str, str]]:
    """The program with the factors of `found` in it, and {new tensor: the one it was}."""
    factors: dict[str, Doubles] = {
        name: grid.factors for name, grid in found.items() if grid.factors is not None
    }
    made = equalise.apply(program, factors, [layer for layer in layers if layer.int8])
    return made, {f"{name}{equalise.EVEN}": name for name in factors}


def with_grids(table: Table, found: Mapping[str, Grid], names: Mapping[str, str]) -> Table:
    """`table` with the thresholds of `found`; `names` is {evened tensor: the one it was}, from `evened`.

    What was evened for some readers keeps its own threshold for others.
    """
    changed = {}
    for name in table.activations:
        grid = found.get(names.get(name, name))
        if grid is None or (grid.factors is not None) != (name in names):
            continue
        factors = grid.factors.tolist() if grid.factors is not None else None
        changed[name] = Activation(threshold=grid.threshold, maximum=grid.maximum, factors=factors)
    return table.model_copy(update={"activations": {**table.activations, **changed}})
