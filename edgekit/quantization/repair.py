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
from edgekit.quantization import equalise, floors, products, thresholds, write_paddle
from edgekit.quantization.products import Reach
from edgekit.quantization.table import ZERO_POINT, Channels, Layer, Product, Table, layers_of
from edgekit.quantization.thresholds import Consumer, Ends, Grid

_ENOUGH = samples.ROWS // 2  # values per channel
_SMALL = 64  # positions
_CAREFULLY = (0.0, 0.25, 0.5)
_BETWEEN = ("elementwise_add", "relu", "hard_swish")  # a layer and the next one
_GENTLY = 0.25  # the strength of factors where calibration does not show how far a channel reaches


@dataclass(frozen=True)
class Choice:
    """The grid of a tensor that int8 layers read, and what it may be instead while it is the hard swish of
    what an int8 layer answers, and these alone read it."""

    grid: Grid
    product: tuple[Grid, Product] | None = None


@dataclass(frozen=True)
class Int8:
    """A float program as int8 is written from it, and the scales."""

    program: Program
    table: Table

    def simulated(self) -> Program:
        return write_paddle.simulated(write_paddle.write(self.program, self.table.of("lite")))


def grids(
    program: Program,
    layers: Sequence[Layer],
    ranges: Mapping[str, Floats],
    pictures: Sequence[Floats],
    advance: Callable[[], None],
    *,
    factors: bool,
    outputs: Mapping[str, Ends],
) -> tuple[dict[str, Choice], dict[str, Ends]]:
    """The best threshold (and channel factors, where these are wanted and pay) of each tensor that an int8
    layer reads, and where levels of `outputs` begin and end, best for whom they are read by.

    ranges: max |x| per channel; outputs: of what layers answer, the lowest and highest values per channel.

    Left out are tensors whose readers cannot be judged. Those with few values, as after a global pooling, are
    not clipped and evened out with care: what a few dozen pictures never excite, others do.
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
    swishes = {x: y for x, y in products.places(program, layers).items() if x in consumers and y in outputs}
    wanted = list(dict.fromkeys([*consumers, *outputs]))
    values = samples.collect(program, wanted, pictures, advance, last)
    free = equalise.passages(program, consumers)
    after = program.consumers()
    reached = {
        y: thresholds.ends(values[y], *ends, _answer(after.get(y, []))) if len(values[y]) >= _ENOUGH else ends
        for y, ends in outputs.items()
    }
    chosen = {}
    for name, reading in consumers.items():
        few = len(values[name]) < _ENOUGH or _small(program, name)
        strengths: tuple[float, ...] = (0.0,)
        if factors:
            strengths = _CAREFULLY if few else thresholds.STRENGTHS
        pays = 1.0 if name in free else thresholds.PAYS
        if few:
            best = thresholds.unseen(values[name], ranges[name], reading, strengths, pays)
        else:
            evening = thresholds.spread(ranges[name], strengths)
            best = thresholds.best(values[name], ranges[name], reading, evening, pays)
        product = None
        if name in swishes and not few:
            y, reach, x = values[swishes[name]], Reach.of(*reached[swishes[name]]), values[name]
            error = best.error + thresholds.seen(products.own_noise(y, reach), x, reading)
            product = _product(x, y, ranges[name], reach, reading, strengths, error, name)
        chosen[name] = Choice(best, product)
    return chosen, reached


def _small(program: Program, name: str) -> bool:
    """A map of what is where: few pictures excite a channel."""
    size = program.shape(name)[2:]
    return len(size) == 2 and min(size) > 0 and size[0] * size[1] < _SMALL


def _answer(readers: Sequence[Op]) -> Callable[[Doubles], Doubles]:
    swishes = bool(readers) and all(op.type == "hard_swish" and floors.usual(op) for op in readers)
    return products.hard_swish if swishes else lambda y: y


def _product(
    x: Floats,
    y: Floats,
    ranges: Floats,
    reach: Reach,
    consumers: Sequence[Consumer],
    strengths: Sequence[float],
    error: float,
    name: str,
) -> tuple[Grid, Product] | None:
    """The best grid of x [n, channels], a hard swish of y, where levels of y make it, unless it is much worse
    than `error`."""

    def levels(factors: Doubles | None) -> Product:
        return products.levels(
            reach,
            name,
            factors,
            lambda each: thresholds.seen(products.noise(y, reach, each, factors), x, consumers),
        )

    def rounded(factors: Doubles | None) -> Doubles:
        return products.noise(y, reach, levels(factors), factors)

    # Without factors it takes half the instructions, and Lite saves a multiplication.
    evening = products.candidates(reach, strengths)
    found = thresholds.best(x, ranges, consumers, evening, products.PLAIN, before=rounded)
    return (found, levels(found.factors)) if found.error <= products.WORTH * error else None


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

    Behind a ReLU that convolutions in float read alone, or a squeeze-and-excitation block, thresholds may
    differ by channel: what makes up for that costs nothing (`write_onnx`). No further than the fourth root of
    the ranges, though: a channel that a few dozen pictures never excite is excited by others, and what it
    then says must not be clipped.
    """
    whole, table = table, table.of("onnx")
    read: dict[str, list[Layer]] = {}
    for layer in table.quantized:
        read.setdefault(layer.input, []).append(layer)
    finer = [name for name in read if table.activations[name].grid[1] != ZERO_POINT]
    finer = [name for name in finer if name.removesuffix(equalise.EVEN) in tops]
    lite = {layer.input for layer in whole.quantized}
    only = [name for name in table.activations if name not in lite and name in ranges]
    only = [name for name in only if name not in table.outputs and name not in table.products]
    last = {name for name in finer if read[name][0].type == "matmul"}
    values = samples.collect(program, [*only, *finer], pictures, advance, last)
    readers = program.consumers()
    owners = {layer.relu: layer for layer in table.quantized if layer.relu}
    activations, by_channel = dict(table.activations), dict(table.outputs)
    for name in [*only, *finer]:
        old = activations[name]
        few = len(values[name]) < _ENOUGH or _small(program, name)
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
            best = thresholds.best(values[name], reach, judged, [None], 1.0, fractions, old.floor)
            headroom = max(1.0, old.threshold / old.maximum) if few and old.maximum > 0 else 1.0
            activations[name] = old.model_copy(update={"high": best.threshold * headroom})
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
        convolutions = judged is known and all(op.type != "matmul_v2" for op in those)
        free = name in owners and (excited is not None or convolutions)
        strengths = (0.0, _GENTLY) if free and not few else (0.0,)
        evening = thresholds.spread(reach, strengths)
        best = thresholds.best(values[name], reach, judged, evening, 1.0, fractions, old.floor)
        if best.factors is None:
            activations[name] = old.model_copy(update={"threshold": best.threshold, "maximum": best.maximum})
        else:
            highs = (best.threshold * best.factors).tolist()
            by_channel[owners[name].output] = Channels(highs=highs)
    return whole.model_copy(update={"activations": activations, "outputs": by_channel})


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


def chosen(
    program: Program, layers: Sequence[Layer], found: Mapping[str, Choice]
) -> tuple[dict[str, Grid], dict[str, Product]]:
    """The grids of `found` with `layers` as they are, and the levels {what a layer answers: for the hard
    swish behind it}."""
    grids = {name: each.grid for name, each in found.items()}
    made = {}
    for name, y in products.places(program, layers_of(layers, "onnx")).items():
        product = found[name].product if name in found else None
        if product is not None:
            grids[name], made[y] = product
    return grids, made


def evened(
    program: Program, layers: Sequence[Layer], found: Mapping[str, Grid]
) -> tuple[Program, dict[str, str]]:
    """The program with the factors of `found` in it, and {new tensor: the one it was}."""
    factors: dict[str, Doubles] = {
        name: grid.factors for name, grid in found.items() if grid.factors is not None
    }
    made = equalise.apply(program, factors, [layer for layer in layers if layer.int8])
    return made, {f"{name}{equalise.EVEN}": name for name in factors}


def with_grids(
    table: Table, found: Mapping[str, Grid], names: Mapping[str, str], made: Mapping[str, Product]
) -> Table:
    """`table` with the thresholds of `found` and the levels of `made`, both from `chosen`; `names` is {evened
    tensor: the one it was}, from `evened`.

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
    activations = {**table.activations, **changed}
    new = {old: new for new, old in names.items()}
    renamed = {}
    for y, product in made.items():
        name = new.get(product.tensor, product.tensor)
        renamed[y] = product.model_copy(update={"tensor": name})
        floor = products.lowest(product, found[product.tensor].factors)
        activations[name] = activations[name].model_copy(update={"floor": floor})
    outputs = {name: each for name, each in table.outputs.items() if name not in renamed}
    return table.model_copy(update={"activations": activations, "outputs": outputs, "products": renamed})
