"""Layer by layer: do the files of a bundle hold the weights and scales that its table of scales and its
Paddle programs say?

Nothing is executed, so this also covers the int8 `.nb`, which no x86 can run: Paddle Lite keeps weights and
scales in it as they are. What differs is named by layer; which of the two files is right it cannot tell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.apps.bundles import Bundle
from edgekit.backends import lite
from edgekit.checking.findings import Finding
from edgekit.errors import EdgekitError
from edgekit.folder import PARAMETERS, PROGRAM, ModelFolder
from edgekit.program import graph
from edgekit.quantization import table, write_onnx
from edgekit.quantization.table import LEVELS, Layer, Table
from edgekit.stages import convert

_CLOSE = 1e-4  # relative: scales have been float32 on their way
_MOST = 5  # layers named one by one
STEP = "layers"

Values = NDArray[Any]


def check(bundle: Bundle) -> list[Finding]:
    """Raises nothing for damage: that is a finding."""
    paddle = bundle.path / "paddle"
    try:
        float_program = ModelFolder.open(paddle).read()
        quantized = (paddle / table.FILE).is_file()
        scales = table.load(paddle) if quantized else None
        int8 = (
            graph.read(paddle / table.INT8 / PROGRAM, paddle / table.INT8 / PARAMETERS) if quantized else None
        )
    except EdgekitError as error:
        return [Finding(STEP, "paddle", "failed", error.message)]
    found: list[Finding] = []
    for name, role in bundle.files.items():
        file = bundle.path / name
        if role == "fp32.onnx":
            found += _listed(name, _float_onnx(file, float_program.params), "weights are those of paddle/")
        elif role == "fp32.nb":
            found += _listed(
                name, _float_nb(file, paddle, float_program.params), "weights are those of paddle/"
            )
        elif role == "int8.onnx" and scales is not None and int8 is not None:
            here = scales.of("onnx")
            found += _listed(name, _int8_onnx(file, int8.params, here), _SAYS.format(len(here.quantized)))
        elif role == "int8.nb" and scales is not None and int8 is not None:
            here = scales.of("lite")
            found += _listed(name, _int8_nb(file, int8.params, here), _SAYS.format(len(here.quantized)))
    if scales is not None and int8 is not None:
        here = scales.of("lite")
        wrong = _int8_program(int8.params, here)
        found += _listed("paddle/int8", wrong, _SAYS.format(len(here.quantized)))
    return found


_SAYS = "weights and scales of {} int8 layers are those of paddle/"
Wrong = list[tuple[str, str]]  # layer, what is wrong with it


def _listed(file: str, wrong: Wrong, right: str) -> list[Finding]:
    if not wrong:
        return [Finding(STEP, file, "passed", right)]
    found = [Finding(STEP, f"{file}: {layer}", "failed", says) for layer, says in wrong[:_MOST]]
    if rest := [layer for layer, _ in wrong[_MOST:]]:
        found.append(Finding(STEP, file, "failed", f"{len(rest)} more: {', '.join(rest[:20])}"))
    return found


def _load(file: Path) -> tuple[Any, dict[str, Values]] | str:
    """A model and its constants by name, or why it cannot be read."""
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(str(file))
        constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        constants[node.output[0]] = numpy_helper.to_array(attribute.t)
    except Exception as error:  # protobuf's and onnx's exceptions share no base class
        return f"it cannot be read: {type(error).__name__}: {str(error)[:200]}"
    return model, constants


def _float_onnx(file: Path, params: dict[str, Values]) -> Wrong:
    loaded = _load(file)
    if isinstance(loaded, str):
        return [("the file", loaded)]
    constants = loaded[1]
    wrong: Wrong = []
    for name, value in params.items():
        # A constant that the exporter has folded away is not there under its name.
        if name in constants and constants[name].size == value.size:
            wrong += _same_weights(name, value.reshape(constants[name].shape), constants[name])
    if not any(name in constants for name in params):
        wrong.append(("the file", "it has none of the weights of paddle/"))
    return wrong


def _float_nb(file: Path, paddle: Path, params: dict[str, Values]) -> Wrong:
    missing = _missing(file, params)
    if not missing:
        return []
    # Lite's optimizer has multiplied some layers with what follows them: what it makes now tells which.
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / file.name
        try:
            convert.to_lite(paddle / PROGRAM, paddle / PARAMETERS, "arm", fresh)
        except EdgekitError as error:
            return [("the file", f"{len(missing)} weights of paddle/ are not in it, and {error.message}")]
        changed = _missing(fresh, params)
    return [(_layer_of(name), f"{name} of paddle/ is not in it") for name in missing if name not in changed]


def _missing(file: Path, params: dict[str, Values]) -> list[str]:
    data = file.read_bytes()
    return [name for name, value in params.items() if np.ascontiguousarray(value).tobytes() not in data]


def _int8_nb(file: Path, params: dict[str, Values], scales: Table) -> Wrong:
    data = file.read_bytes()
    wrong: Wrong = []
    for layer in scales.quantized:
        steps = np.asarray(scales.weights[layer.weight], np.float32)
        step = np.float32(np.float32(scales.activations[layer.input].threshold) / np.float32(LEVELS))
        # Lite divides by 127 again, which may differ in the last bit.
        inputs = [np.nextafter(step, np.float32(side)) for side in (0, np.inf)]
        for what, values in (
            ("weights", [params[layer.weight]]), ("scales of its weights", [steps]),
            ("scale of its input", [step, *inputs]),
        ):  # fmt: skip
            if not any(np.ascontiguousarray(value).tobytes() in data for value in values):
                wrong.append((layer.name, f"the {what} that paddle/ has: not in it"))
                break
    kernels = lite.kernels(file)
    convolutions = sum(layer.type != "matmul" for layer in scales.quantized)
    int8 = sum(
        count
        for kernel, count in kernels.items()
        if kernel.startswith(("conv2d/", "depthwise_conv2d/")) and "/INT8/" in kernel
    )
    if int8 != convolutions:
        wrong.append(("kernels", f"{int8} int8 convolutions, {convolutions} in the table of scales"))
    return wrong


def _int8_program(params: dict[str, Values], scales: Table) -> Wrong:
    wrong: Wrong = []
    for layer in scales.quantized:
        try:
            steps = params[f"{layer.weight}@scale"] / LEVELS
            threshold = params[f"{layer.input}@scale"]
            weight = params[layer.weight]
        except KeyError as error:
            wrong.append((layer.name, f"the program has no {error.args[0]}"))
            continue
        says = _factor("the scales of its weights", np.asarray(scales.weights[layer.weight]), steps)
        says = says or _factor(
            "the scale of its input", np.asarray([scales.activations[layer.input].threshold]), threshold
        )
        if weight.dtype != np.int8:
            says = f"its weights are {weight.dtype}, not int8"
        if says:
            wrong.append((layer.name, says))
    return wrong


def _int8_onnx(file: Path, params: dict[str, Values], scales: Table) -> Wrong:
    loaded = _load(file)
    if isinstance(loaded, str):
        return [("the file", loaded)]
    model, constants = loaded
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    by_integers = {
        node.input[0]: node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    wrong: Wrong = []
    for layer in scales.quantized:
        weights = by_integers.get(f"{layer.weight}.q")
        users = readers.get(weights.output[0], []) if weights is not None else []
        if weights is None or len(users) != 1:
            wrong.append((layer.name, "its int8 weights are not in the file"))
            continue
        wrong += [
            (layer.name, says)
            for says in _int8_layer(layer, weights, users[0], makers, readers, constants, params, scales)[:1]
        ]
    return wrong


def _int8_layer(
    layer: Layer,
    weights: Any,
    node: Any,
    makers: dict[str, Any],
    readers: dict[str, list[Any]],
    constants: dict[str, Values],
    params: dict[str, Values],
    scales: Table,
) -> list[str]:
    """What differs, the likely cause first."""
    nonnegative = any(other.relu == layer.input for other in scales.quantized)
    step, _ = write_onnx.activation_grid(scales, layer.input, nonnegative=nonnegative)
    spread = np.ones(1)
    if (layer.output in scales.outputs or layer.output in scales.products) and node.op_type == "Conv":
        steps = table.output_grid(scales, layer)[0].astype(np.float64)
        spread = steps / steps.max()
    wanted = np.asarray(scales.weights[layer.weight]) / spread
    held, stored = params[layer.weight], constants[weights.input[0]]
    if held.dtype != np.int8:  # int8 in ONNX alone
        held = table.quantize_weight(held, scales.weights[layer.weight], layer.axis)
    if layer.pooled and held.shape[:2] == stored.shape:
        stored = stored.reshape(held.shape)
    differ = _same_weights(layer.weight, held, stored, layer.axis)
    says = [told for _, told in differ]
    says.append(_factor("the scales of its weights", wanted, constants[weights.input[1]]))
    source = makers.get(node.input[0])
    if layer.pooled and source is not None and source.op_type == "Squeeze":
        source = makers.get(source.input[0])
    if source is None or source.op_type != "DequantizeLinear":
        says.append("its input is not quantized")
    else:
        says.append(_factor("the scale of its input", np.asarray([step]), constants[source.input[1]]))
    bias, middle = params.get(layer.bias or ""), table.middles(scales, layer)
    if bias is not None or middle is not None:
        moved = np.zeros(1) if bias is None else np.asarray(bias, np.float64).ravel()
        moved = moved if middle is None else moved - middle
        says += _bias(node, makers, constants, moved, wanted * step, spread)
    if node.op_type == "Conv":
        says.append(_output(layer, node, readers, constants, scales))
    return [each for each in says if each]


def _bias(
    node: Any,
    makers: dict[str, Any],
    constants: dict[str, Values],
    bias: Values,
    units: Values,
    spread: Values,
) -> list[str]:
    """int32, in units of the scale of the input times those of the weights."""
    if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
        return []
    maker = makers.get(node.input[2])
    if maker is None or maker.op_type != "DequantizeLinear":
        return ["its bias is not quantized"]
    whole, stored = constants[maker.input[0]].astype(np.float64), constants[maker.input[1]].astype(np.float64)
    says = _factor("the units of its bias", units, stored)
    wanted = bias / spread
    if not says and whole.size == wanted.size:
        off = np.abs(whole * stored - wanted) > 0.51 * stored + _CLOSE * np.abs(wanted)
        off &= np.abs(whole) < 2.0**31 - 1
        if off.any():
            says = f"its bias differs in {int(off.sum())} of {off.size} channels"
    return [says]


def _output(
    layer: Layer, node: Any, readers: dict[str, list[Any]], constants: dict[str, Values], scales: Table
) -> str:
    after = readers.get(node.output[0], [])
    relu = bool(len(after) == 1 and after[0].op_type == "Relu")
    if relu:
        after = readers.get(after[0].output[0], [])
    quantized = [each for each in after if each.op_type == "QuantizeLinear"]
    if not quantized:
        return "its output is not quantized"
    step = float(table.output_grid(scales, layer)[0].max())
    return _factor("the scale of its output", np.asarray([step]), constants[quantized[0].input[1]])


def _factor(what: str, wanted: Values, got: Values) -> str:
    """How `got` differs from `wanted`, as a factor where there is one; empty where it does not."""
    wanted, got = np.asarray(wanted, np.float64).ravel(), np.asarray(got, np.float64).ravel()
    if got.size == 1 and wanted.size > 1:
        got = np.broadcast_to(got, wanted.shape)
    if wanted.size == 1 and got.size > 1:
        wanted = np.broadcast_to(wanted, got.shape)
    if wanted.size != got.size:
        return f"{what}: {got.size}, expected {wanted.size}"
    ratio = got / wanted
    off = ~(np.abs(ratio - 1) <= _CLOSE)
    if not off.any():
        return ""
    verb = "is" if what.startswith("the scale of") else "are"
    if np.isfinite(ratio).all() and np.ptp(ratio[off]) <= 1e-3 * abs(ratio[off][0]):
        where = "" if off.all() else f" in {int(off.sum())} of {off.size} channels"
        return f"{what} {verb} {ratio[off][0]:.4g} times what the table says{where}"
    if not off.all() or sorted(np.round(np.log(wanted), 3)) == sorted(
        np.round(np.log(np.abs(got) + 1e-300), 3)
    ):
        return f"{what} {verb} not the table's in {int(off.sum())} of {off.size} channels: {_numbers(off)}"
    return f"{what} {verb} {ratio.min():.4g} to {ratio.max():.4g} times what the table says"


def _same_weights(name: str, wanted: Values, got: Values, axis: int = 0) -> Wrong:
    layer = _layer_of(name)
    if wanted.shape != got.shape:
        return [(layer, f"its weights have the shape {got.shape}, expected {wanted.shape}")]
    if np.array_equal(wanted, got):
        return []
    if wanted.ndim < 2:
        off = wanted != got
        return [(layer, f"{name} differs in {int(off.sum())} of {off.size} values")]
    rows = np.moveaxis(wanted, axis, 0).reshape(wanted.shape[axis], -1)
    others = np.moveaxis(got, axis, 0).reshape(got.shape[axis], -1)
    off = (rows != others).any(axis=1)
    here = np.flatnonzero(off)
    moved = [k for k in here if any(np.array_equal(others[k], rows[j]) for j in here if j != k)]
    if len(moved) == len(here):
        return [(layer, f"output channels of its weights are exchanged: {_numbers(off)}")]
    return [(layer, f"its weights differ in {len(here)} of {len(off)} output channels: {_numbers(off)}")]


def _numbers(off: Values) -> str:
    places: Sequence[int] = np.flatnonzero(off).tolist()
    return ", ".join(map(str, places[:8])) + (", ..." if len(places) > 8 else "")


def _layer_of(name: str) -> str:
    return name.removesuffix(".w_0")


def apart(bundle: Bundle, other: Bundle) -> list[Finding]:
    """The layers whose scales differ most from those of another bundle: where to look when that is better."""
    try:
        here, there = table.load(bundle.path / "paddle"), table.load(other.path / "paddle")
    except EdgekitError:
        return []
    by_name = {layer.name: layer for layer in there.layers}
    rows = []
    for layer in here.layers:
        if (old := by_name.get(layer.name)) is None:
            continue
        if _kind(layer) != _kind(old):
            rows.append((float("inf"), layer.name, f"{_kind(layer)} here, {_kind(old)} there"))
        elif layer.int8:
            factor = here.activations[layer.input].threshold / there.activations[old.input].threshold
            mine, theirs = here.weights[layer.weight], there.weights[old.weight]
            steps = float(np.median(np.divide(mine, theirs))) if len(mine) == len(theirs) else float("nan")
            size = max(abs(np.log(factor)), abs(np.log(steps)) if np.isfinite(steps) else np.inf)
            if size > np.log(1.2):
                says = f"scales: its input's {factor:.3g} times the other's, its weights' {steps:.3g} times"
                rows.append((size, layer.name, says))
    rows.sort(key=lambda row: -row[0])
    return [
        Finding(STEP, name, "warning", f"{says} (against {other.path})") for _, name, says in rows[:_MOST]
    ]


def _kind(layer: Layer) -> str:
    if not layer.int8:
        return "float"
    return f"int8 in {table.FILES[layer.only]} alone" if layer.only else "int8"
