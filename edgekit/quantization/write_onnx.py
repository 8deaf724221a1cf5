"""QDQ ONNX from the float ONNX and the table: int8 weight initializers, uint8 activations.

uint8 is what ONNX Runtime runs fast and bit for bit alike on x86 with VNNI and on ARM. With zero point 128 it
stands for the same real values as symmetric int8; where no value is below some floor, as behind a hard
swish, all 255 steps lie above it.

ONNX Runtime makes a convolution integer only when its output is quantized too, which Paddle Lite does not
need. One scale for such an output is what ruins these models: its channels differ thirtyfold (facts on
equalisation). So an output that goes on into float ops gets levels per channel: the convolution computes
(y[c] - m[c]) / r[c], which only relabels its weight scales and moves its bias (the int8 weights stay), and
a BatchNormalization behind gives r[c] and m[c] back. So each channel's 255 levels lie between its own lowest
and highest value, though QLinearConv has one scale and one zero point.

This op, and the multiplication by channel factors in front of a layer, stay apart: as part of a
DequantizeLinear or QuantizeLinear with a scale per channel they take ONNX Runtime 1.23 longer. The factors
are a BatchNormalization, too, which ONNX Runtime computes up to a third faster than a Mul with [C, 1, 1], to
the same bits.

A convolution on one pixel, as behind a global pooling, is written as a product of matrices, whose integer
kernel leaves its answers float. Few values are known of them, and other pictures reach further: rounded with
one scale, those of page_orientation's last convolution made three quarters of its divergence from float.

A ReLU right behind a convolution is kept fused: it becomes the lower end of the quantized range, and m is 0.
Where a scale per channel follows it, r goes into the weights of the float convolutions that read it, or,
in a squeeze-and-excitation block, into the gate and behind the pooling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.quantization import products
from edgekit.quantization.table import Layer, Product, Table, grid, middles, output_grid, quantize_weight

FloatArray = npt.NDArray[np.float32]


def write(model: onnx.ModelProto, table: Table) -> onnx.ModelProto:
    """A quantized copy of a float model that paddle2onnx made (weights keep Paddle's names).

    Raises KeyError when a layer of the table is not in the model.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    constants = _constants_to_initializers(graph)
    by_weight = {layer.weight: layer for layer in table.quantized}
    writer = _Writer(graph, constants, table)
    nodes = list(graph.node)
    consumers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    fetched = {o.name for o in graph.output}
    missing = set(by_weight)
    out: list[Any] = []
    relus: dict[int, tuple[Layer, str, FloatArray | None]] = {}
    replaced: dict[int, list[Any]] = {}
    for node in nodes:
        if id(node) in replaced:
            out += replaced[id(node)]
            continue
        layer = by_weight.get(node.input[1]) if node.op_type in ("Conv", "MatMul", "Gemm") else None
        if layer is None:
            out += [*writer.before.get(id(node), []), node, *writer.after.get(id(node), [])]
            if id(node) in relus:
                owner, wanted, spread = relus[id(node)]
                node.output[0] = f"{wanted}.f"
                if spread is None:
                    out += writer.activation_pair(f"{wanted}.f", owner.relu or "", wanted, nonnegative=True)
                else:
                    folded = writer.folded(consumers.get(wanted, []), by_weight, spread)
                    out += writer.output_pair(f"{wanted}.f", wanted, owner, None if folded else spread)
            continue
        missing.discard(layer.weight)
        source = node.input[0]
        if source not in writer.ready:
            nonnegative = any(other.relu == layer.input for other in table.quantized)
            out += writer.activation_pair(source, layer.input, f"{source}.dq", nonnegative=nonnegative)
            writer.ready[source] = f"{source}.dq"
        node.input[0] = writer.ready[source]
        spread = writer.spread(layer)
        out += writer.weight(node, layer, spread)
        if layer.pooled:
            out += writer.product(node, layer)
            continue
        out.append(node)
        if node.op_type != "Conv":
            # A MatMul with a float output has an integer kernel of its own. With a bias ONNX Runtime makes a
            # Gemm of it first, which is integer only when the bias is quantized, too.
            after = consumers.get(node.output[0], [])
            if len(after) == 1 and after[0].op_type == "Add" and layer.bias in after[0].input:
                out += writer.bias(after[0], list(after[0].input).index(layer.bias), layer, None)
            continue
        after = consumers.get(node.output[0], [])
        if layer.relu and len(after) == 1 and after[0].op_type == "Relu" and node.output[0] not in fetched:
            relus[id(after[0])] = (layer, after[0].output[0], spread)
            if spread is None:
                writer.ready[after[0].output[0]] = after[0].output[0]
            continue
        wanted = node.output[0]
        node.output[0] = f"{wanted}.f"
        product = table.products.get(layer.output)
        if product is not None:
            (swish,) = after
            evened = table.activations[product.tensor].factors is not None
            last = consumers[swish.output[0]][0] if evened else swish
            even = f"{wanted}.even"
            out += writer.output_pair(node.output[0], even, layer, None)
            replaced[id(swish)] = []
            replaced[id(last)] = writer.hard_swish(even, last.output[0], product)
        elif spread is None:
            out += writer.activation_pair(f"{wanted}.f", layer.output, wanted, nonnegative=False)
            writer.ready[wanted] = wanted
        else:
            out += writer.output_pair(f"{wanted}.f", wanted, layer, spread)
    if missing:
        raise KeyError(f"layers of the table that the ONNX model does not have: {sorted(missing)}")
    kept = [
        type(n).FromString(n.SerializeToString()) for n in _apart(out, {i.name for i in graph.initializer})
    ]
    del graph.node[:]
    graph.node.extend(kept)
    del graph.value_info[:]
    _scale_channels(made)
    _drop_unused(graph)
    onnx.checker.check_model(made)
    return made


class _Writer:
    def __init__(self, graph: Any, constants: dict[str, Any], table: Table) -> None:
        self.graph, self.constants, self.table = graph, constants, table
        self.ready: dict[str, str] = {}
        self.before: dict[int, list[Any]] = {}  # what comes right before a node, by its id
        self.after: dict[int, list[Any]] = {}
        shapes = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph)).graph.value_info
        self.small = {  # a value for each channel, as a gate has it
            v.name for v in shapes if [d.dim_value for d in v.type.tensor_type.shape.dim[2:]] == [1, 1]
        }

    def initializer(self, name: str, value: Any) -> str:
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def shared(self, name: str, value: Any) -> str:
        if name not in self.constants:
            self.constants[name] = value
            self.initializer(name, value)
        return name

    def zero(self, point: int) -> str:
        return self.shared(f"z.{point}", np.uint8(point))

    def activation_pair(self, source: str, tensor: str, result: str, *, nonnegative: bool) -> list[Any]:
        """QuantizeLinear + DequantizeLinear from `source` to `result`, with the scale of `tensor`."""
        scale, point = activation_grid(self.table, tensor, nonnegative=nonnegative)
        s = self.initializer(f"{result}.s", np.float32(scale))
        return [
            helper.make_node("QuantizeLinear", [source, s, self.zero(point)], [f"{result}.q"]),
            helper.make_node("DequantizeLinear", [f"{result}.q", s, self.zero(point)], [result]),
        ]

    def spread(self, layer: Layer) -> FloatArray | None:
        """r[c]: each output channel's scale over the largest; None where one scale must serve."""
        if layer.output not in self.table.outputs and layer.output not in self.table.products:
            return None
        steps, _ = output_grid(self.table, layer)
        if len(steps) == 1:
            return None
        spread: FloatArray = steps / steps.max()
        return spread

    def folded(self, readers: list[Any], int8: dict[str, Layer], spread: FloatArray) -> bool:
        """Whether r could go where it costs nothing for all readers: into the weights of convolutions in
        float, depthwise or whole, into the gate of a multiplication, behind a global pooling."""
        for node in readers:
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            convolution = node.op_type == "Conv" and node.input[1] not in int8 and groups in (1, len(spread))
            gated = node.op_type == "Mul" and not self.small.isdisjoint(node.input)
            if not (convolution or gated or node.op_type == "GlobalAveragePool"):
                return False
        r = spread.reshape(-1, 1, 1)
        for k, node in enumerate(readers):
            if node.op_type == "Conv":
                value = numpy_helper.to_array(self.constants[node.input[1]])
                depthwise = value.shape[1] == 1 < len(spread)
                each = np.repeat(spread, len(value) // len(spread)).reshape(-1, 1, 1, 1) if depthwise else r
                scaled = value * each
                node.input[1] = self.initializer(f"{node.input[1]}.r", scaled.astype(np.float32))
                continue
            gate = next((place for place, name in enumerate(node.input) if name in self.small), 0)
            name = node.output[0] if node.op_type == "GlobalAveragePool" else f"{node.input[gate]}.r{k}"
            factor = self.initializer(f"{name}.spread", r)
            if node.op_type == "GlobalAveragePool":
                node.output[0] = f"{name}.even"
                self.after[id(node)] = [helper.make_node("Mul", [node.output[0], factor], [name])]
            else:
                self.before[id(node)] = [helper.make_node("Mul", [node.input[gate], factor], [name])]
                node.input[gate] = name
        return bool(readers)

    def output_pair(self, source: str, result: str, layer: Layer, spread: FloatArray | None) -> list[Any]:
        """QuantizeLinear + DequantizeLinear of (y - m) / r with one scale, times r plus m where no reader
        does that."""
        steps, point = output_grid(self.table, layer)
        s = self.initializer(f"{result}.s", np.float32(steps.max()))
        zero, even = self.zero(point), result if spread is None else f"{result}.even"
        made = [
            helper.make_node("QuantizeLinear", [source, s, zero], [f"{result}.q"]),
            helper.make_node("DequantizeLinear", [f"{result}.q", s, zero], [even]),
        ]
        if spread is not None:
            middle = middles(self.table, layer)
            c = len(spread)
            parameters = [
                self.initializer(f"{result}.r", spread),
                self.shared(f"c0.{c}", np.zeros(c, np.float32))
                if middle is None
                else self.initializer(f"{result}.m", middle),
                self.shared(f"c0.{c}", np.zeros(c, np.float32)),
                self.shared(f"c1.{c}", np.ones(c, np.float32)),
            ]
            made.append(helper.make_node("BatchNormalization", [even, *parameters], [result], epsilon=0.0))
        return made

    def hard_swish(self, even: str, result: str, product: Product) -> list[Any]:
        """Of y in units of its channels, over the factors, from levels alone: `products` says how.

        With factors the gate's levels are 255 (y / 6 + 1 / 2), and half of them is no level: they begin at
        127. It is off by .002 at most, where y is least.
        """
        factors = self.table.activations[product.tensor].factors
        gate, zero = f"{result}.gate", self.zero(0)
        if factors is None:
            end = 2 * product.zero_point
            made, levels = [], f"{even}.q"
            if end < products.SHARES:
                levels = f"{gate}.q"
                bounds = [self.zero(0), self.zero(end)]
                made.append(helper.make_node("Clip", [f"{even}.q", *bounds], [levels]))
            s = self.initializer(f"{gate}.s", np.float32(1 / end))
            made.append(helper.make_node("DequantizeLinear", [levels, s, zero], [gate]))
        else:
            shares = np.rint(np.asarray(factors) * products.SHARES).astype(np.uint8).reshape(-1, 1, 1)
            q = self.initializer(f"{result}.shares", shares)
            one = self.shared("share", np.float32(1 / products.SHARES))
            step, half = self.shared("gate", np.float32(3 / 128)), self.zero(127)
            made = [
                helper.make_node("DequantizeLinear", [q, one, zero], [f"{q}.d"]),
                helper.make_node("Mul", [even, f"{q}.d"], [f"{gate}.y"]),
                helper.make_node("QuantizeLinear", [f"{gate}.y", step, half], [f"{gate}.q"]),
                helper.make_node("DequantizeLinear", [f"{gate}.q", one, zero], [gate]),
            ]
        return [*made, helper.make_node("Mul", [even, gate], [result])]

    def weight(self, node: Any, layer: Layer, spread: FloatArray | None) -> list[Any]:
        scales = np.array(self.table.weights[layer.weight], np.float32)
        if spread is not None:
            scales = scales / spread
        value = numpy_helper.to_array(self.constants[layer.weight])
        integers = quantize_weight(value, self.table.weights[layer.weight], layer.axis)
        if layer.pooled:
            integers = integers.reshape(len(integers), -1)
        q = self.initializer(f"{layer.weight}.q", integers)
        s = self.initializer(f"{layer.weight}.s", scales)
        # One of its own: with `session.x64quantprecision` ONNX Runtime renames each layer's zero points after
        # the old ones, and fails where layers share these.
        z = self.initializer(f"{layer.weight}.z", np.zeros(len(scales), np.int8))
        made = [helper.make_node("DequantizeLinear", [q, s, z], [f"{layer.weight}.d"], axis=layer.axis)]
        node.input[1] = f"{layer.weight}.d"
        if node.op_type == "Conv" and middles(self.table, layer) is not None and len(node.input) < 3:
            none = f"{layer.weight}.b0"
            self.constants[none] = numpy_helper.from_array(np.zeros(len(scales), np.float32))
            node.input.append(none)
        if node.op_type == "Conv" and len(node.input) > 2 and node.input[2]:
            made += self.bias(node, 2, layer, spread)
        return made

    def product(self, node: Any, layer: Layer) -> list[Any]:
        """A convolution on one pixel as a product of matrices [N, in] x [in, out]."""
        axes = self.shared("pixel", np.array([2, 3], np.int64))
        row, answer, result = f"{layer.weight}.row", f"{layer.weight}.product", node.output[0]
        return [
            helper.make_node("Squeeze", [node.input[0], axes], [row]),
            helper.make_node("Gemm", [row, *node.input[1:]], [answer], transB=1),
            helper.make_node("Unsqueeze", [answer, axes], [result]),
        ]

    def bias(self, node: Any, index: int, layer: Layer, spread: FloatArray | None) -> list[Any]:
        """int32 in units of input scale * weight scale, as the integer kernels add it."""
        scales = np.array(self.table.weights[layer.weight], np.float32)
        bias = numpy_helper.to_array(self.constants[node.input[index]]).astype(np.float64)
        if spread is not None:
            middle = middles(self.table, layer)
            scales, bias = scales / spread, (bias if middle is None else bias - middle) / spread
        nonnegative = any(other.relu == layer.input for other in self.table.quantized)
        unit, _ = activation_grid(self.table, layer.input, nonnegative=nonnegative)
        units = (np.float32(unit) * scales).astype(np.float32)
        limit = 2.0**31 - 1
        whole = np.clip(np.rint(bias / units), -limit, limit).astype(np.int32)
        b = self.initializer(f"{layer.weight}.b", whole)
        u = self.initializer(f"{layer.weight}.u", units)
        node.input[index] = f"{layer.weight}.bd"
        return [helper.make_node("DequantizeLinear", [b, u], [f"{layer.weight}.bd"], axis=0)]


def activation_grid(table: Table, tensor: str, *, nonnegative: bool) -> tuple[float, int]:
    """Scale and zero point of an activation in ONNX.

    Behind a fused ReLU the zero point must be 0 for ONNX Runtime to fuse, whatever the table knows.
    """
    found = table.activations[tensor]
    return grid(found.threshold, 0.0) if nonnegative else found.grid


def _apart(nodes: list[Any], constants: set[str]) -> list[Any]:
    """The nodes with a Concat of one tensor, a copy, before each float layer that reads dequantized levels.

    Where such a layer's input comes from a DequantizeLinear, ONNX Runtime (its WeightBiasQuantization) rounds
    its float weights to int8 with one scale for all channels, and runs it as integers.
    """
    levels = {n.output[0] for n in nodes if n.op_type == "DequantizeLinear" and n.input[0] not in constants}
    copies: set[str] = set()
    found = []
    for node in nodes:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and node.input[1] in constants:
            name = node.input[0]
            if name in levels:
                if name not in copies:
                    copies.add(name)
                    found.append(helper.make_node("Concat", [name], [f"{name}.copy"], axis=1))
                node.input[0] = f"{name}.copy"
        found.append(node)
    return found


def _constants_to_initializers(graph: Any) -> dict[str, Any]:
    found = {i.name: i for i in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and any(a.name == "value" for a in node.attribute):
            tensor = TensorProto()
            tensor.CopyFrom(next(a.t for a in node.attribute if a.name == "value"))
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            found[tensor.name] = graph.initializer[-1]
        else:
            kept.append(type(node).FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(kept)
    return found


def _scale_channels(model: onnx.ModelProto) -> None:
    """Pictures [N, C, H, W] times constants [C, 1, 1]: each Mul becomes a BatchNormalization."""
    graph = model.graph
    known = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*known.input, *known.value_info)
    }
    constants = {i.name: i for i in graph.initializer}
    there = set(constants)

    def initializer(name: str, value: npt.NDArray[Any]) -> str:
        if name not in there:
            there.add(name)
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    for node in graph.node:
        factors = [i for i in node.input if node.op_type == "Mul" and i in constants]
        if len(factors) != 1:
            continue
        dims = list(constants[factors[0]].dims)
        c = int(np.prod(dims))
        pictures = [i for i in node.input if len(shapes.get(i, [])) == 4 and shapes[i][1] == c]
        if c == 1 or dims[-3:] != [c, 1, 1] or len(pictures) != 1:
            continue
        scale = initializer(f"{factors[0]}.c", numpy_helper.to_array(constants[factors[0]]).reshape(c))
        zero, one = initializer(f"c0.{c}", np.zeros(c)), initializer(f"c1.{c}", np.ones(c))
        node.op_type = "BatchNormalization"
        del node.input[:], node.attribute[:]
        node.input.extend([*pictures, scale, zero, zero, one])
        node.attribute.append(helper.make_attribute("epsilon", 0.0))


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    kept = [type(i).FromString(i.SerializeToString()) for i in graph.initializer if i.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
