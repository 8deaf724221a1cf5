"""What brings an int8 network's answers back without training.

Each step leaves a program, whose answers in float are as before or as near as rounded weights are, and a
table of scales for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgekit.calibration import samples
from edgekit.calibration.readers import Doubles, Floats
from edgekit.program.graph import Program, attr, inputs
from edgekit.quantization import equalise, thresholds, write_paddle
from edgekit.quantization.table import Activation, Layer, Table
from edgekit.quantization.thresholds import Consumer, Grid

_ENOUGH = samples.ROWS // 2  # values per channel


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


def evened(
    program: Program, layers: Sequence[Layer], found: Mapping[str, Grid]
) -> tuple[Program, dict[str, str]]:
    """The program with the factors of `found` in it, and {new tensor: the one it was}."""
    factors: dict[str, Doubles] = {
        name: grid.factors for name, grid in found.items() if grid.factors is not None
    }
    made = equalise.apply(program, factors, [layer for layer in layers if layer.int8])
    return made, {f"{name}{equalise.EVEN}": name for name in factors}


def with_grids(table: Table, chosen: Mapping[str, Grid | None]) -> Table:
    """`table` with other thresholds for some tensors."""
    changed = {}
    for name in table.activations:
        grid = chosen.get(name)
        if grid is not None:
            factors = grid.factors.tolist() if grid.factors is not None else None
            changed[name] = Activation(threshold=grid.threshold, maximum=grid.maximum, factors=factors)
    return table.model_copy(update={"activations": {**table.activations, **changed}})
