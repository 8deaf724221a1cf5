"""The activation right after a layer, as a function of the layer's answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.calibration.readers import Floats, Reader
from edgekit.program.graph import Op, Program, attr, outputs

Activation = Callable[[Floats], Floats]


def after(program: Program, layer: Reader) -> Activation | None:
    """None where nobody, somebody else too, or something that is no known activation reads the answers."""
    if layer.kind == "transposed":
        return None  # several answers of one row pass the bias apart
    consumers, name = program.consumers(), layer.output
    if layer.bias is not None:
        name = outputs(consumers[name][0], "Out")[0]
    readers = consumers.get(name, [])
    if len(readers) != 1 or name in program.fetches or readers[0].type not in _KNOWN:
        return None
    return _KNOWN[readers[0].type](readers[0])


def _relu(op: Op) -> Activation:
    return lambda x: np.maximum(x, 0)


def _relu6(op: Op) -> Activation:
    most = attr(op, "threshold", 6.0)
    return lambda x: np.clip(x, 0, most)


def _leaky_relu(op: Op) -> Activation:
    alpha = attr(op, "alpha", 0.02)
    return lambda x: np.where(x > 0, x, alpha * x)


def _hard_swish(op: Op) -> Activation:
    most, scale, offset = attr(op, "threshold", 6.0), attr(op, "scale", 6.0), attr(op, "offset", 3.0)
    return lambda x: x * np.clip(x + offset, 0, most) / scale


def _hard_sigmoid(op: Op) -> Activation:
    slope, offset = attr(op, "slope", 0.2), attr(op, "offset", 0.5)
    return lambda x: np.clip(slope * x + offset, 0, 1)


_KNOWN: dict[str, Callable[[Op], Activation]] = {
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "hard_swish": _hard_swish,
    "hard_sigmoid": _hard_sigmoid,
}
