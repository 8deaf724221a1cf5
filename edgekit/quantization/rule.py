"""Which layers become int8, and why the others do not.

Convolutions and matmuls with constant float32 weights hold nearly all multiply-accumulates and have int8
kernels on every target: they are quantized. Everything else stays float: activations and element-wise
ops are cheap; softmax, box decoding and coordinates need more than eight bits. So do matmuls with tiny
weights (the integral over a box-distance distribution is one of [8, 1]) and transposed convolutions
(Paddle Lite has no int8 kernel for them).
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.program.cost import layer_costs
from edgekit.program.graph import Op, Program, attr, inputs, outputs
from edgekit.quantization.table import Layer

_WEIGHT_SLOT = {"conv2d": "Filter", "depthwise_conv2d": "Filter", "matmul_v2": "Y", "mul": "Y"}
_INPUT_SLOT = {"conv2d": "Input", "depthwise_conv2d": "Input", "matmul_v2": "X", "mul": "X"}
_SMALLEST_MATMUL = 16


def layers(program: Program, keep_float: list[str]) -> list[Layer]:
    """Every layer with constant weights, in program order, marked int8 or float with the reason.

    `keep_float` holds patterns: a layer's name or a glob (`conv2d_9*`), `depthwise`, `first:N`, `last:N`.
    Raises EK105 for a pattern that matches no layer.
    """
    consumers = program.consumers()
    producers = program.producers()
    fetched = set(program.fetches)
    costs = layer_costs(program)
    found: list[Layer] = []
    uses: dict[str, int] = {}
    for op in program.block.ops:
        for name in inputs(op):
            uses[name] = uses.get(name, 0) + 1
    for op in program.block.ops:
        if op.type not in _WEIGHT_SLOT:
            continue
        weight = inputs(op, _WEIGHT_SLOT[op.type])[0]
        if weight not in program.params:
            continue
        value = program.params[weight]
        source = inputs(op, _INPUT_SLOT[op.type])[0]
        output, bias, relu = _tail(program, op, consumers, fetched)
        conv = op.type.endswith("conv2d")
        groups = attr(op, "groups", 1) if conv else 1
        depthwise = conv and groups > 1 and groups == value.shape[0]
        reason = ""
        if value.dtype != np.float32:
            reason = f"weights are {value.dtype}"
        elif uses[weight] > 1:
            reason = "weights are shared between layers"
        elif not conv and (value.ndim != 2 or min(value.shape) < _SMALLEST_MATMUL):
            reason = "a small matmul (box decoding): float by rule"
        elif not conv and (attr(op, "trans_x", False) or attr(op, "trans_y", False)):
            reason = "a transposed matmul: float by rule"
        elif not conv and producers.get(source) is not None and producers[source].type == "softmax":
            reason = "reads a softmax: float by rule"
        macs = costs.get(outputs(op)[0], 0)
        pixel = [program.shape(name)[2:] for name in (source, outputs(op)[0])] == [[1, 1], [1, 1]]
        found.append(
            Layer(
                name=weight.removesuffix(".w_0"),
                type="depthwise_conv2d" if depthwise else ("conv2d" if conv else "matmul"),
                input=source,
                output=output,
                weight=weight,
                bias=bias,
                relu=relu,
                axis=0 if conv else 1,
                macs=macs,
                params=int(value.size),
                fan_in=int(value.size) // value.shape[0] if conv else 1,
                stride=max(attr(op, "strides", [1])) if conv else 1,
                int8=not reason,
                reason=reason,
                pooled=conv and groups == 1 and pixel and value.shape[2:] == (1, 1),
            )
        )
    kept = _kept(found, keep_float)
    return [
        layer.model_copy(update={"int8": False, "reason": f"quantize.float: {kept[layer.name]}"})
        if layer.name in kept
        else layer
        for layer in found
    ]


def renamed(found: list[Layer], program: Program) -> list[Layer]:
    """The same layers in another form of the program, where some tensors have other names."""
    consumers, fetched = program.consumers(), set(program.fetches)
    ops = {inputs(op, _WEIGHT_SLOT[op.type])[0]: op for op in program.block.ops if op.type in _WEIGHT_SLOT}

    def names(layer: Layer) -> dict[str, str | None]:
        op = ops[layer.weight]
        output, bias, relu = _tail(program, op, consumers, fetched)
        return {"input": inputs(op, _INPUT_SLOT[op.type])[0], "output": output, "bias": bias, "relu": relu}

    return [layer.model_copy(update=names(layer)) for layer in found]


def _kept(found: list[Layer], patterns: list[str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for pattern in patterns:
        kind, _, count = pattern.partition(":")
        if kind in ("first", "last") and count.isdigit():
            chosen = found[: int(count)] if kind == "first" else found[len(found) - int(count) :]
        elif pattern == "depthwise":
            chosen = [layer for layer in found if layer.type == "depthwise_conv2d"]
        else:
            chosen = [layer for layer in found if fnmatchcase(layer.name, pattern)]
        if not chosen:
            some = ", ".join(layer.name for layer in found[:3])
            raise EdgekitError(
                "EK105",
                f"quantize.float: the pattern {pattern!r} matches no layer. Layers are named {some}, ...; "
                "`edgekit inspect MODEL` lists them. Also understood: depthwise, first:N, last:N.",
            )
        for layer in chosen:
            kept.setdefault(layer.name, pattern)
    return kept


def _tail(
    program: Program, op: Op, consumers: dict[str, list[Op]], fetched: set[str]
) -> tuple[str, str | None, str | None]:
    """The tensor after the bias, the bias parameter, and the output of a ReLU right behind."""
    output, bias, relu = outputs(op)[0], None, None

    def only(name: str) -> Op | None:
        after = consumers.get(name, [])
        return after[0] if len(after) == 1 and name not in fetched else None

    add = only(output)
    if add is not None and add.type == "elementwise_add" and inputs(add, "X") == [output]:
        y = inputs(add, "Y")[0]
        channels = program.params[inputs(op, _WEIGHT_SLOT[op.type])[0]].shape[0 if "conv" in op.type else 1]
        if y in program.params and program.params[y].size == channels:
            output, bias = outputs(add, "Out")[0], y
    after = only(output)
    if after is not None and after.type == "relu":
        relu = outputs(after, "Out")[0]
    return output, bias, relu
