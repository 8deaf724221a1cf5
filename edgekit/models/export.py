"""From a definition and trained weights to a Paddle program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError
from edgekit.models import Name, build

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Weighted:
    """A layer with weights, in the order in which the network runs them: its kind and its values by Paddle's
    names, in Paddle's layout."""

    kind: str
    values: dict[str, Array]


def export(
    name: Name, classes: int, onnx_file: Path, side: tuple[int, int], folder: Path
) -> tuple[Path, Path]:
    """The definition with the weights of an ONNX file of the same network, as `folder/inference.pdmodel` and
    `.pdiparams`, its output the probabilities (`softmax_0.tmp_0`). `side`: height and width of the input.

    Raises EK404 when the file cannot be read or is another network.
    """
    import paddle

    paddle.disable_static()
    with paddle.utils.unique_name.guard():  # the same names in every process
        net = build(name, classes)
        load_onnx(net, onnx_file)
        whole = paddle.nn.Sequential(net, paddle.nn.Softmax())
        whole.eval()
        spec = [paddle.static.InputSpec([None, 3, *side], "float32", "x")]
        # The default drops outputs whose absence makes Paddle Lite crash.
        paddle.jit.save(whole, str(folder / "inference"), input_spec=spec, clip_extra=False)
    return folder / "inference.pdmodel", folder / "inference.pdiparams"


def load_onnx(net: Any, file: Path) -> None:
    """Fill `net` (a paddle.nn.Layer) with the weights of an ONNX file of the same network, layer by layer in
    the order in which they run. Raises EK404."""
    import onnx
    import paddle
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(file)
    except (DecodeError, OSError) as error:
        raise EdgekitError("EK404", f"{file} is not an ONNX model, or is damaged ({error}).") from error
    found = _of_onnx(model.graph)
    wanted = [
        (name, layer, kind)
        for name, layer in net.named_sublayers()
        for kind, cls in (("conv", paddle.nn.Conv2D), ("bn", paddle.nn.BatchNorm2D), ("fc", paddle.nn.Linear))
        if isinstance(layer, cls)
    ]
    kinds = [kind for _, _, kind in wanted]
    if kinds != [layer.kind for layer in found]:
        raise EdgekitError(
            "EK404",
            f"{file} is another network than the definition: it has {len(found)} layers with weights, or "
            f"others in another order, expected {len(wanted)}.",
        )
    for (name, layer, _), source in zip(wanted, found, strict=True):
        state = layer.state_dict()
        have = {key: list(value.shape) for key, value in source.values.items()}
        want = {key: list(value.shape) for key, value in state.items()}
        if have != want:
            raise EdgekitError(
                "EK404", f"{file} is another network than the definition: {name} has {have}, expected {want}."
            )
        layer.set_state_dict(source.values)


def _of_onnx(graph: Any) -> list[_Weighted]:
    from onnx import numpy_helper

    constants: dict[str, Array] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                constants[node.output[0]] = numpy_helper.to_array(attribute.t)
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def added(node: Any) -> Array | None:
        """What alone reads the node's output and adds a constant."""
        after = readers.get(node.output[0], [])
        if len(after) != 1 or after[0].op_type != "Add":
            return None
        return next((constants[name].reshape(-1) for name in after[0].input if name in constants), None)

    found = []
    for node in graph.node:
        values = [constants.get(name) for name in node.input[1:]]
        if not values or values[0] is None:
            continue
        bias = values[1] if len(values) > 1 else added(node)
        if node.op_type == "Conv":
            found.append(_Weighted("conv", _with_bias(values[0], bias)))
        elif node.op_type == "BatchNormalization":
            names = ("weight", "bias", "_mean", "_variance")
            found.append(_Weighted("bn", dict(zip(names, values, strict=True))))  # type: ignore[arg-type]
        elif node.op_type in ("MatMul", "Gemm"):
            flipped = any(a.name == "transB" and a.i for a in node.attribute)
            weight = np.ascontiguousarray(values[0].T) if flipped else values[0]
            found.append(_Weighted("fc", _with_bias(weight, bias)))
    return found


def _with_bias(weight: Array, bias: Array | None) -> dict[str, Array]:
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
