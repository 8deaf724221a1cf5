"""y = s x + t with two numbers, between an activation and the convolutions that read it: folded into these.

PPLCNetV3 (PP-OCRv4) trains such a pair behind every activation. Each is two ops that walk over a tensor.
"""

from __future__ import annotations

import numpy as np

from edgekit.program.graph import CONVOLUTIONS, Op, Program, attr, inputs, make_op, outputs, set_slot


def into_readers(program: Program) -> None:
    """In place; answers stay. w' = s w, and b' = b + t sum(w) where a convolution has a bias and no padding.

    Padding is zero before the shift and not after it, so there x + t / s stays, one op instead of two.
    """
    consumers, fetched = program.consumers(), set(program.fetches)
    uses: dict[str, int] = {}
    for op in program.block.ops:
        for name in inputs(op):
            uses[name] = uses.get(name, 0) + 1
    result: list[Op] = []
    gone: set[int] = set()
    for op in program.ops:
        if id(op) in gone:
            continue
        source = next((name for name in inputs(op) if number(program, op, name) is not None), "")
        chain, scale, shift = _chain(program, source, op, consumers, fetched)
        end = outputs(chain[-1], "Out")[0] if chain else ""
        readers = consumers.get(end, [])
        if not readers or scale == 0 or not all(_has_own_weight(program, each, uses) for each in readers):
            result.append(op)
            continue
        biases = [_bias(program, each, consumers, fetched, uses) for each in readers]
        whole = shift == 0 or (None not in biases and not any(map(_is_padded, readers)))
        if whole or len(chain) > 1:
            for each, bias in zip(readers, biases, strict=True):
                weight = inputs(each, "Filter")[0]
                value = program.params[weight].astype(np.float64)
                if whole and bias is not None:
                    old = program.params[bias].astype(np.float64)
                    program.params[bias] = (old + shift * value.sum(axis=(1, 2, 3))).astype(np.float32)
                program.params[weight] = (value * scale).astype(np.float32)
                if whole:
                    set_slot(each.inputs, "Input", [source])
            gone.update(id(each) for each in chain)
            if not whole:
                program.set_param(f"{end}.shift", np.array([shift / scale], np.float32))
                slots = {"X": [source], "Y": [f"{end}.shift"]}
                result.append(make_op("elementwise_add", slots, {"Out": [end]}, {"axis": -1}))
        else:
            result.append(op)
    program.replace_ops(result)


def number(program: Program, op: Op, name: str) -> float | None:
    """The one constant number that `op` multiplies the tensor `name` by or adds to it; None for other ops."""
    if op.type not in ("elementwise_mul", "elementwise_add") or name in program.params:
        return None
    other = [each for each in inputs(op) if each != name]
    value = program.params.get(other[0]) if len(other) == 1 and name in inputs(op) else None
    if value is None or value.size != 1 or value.dtype != np.float32:
        return None
    return float(value.reshape(-1)[0])


def _chain(
    program: Program, name: str, op: Op, consumers: dict[str, list[Op]], fetched: set[str]
) -> tuple[list[Op], float, float]:
    """What is done to the tensor `name` by single numbers, from `op` on, one alone reading the other: scale *
    x + shift. An empty list when `op` does nothing of the kind, or the result is an output."""
    chain: list[Op] = []
    scale, shift = 1.0, 0.0
    while (value := number(program, op, name)) is not None:
        if op.type == "elementwise_mul":
            scale, shift = scale * value, shift * value
        else:
            shift += value
        chain.append(op)
        name = outputs(op, "Out")[0]
        if name in fetched:
            return [], 1.0, 0.0
        after = consumers.get(name, [])
        if len(after) != 1:
            break
        op = after[0]
    return chain, scale, shift


def _has_own_weight(program: Program, op: Op, uses: dict[str, int]) -> bool:
    if op.type not in CONVOLUTIONS:
        return False
    weight = inputs(op, "Filter")[0]
    return weight in program.params and uses[weight] == 1 and program.params[weight].dtype == np.float32


def _bias(
    program: Program, op: Op, consumers: dict[str, list[Op]], fetched: set[str], uses: dict[str, int]
) -> str | None:
    """The bias [C] that is added right behind a convolution, and nowhere else."""
    made = outputs(op, "Output")[0]
    after = consumers.get(made, [])
    if len(after) != 1 or after[0].type != "elementwise_add" or made in fetched:
        return None
    name, width = inputs(after[0], "Y")[0], program.params[inputs(op, "Filter")[0]].shape[0]
    fits = name in program.params and program.params[name].shape == (width,) and uses[name] == 1
    return name if fits and attr(after[0], "axis", -1) == 1 else None


def _is_padded(op: Op) -> bool:
    return any(attr(op, "paddings", [0, 0])) or attr(op, "padding_algorithm", "EXPLICIT") == "SAME"
