"""An inference program as a static Paddle program that can be trained, fast on CPU.

What was measured with Paddle 2.6.2 on one core: CPU seconds of a step of PicoDet-S, batch 8.

- Ops one after another: 2.4 instead of 6.9. The executor's worker threads wait by spinning.
- Convolutions and their gradients in oneDNN: 2.4 instead of 6.5. Other ops are not given to oneDNN: their
  gradients fail where the layouts of two tensors differ ("could not create a primitive descriptor").
- Depthwise filters left as they are: 1.8. Their gradients run at 4 GFLOP/s, those of dense filters at 80.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.program import edit
from edgekit.program.graph import AttrValue, Program, attr, inputs, make_op, outputs, set_attr

_WEIGHT_SLOT = {
    "conv2d": "Filter",
    "depthwise_conv2d": "Filter",
    "conv2d_transpose": "Filter",
    "depthwise_conv2d_transpose": "Filter",
    "matmul_v2": "Y",
    "mul": "Y",
}
# What stands between a weight and its layer where int8 is simulated (`quantization.pact`).
_ROUNDING = ("elementwise_mul", "fake_quantize_dequantize_moving_average_abs_max")
_IN_ONEDNN = ("conv2d", "depthwise_conv2d")
# A smaller matmul decodes boxes (the integral over a distribution): its constants are no weights.
_SMALLEST_MATMUL = 16
# A channel that is smaller than this share of its layer's median is trained as if it were not.
_SMALLEST_CHANNEL = 0.05
# Paddle's backward pass reads both of every op.
_PLAIN: dict[str, AttrValue] = {"op_device": "", "op_role": 0}
# Of inner names that Paddle makes for losses and gradients; without it they clash with the program's own.
_PREFIX = "edgekit_training_"


def weights(program: Program) -> list[str]:
    """The float32 parameters worth training, in program order. Batch norms must have been folded.

    Filters of dense convolutions, matrices, and the biases added right after any layer. Depthwise filters are
    not among them: the dense filters before and after can do most of what they could, in less time (in 100
    steps of a pruned PicoDet-S the held-out loss came down to 0.70 without them and to 0.72 with them).
    """
    found: dict[str, None] = {}
    for layer in _layers(program):
        if not layer.depthwise:
            found[layer.weight] = None
        if layer.bias is not None:
            found[layer.bias] = None
    return [name for name in found if program.params[name].dtype == np.float32]


@dataclass(frozen=True)
class _Layer:
    weight: str
    axis: int  # of the output channels
    bias: str | None
    depthwise: bool


def _layers(program: Program) -> list[_Layer]:
    added = {
        inputs(op, "X")[0]: inputs(op, "Y")[0] for op in program.block.ops if op.type == "elementwise_add"
    }
    makers = program.producers()
    found = []
    for op in program.block.ops:
        if op.type not in _WEIGHT_SLOT:
            continue
        weight = inputs(op, _WEIGHT_SLOT[op.type])[0]
        while weight in makers and makers[weight].type in _ROUNDING:
            weight = inputs(makers[weight], "X")[0]
        value = program.params.get(weight)
        if value is None or (value.ndim == 2 and min(value.shape) < _SMALLEST_MATMUL):
            continue
        axis = 0
        if op.type.endswith("transpose") or (value.ndim == 2 and not attr(op, "trans_y", False)):
            axis = 1
        bias = added.get(outputs(op)[0])
        depthwise = attr(op, "groups", 1) > 1 and value.shape[1] == 1
        found.append(_Layer(weight, axis, bias if bias in program.params else None, depthwise))
    return found


def scales(program: Program, train: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """What each of `train` is trained in units of: broadcasts to its shape.

    Adam moves every number by about the learning rate, whatever its size, and the sizes of folded weights
    differ a thousandfold: in units of each output channel's own root mean square the rate is relative. A bias
    is in units of its channel's norm, the deviation of the channel's output where inputs have deviation 1; a
    single number that is none, such as a clipping value, in units of itself.
    Powers of two: weights that do not move stay what they are, to the bit.
    """
    made: dict[str, Any] = {}
    for layer in _layers(program):
        value = program.params[layer.weight]
        others = tuple(k for k in range(value.ndim) if k != layer.axis)
        size = np.sqrt(np.square(value.astype(np.float64)).mean(others, keepdims=True))
        size = np.maximum(size, _SMALLEST_CHANNEL * np.median(size) + 1e-12)
        made.setdefault(layer.weight, size)
        if layer.bias is not None:
            bias = program.params[layer.bias]
            norm = size.reshape(-1) * np.sqrt(value.size / value.shape[layer.axis])
            if norm.size == bias.size:
                norm = norm.reshape(bias.shape)
            else:
                norm = norm.mean().reshape([1] * bias.ndim)
            made.setdefault(layer.bias, norm)
    for name in train:
        value = program.params[name]
        own = np.abs(value.astype(np.float64)) if value.size == 1 and value.any() else np.ones(1)
        made.setdefault(name, own.reshape([1] * value.ndim))
    return {name: np.exp2(np.rint(np.log2(made[name]))).astype(np.float32) for name in train}


def parse(
    program: Program, train: Collection[str], picture: Sequence[int], rates: Mapping[str, float] = {}
) -> Any:
    """A `paddle.static.Program` without feed and fetch ops, for any number of pictures of shape `picture`
    ([C, H, W]), in which each of `train` is the product of a parameter, `trained(name)`, and its constant
    `scale(name)`.

    Gradients reach only what depends on `train`. Its values are not set: see `set_values`. `rates` are
    learning rates relative to those of the others.
    Raises EK103 when a name of `train` is no float32 parameter of the program.
    """
    import paddle

    for name in train:
        if name not in program.params or program.params[name].dtype != np.float32:
            raise EdgekitError(
                "EK103", f"{name!r} is no float32 parameter of the program: it cannot be trained."
            )
    made = edit.lite_ready(program)  # gradients of reshapes need the XShape that exporters drop
    made.replace_ops(op for op in made.ops if op.type not in ("feed", "fetch"))
    for op in made.block.ops:
        for name, value in _PLAIN.items():
            set_attr(op, name, value)
        if op.type in _IN_ONEDNN:
            set_attr(op, "use_mkldnn", True)
            set_attr(op, "is_test", False)  # oneDNN refuses gradients of the inference kind
        if (
            op.type == "reshape2"
            and attr(op, "shape", [0])[0] == 1
            and made.shape(inputs(op, "X")[0])[0] == 1
        ):
            set_attr(op, "shape", [0, *attr(op, "shape")[1:]])  # exported for batch 1
    products = []
    for name, unit in scales(program, train).items():
        made.var(name).persistable = False
        made.set_param(trained(name), made.params[name])
        made.set_param(scale(name), unit)
        into = {"Out": [name]}
        products.append(make_op("elementwise_mul", {"X": [trained(name)], "Y": [scale(name)]}, into, _PLAIN))
    made.replace_ops([*products, *made.ops])
    static = paddle.static.Program.parse_from_string(made.desc.SerializeToString())
    block = static.global_block()
    for name in train:
        shape = list(program.params[name].shape)
        own = {"learning_rate": rates.get(name, 1.0)}
        block.create_parameter(name=trained(name), shape=shape, dtype="float32", optimize_attr=own)
    block.var(program.feeds[0]).desc.set_shape([-1, *picture])
    for op in block.ops:
        op.desc.infer_shape(block.desc)
    moving = {trained(name) for name in train}
    for op in made.block.ops:
        if not moving.isdisjoint(inputs(op)):
            moving.update(outputs(op))
    for name, variable in block.vars.items():
        variable.stop_gradient = name not in moving
    return static


def trained(name: str) -> str:
    return f"{name}.trained"


def scale(name: str) -> str:
    return f"{name}.scale"


def set_values(scope: Any, values: dict[str, Any], place: Any) -> None:
    for name, value in values.items():
        scope.var(name).get_tensor().set(value, place)


def get_values(scope: Any, names: Collection[str]) -> dict[str, Any]:
    return {name: np.array(scope.find_var(name).get_tensor()) for name in names}


@contextmanager
def static_mode(threads: int) -> Iterator[None]:
    """Static graph mode, ops one after another, `threads` cores inside each; as it was afterwards."""
    import paddle
    from paddle.base import core

    dynamic = paddle.in_dynamic_mode()
    serial = {"FLAGS_new_executor_serial_run": True}
    before = paddle.get_flags(list(serial))
    paddle.enable_static()
    paddle.set_flags(serial)
    core.set_num_threads(threads)
    try:
        with paddle.utils.unique_name.guard(_PREFIX):
            yield
    finally:
        core.set_num_threads(1)  # Paddle's own default
        paddle.set_flags(before)
        if dynamic:
            paddle.disable_static()
