"""Channel factors written into a program: x[c] / s[c] before a layer, w[c] * s[c] in it. Answers stay.

The division goes into the convolution that makes the tensor where only a ReLU stands between and only
convolutions read it (Nagel et al. 2019, section 4.1), and into a layer norm that only matmuls read (Xiao et
al. 2023, section 4); elsewhere it is a multiplication of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.calibration.readers import Doubles
from edgekit.program.graph import CONVOLUTIONS, Op, Program, attr, inputs, make_op, set_slot
from edgekit.quantization import write_paddle
from edgekit.quantization.table import Layer

EVEN = ".even"  # what the evened tensor is called


@dataclass(frozen=True)
class Passage:
    """From the parameters of a convolution to its readers: weight and bias scale with the tensor between."""

    parameters: list[str]  # output channels first, or a vector of them
    last: Op  # that makes the tensor
    readers: list[Op]


def passages(program: Program, tensors: Collection[str]) -> dict[str, Passage]:
    """Those of `tensors` whose channels can be scaled without an op."""
    makers, consumers, fetched = program.producers(), program.consumers(), set(program.fetches)
    uses: dict[str, int] = {}
    for op in program.block.ops:
        for name in inputs(op):
            uses[name] = uses.get(name, 0) + 1

    def own(name: str) -> bool:
        return name in program.params and uses[name] == 1

    def made_by(name: str, kinds: tuple[str, ...]) -> Op | None:
        maker = makers.get(name)
        return maker if maker is not None and maker.type in kinds else None

    def passage(name: str) -> Passage | None:
        readers, last = consumers.get(name, []), makers.get(name)
        if last is None or not readers or name in fetched:
            return None
        if not all(_reads(program, each, name) and own(_weight(each)) for each in readers):
            return None
        if last.type == "layer_norm":
            parameters = [*inputs(last, "Scale"), *inputs(last, "Bias")]
            return (
                Passage(parameters, last, readers)
                if len(parameters) == 2 and all(map(own, parameters))
                else None
            )
        parameters = []
        relu = made_by(name, ("relu",))
        before = name if relu is None else inputs(relu, "X")[0]
        add = made_by(before, ("elementwise_add",))
        if add is not None:
            bias = inputs(add, "Y")[0]
            if not own(bias) or program.params[bias].size != program.shape(before)[1]:
                return None
            parameters.append(bias)
        inner = before if add is None else inputs(add, "X")[0]
        conv = made_by(inner, CONVOLUTIONS)
        if conv is None or not own(_weight(conv)):
            return None
        between = {before, inner} - {name}
        if any(len(consumers[each]) > 1 for each in between) or not fetched.isdisjoint(between):
            return None
        return Passage([_weight(conv), *parameters], last, readers)

    found = {name: passage(name) for name in tensors}
    return {name: each for name, each in found.items() if each is not None}


def apply(program: Program, factors: Mapping[str, Doubles], layers: Sequence[Layer]) -> Program:
    """A copy in which each of `layers` reads its tensor evened where `factors` (tensor -> [channels]) has it,
    and so does whoever else reads a tensor that is evened by the layer that makes it."""
    made = program.copy()
    read = {layer.input for layer in layers} & factors.keys()
    free = passages(made, read)
    for name, passage in free.items():
        _add_even(made, name)
        for parameter in passage.parameters:
            value = made.params[parameter]
            first = [-1, *[1] * (value.ndim - 1)] if value.shape[0] == len(factors[name]) else value.shape
            made.set_param(
                parameter, (value.astype(np.float64) / factors[name].reshape(first)).astype(np.float32)
            )
        slot = next(slot.parameter for slot in passage.last.outputs if name in slot.arguments)
        set_slot(passage.last.outputs, slot, [f"{name}{EVEN}"])
        for op in passage.readers:
            _read_even(made, op, name, factors[name])
    weights = {layer.weight: layer.input for layer in layers if layer.input in read - free.keys()}
    done: set[str] = set()
    result = []
    for op in made.ops:
        name = next((weights[each] for each in inputs(op) if each in weights), "")
        if name:
            if name not in done:
                done.add(name)
                _add_even(made, name)
                made.set_param(f"{name}.factors", (1 / factors[name]).astype(np.float32))
                slots = {"X": [name], "Y": [f"{name}.factors"]}
                axis = 1 if op.type in CONVOLUTIONS else -1
                result.append(make_op("elementwise_mul", slots, {"Out": [f"{name}{EVEN}"]}, {"axis": axis}))
            _read_even(made, op, name, factors[name])
        result.append(op)
    made.replace_ops(result)
    return made


def _add_even(program: Program, name: str) -> None:
    program.add_var(f"{name}{EVEN}", program.shape(name))


def _read_even(program: Program, op: Op, name: str, s: Doubles) -> None:
    weight = _weight(op)
    value = program.params[weight].astype(np.float64)
    if op.type not in CONVOLUTIONS:
        scaled = value * s[:, None]
    elif value.shape[1] == len(s):
        scaled = value * s[None, :, None, None]
    else:  # depthwise
        scaled = value * np.repeat(s, len(value) // len(s))[:, None, None, None]
    program.set_param(weight, scaled.astype(np.float32))
    set_slot(op.inputs, write_paddle.input_slot(op), [f"{name}{EVEN}"])


def _reads(program: Program, op: Op, name: str) -> bool:
    """Whether a layer reads the tensor, each output all channels of it, or one."""
    if op.type in CONVOLUTIONS:
        whole = int(attr(op, "groups", 1)) == 1 or program.params[_weight(op)].shape[1] == 1
        return inputs(op, "Input") == [name] and whole
    return op.type == "matmul_v2" and inputs(op, "X") == [name] and not attr(op, "trans_y", False)


def _weight(op: Op) -> str:
    return inputs(op, write_paddle.weight_slot(op))[0]
