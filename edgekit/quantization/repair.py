"""What brings an int8 network's answers back without training.

Each step leaves a program, whose answers in float are as before or as near as rounded weights are, and a
table of scales for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekit.calibration import samples
from edgekit.calibration.readers import Doubles, Floats
from edgekit.program.graph import Op, Program, attr, inputs, outputs
from edgekit.quantization import equalise, thresholds, write_paddle
from edgekit.quantization.table import ZERO_POINT, Channels, Layer, Table
from edgekit.quantization.thresholds import Consumer, Grid

_ENOUGH = samples.ROWS // 2  # values per channel
_BETWEEN = ("elementwise_add", "relu", "hard_swish")  # a layer and the next one
_GENTLY = 0.25  # the strength of factors where calibration does not show how far a channel reaches


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

    Left out are tensors whose readers cannot be judged. Those with few values, as after a global pooling, are
    not clipped and evened out gently: what a few dozen pictures never excite, others do.
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
        alike = len({each.type == "matmul" for each in those}) == 1
        if len(known) == len(found) and alike and known[0].squares.shape[1] == len(ranges[name]):
            consumers[name] = known
    last = {name for name in consumers if readers[name][0].type == "matmul"}
    values = samples.collect(program, list(consumers), pictures, advance, last)
    free = equalise.passages(program, consumers)
    chosen = {}
    for name, reading in consumers.items():
        few = len(values[name]) < _ENOUGH
        strengths = ((0.0, _GENTLY) if few else thresholds.STRENGTHS) if factors else (0.0,)
        fractions = (1.0,) if few else thresholds.FRACTIONS
        pays = 1.0 if name in free else thresholds.PAYS
        chosen[name] = thresholds.best(values[name], ranges[name], reading, strengths, pays, fractions)
    return chosen


def only_onnx(
    program: Program,
    table: Table,
    ranges: Mapping[str, Floats],
    tops: Mapping[str, Floats],
    pictures: Sequence[Floats],
    advance: Callable[[], None],
) -> Table:
    """`table` with better grids where ONNX is free to choose: for outputs of int8 layers that no int8 layer
    reads, and for what int8 layers read where no value is below a floor.

    ranges, tops: max |x| and max x per channel, before anything was evened.

    Behind a ReLU that depthwise layers in float read alone, or a squeeze-and-excitation block, thresholds may
    differ by channel: what makes up for that costs nothing (`write_onnx`). No further than the fourth root of
    the ranges, though: a channel that a few dozen pictures never excite is excited by others, and what it
    then says must not be clipped.
    """
    read: dict[str, list[Layer]] = {}
    for layer in table.quantized:
        read.setdefault(layer.input, []).append(layer)
    finer = [name for name in read if table.activations[name].grid[1] != ZERO_POINT]
    finer = [name for name in finer if name.removesuffix(equalise.EVEN) in tops]
    only = [name for name in table.activations if name not in read and name in ranges]
    only = [name for name in only if name not in table.outputs]
    last = {name for name in finer if read[name][0].type == "matmul"}
    values = samples.collect(program, [*only, *finer], pictures, advance, last)
    readers = program.consumers()
    owners = {layer.relu: layer for layer in table.quantized if layer.relu}
    activations, by_channel = dict(table.activations), dict(table.outputs)
    for name in [*only, *finer]:
        old = activations[name]
        few = len(values[name]) < _ENOUGH
        fractions = (1.0,) if few else thresholds.FRACTIONS
        base = name.removesuffix(equalise.EVEN)
        reach = ranges[base] if old.floor is None else np.maximum(tops[base], 0)
        if old.factors is not None:
            reach = (reach / np.asarray(old.factors)).astype(np.float32)
        if name in read:
            weights = {layer.weight for layer in read[name]}
            int8 = [op for op in readers[name] if not weights.isdisjoint(inputs(op))]
            found = [_consumer(program, op, name) for op in int8]
            known = [each for each in found if each is not None]
            judged = known if len(known) == len(found) else [thresholds.alike(values[name].shape[1])]
            best = thresholds.best(values[name], reach, judged, (0.0,), 1.0, fractions, old.floor)
            activations[name] = old.model_copy(update={"high": best.threshold})
            continue
        those = readers.get(name, [])
        excited = _excited(program, those, name)
        if excited is not None:
            found = [
                _consumer(program, op, outputs(excited)[0]) for op in readers.get(outputs(excited)[0], [])
            ]
        else:
            found = [_float_reader(program, op, name, readers) for op in those]
        known = [each for each in found if each is not None]
        judged = known if known and len(known) == len(found) else [thresholds.alike(values[name].shape[1])]
        depthwise = judged is known and all(each.own for each in known)
        free = name in owners and (excited is not None or depthwise)
        strengths = (0.0, _GENTLY) if free and not few else (0.0,)
        best = thresholds.best(values[name], reach, judged, strengths, 1.0, fractions, old.floor)
        if best.factors is None:
            activations[name] = old.model_copy(update={"threshold": best.threshold, "maximum": best.maximum})
        else:
            highs = (best.threshold * best.factors).tolist()
            by_channel[owners[name].output] = Channels(highs=highs)
    return table.model_copy(update={"activations": activations, "outputs": by_channel})


def _excited(program: Program, readers: Sequence[Op], name: str) -> Op | None:
    """The multiplication by a gate, where that and a global pooling are all that reads the tensor."""
    pools = [op for op in readers if op.type == "pool2d" and program.shape(outputs(op)[0])[2:] == [1, 1]]
    gated = [
        op
        for op in readers
        if op.type == "elementwise_mul"
        and any(program.shape(each)[2:] == [1, 1] for each in inputs(op) if each != name)
    ]
    return gated[0] if len(gated) == 1 and len(gated) + len(pools) == len(readers) else None


def _float_reader(program: Program, op: Op, name: str, readers: Mapping[str, list[Op]]) -> Consumer | None:
    """How a convolution in float weighs the channels of the tensor.

    A depthwise one as those behind it do: each of its channels answers in a unit of its own.
    """
    found = _consumer(program, op, name)
    if found is None or not found.own:
        return found
    end = outputs(op)[0]
    while len(after := readers.get(end, [])) == 1 and after[0].type in _BETWEEN:
        end = outputs(after[0], "Out")[0]
    behind = [_consumer(program, each, end) for each in after]
    known = [each.squares for each in behind if each is not None and not each.own]
    if not known or len(known) < len(behind):
        return found
    return replace(found, squares=np.concatenate(known) * found.squares)


def _consumer(program: Program, op: Op, name: str) -> Consumer | None:
    kind, slot = ("matmul", "Y") if op.type == "matmul_v2" else (op.type, "Filter")
    if kind != "matmul" and not kind.endswith("conv2d"):
        return None
    weight = program.params.get(inputs(op, slot)[0])
    if weight is None or inputs(op, "X" if kind == "matmul" else "Input") != [name]:
        return None
    return thresholds.consumer(weight, kind, int(attr(op, "groups", 1)))


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
        changed[name] = table.activations[name].model_copy(
            update={"threshold": grid.threshold, "maximum": grid.maximum, "factors": factors}
        )
    return table.model_copy(update={"activations": {**table.activations, **changed}})
