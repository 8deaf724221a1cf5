"""An inference program as a static Paddle program that can be trained, fast on CPU.

What was measured with Paddle 2.6.2 on one core: CPU seconds of a step of PicoDet-S, batch 8.

- Ops one after another: 2.4 instead of 6.9. The executor's worker threads wait by spinning.
- Convolutions and their gradients in oneDNN: 2.4 instead of 6.5. Other ops are not given to oneDNN: their
  gradients fail where the layouts of two tensors differ ("could not create a primitive descriptor").
- Depthwise filters left as they are: 1.8. Their gradients run at 4 GFLOP/s, those of dense filters at 80.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.program import edit
from edgekit.program.graph import Op, Program, attr, inputs, outputs, set_attr

_WEIGHT_SLOT = {
    "conv2d": "Filter",
    "depthwise_conv2d": "Filter",
    "conv2d_transpose": "Filter",
    "depthwise_conv2d_transpose": "Filter",
    "matmul_v2": "Y",
    "mul": "Y",
}
_IN_ONEDNN = ("conv2d", "depthwise_conv2d")
# A smaller matmul decodes boxes (the integral over a distribution): its constants are no weights.
_SMALLEST_MATMUL = 16
# Of inner names that Paddle makes for losses and gradients; without it they clash with the program's own.
_PREFIX = "edgekit_training_"


def weights(program: Program) -> list[str]:
    """The float32 parameters worth training, in program order. Batch norms must have been folded.

    Filters of dense convolutions, matrices, and the biases added right after any layer. Depthwise filters are
    not among them: the dense filters before and after can do most of what they could, in less time (in 100
    steps of a pruned PicoDet-S the held-out loss came down to 0.70 without them and to 0.72 with them).
    """
    found: dict[str, None] = {}
    layers: dict[str, Op] = {}
    for op in program.block.ops:
        if op.type in _WEIGHT_SLOT:
            name = inputs(op, _WEIGHT_SLOT[op.type])[0]
            value = program.params.get(name)
            if value is None or (value.ndim == 2 and min(value.shape) < _SMALLEST_MATMUL):
                continue
            layers[outputs(op)[0]] = op
            if not (attr(op, "groups", 1) > 1 and value.shape[1] == 1):
                found[name] = None
        elif op.type == "elementwise_add" and inputs(op, "X")[0] in layers:
            bias = inputs(op, "Y")[0]
            if bias in program.params:
                found[bias] = None
    return [name for name in found if program.params[name].dtype == np.float32]


def parse(program: Program, train: Collection[str]) -> Any:
    """A `paddle.static.Program` without feed and fetch ops, any batch size, in which `train` are parameters.

    Gradients reach only what depends on `train`. Its values are not set: see `set_values`.
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
    for name in program.feeds:
        made.var(name).type.lod_tensor.tensor.dims[0] = -1
    for op in made.block.ops:
        # Paddle's backward pass reads both of every op.
        set_attr(op, "op_device", "")
        set_attr(op, "op_role", 0)
        if op.type in _IN_ONEDNN:
            set_attr(op, "use_mkldnn", True)
            set_attr(op, "is_test", False)  # oneDNN refuses gradients of the inference kind
        if (
            op.type == "reshape2"
            and attr(op, "shape", [0])[0] == 1
            and made.shape(inputs(op, "X")[0])[0] == 1
        ):
            set_attr(op, "shape", [0, *attr(op, "shape")[1:]])  # exported for batch 1
    static = paddle.static.Program.parse_from_string(made.desc.SerializeToString())
    block = static.global_block()
    for name in train:
        block.create_parameter(name=name, shape=list(program.params[name].shape), dtype="float32")
    moving = set(train)
    for op in made.block.ops:
        if not moving.isdisjoint(inputs(op)):
            moving.update(outputs(op))
    for name, variable in block.vars.items():
        variable.stop_gradient = name not in moving
    return static


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
