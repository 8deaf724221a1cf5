"""Weights of an ONNX file in a definition of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import paddle
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit import recipe as recipes
from edgekit.backends import paddle as backend
from edgekit.errors import EdgekitError
from edgekit.folder import ModelFolder
from edgekit.models import build, export
from edgekit.stages import fetch


def small_onnx(file: Path, name: Any = "PPLCNet_x0_25", spoil: Any = None) -> Path:
    """An ONNX file of the network with weights of its own: batch norms kept, biases as one conv's third
    input, and as an addition behind another."""
    paddle.disable_static()
    net = build(name, 4)
    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    values: dict[str, Any] = {}

    def constant(key: str, value: Any) -> str:
        values[key] = value.astype(np.float32)
        return key

    def walk(x: str, prefix: str, layer: Any) -> str:
        for key, each in layer.named_children():
            if each is None:
                continue
            out = f"{prefix}{key}.out"
            kind = type(each).__name__
            shapes = {k: tuple(v.shape) for k, v in each.state_dict().items()}
            if kind == "Conv2D":
                fan = int(np.prod(shapes["weight"][1:]))
                weight = constant(f"{out}.w", rng.normal(size=shapes["weight"]) * np.sqrt(2 / fan))
                given, extra = [x, weight], []
                if "bias" in shapes:
                    bias = rng.normal(size=shapes["bias"]) * 0.1
                    if key == "conv1":
                        given.append(constant(f"{out}.b", bias))
                    else:
                        extra = [constant(f"{out}.b", bias.reshape(1, -1, 1, 1))]
                side = shapes["weight"][2]
                attributes = {
                    "kernel_shape": [side, side],
                    "strides": list(each._stride),
                    "pads": [side // 2] * 4,
                    "group": each._groups,
                }
                nodes.append(helper.make_node("Conv", given, [f"{out}.raw" if extra else out], **attributes))
                if extra:
                    nodes.append(helper.make_node("Add", [f"{out}.raw", *extra], [out]))
            elif kind == "BatchNorm2D":
                parts = [
                    constant(f"{out}.{k}", np.abs(rng.normal(size=shapes[k])) + 0.5)
                    for k in ("weight", "bias", "_mean", "_variance")
                ]
                nodes.append(helper.make_node("BatchNormalization", [x, *parts], [out], epsilon=1e-5))
            elif kind == "Linear":
                weight = constant(f"{out}.w", rng.normal(size=shapes["weight"]) * 0.05)
                bias = constant(f"{out}.b", rng.normal(size=shapes["bias"]))
                nodes.append(helper.make_node("Gemm", [x, weight, bias], [out]))
            elif kind == "Hardswish":
                nodes.append(helper.make_node("HardSwish", [x], [out]))
            elif kind == "Hardsigmoid":
                nodes.append(helper.make_node("HardSigmoid", [x], [out], alpha=1 / 6, beta=0.5))
            elif kind == "ReLU":
                nodes.append(helper.make_node("Relu", [x], [out]))
            elif kind == "AdaptiveAvgPool2D":
                nodes.append(helper.make_node("GlobalAveragePool", [x], [out]))
            elif kind == "Dropout":
                nodes.append(helper.make_node("Mul", [x, constant(f"{out}.k", np.array(0.8))], [out]))
            elif kind == "Flatten":
                nodes.append(helper.make_node("Flatten", [x], [out]))
            else:
                inner = walk(x, f"{prefix}{key}.", each)
                if kind == "SqueezeExcitation":
                    nodes.append(helper.make_node("Mul", [x, inner], [out]))
                else:
                    out = inner
            x = out
        return x

    last = walk("x", "", net)
    nodes.append(helper.make_node("Softmax", [last], ["y"], axis=1))
    if spoil is not None:
        spoil(nodes, values)
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, key) for key, value in values.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return file


def test_the_exported_program_answers_as_the_onnx_file(tmp_path: Path) -> None:
    file = small_onnx(tmp_path / "net.onnx")
    files = export.export("PPLCNet_x0_25", 4, file, (64, 64), tmp_path)
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 64)).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(str(file)).run(None, {"x": x})
    (got,) = backend.load(*files)({"x": x}).values()
    assert np.ptp(wanted) > 0.05, "it answers something"
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    # The same bytes in the next run: the cache and the lineage go by them.
    again = tmp_path / "again"
    again.mkdir()
    other = export.export("PPLCNet_x0_25", 4, file, (64, 64), again)
    assert files[1].read_bytes() == other[1].read_bytes()


def fewer_layers(nodes: list[Any], values: dict[str, Any]) -> None:
    nodes[-2].op_type, nodes[-2].input[:] = "Flatten", nodes[-2].input[:1]


def other_shapes(nodes: list[Any], values: dict[str, Any]) -> None:
    name = next(name for name in values if name.startswith("fc.") and name.endswith(".w"))
    values[name] = np.concatenate([values[name], values[name][:, :1]], axis=1)
    bias = name.replace(".w", ".b")
    values[bias] = np.append(values[bias], np.float32(0))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(fewer_layers, "layers with weights"), (other_shapes, r"fc has .*\[1280, 5\].*expected")],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, spoil: Any, words: str) -> None:
    with pytest.raises(EdgekitError, match=words) as caught:
        export.load_onnx(build("PPLCNet_x0_25", 4), small_onnx(tmp_path / "net.onnx", spoil=spoil))
    assert caught.value.code == "EK404"


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07nonsense")
    with pytest.raises(EdgekitError, match="not an ONNX model") as caught:
        export.load_onnx(build("PPLCNet_x0_25", 4), tmp_path / "net.onnx")
    assert caught.value.code == "EK404"


RECIPE = """
name: turned
task: classification
weights:
  - file: net.onnx
    files: {onnx: {}}
definition: {name: PPLCNet_x0_25, classes: 4}
program: {outputs: {probabilities: softmax_0.tmp_0}, input_shape: [1, 3, 64, 64]}
preprocess:
  resize: {kind: exact, height: 64, width: 64, interpolation: linear}
  mean: [0.5, 0.5, 0.5]
  std: [0.5, 0.5, 0.5]
postprocess: {kind: classification, probabilities: probabilities}
labels: quarters.txt
"""


def test_a_recipe_with_a_definition_gives_a_model_folder(tmp_path: Path) -> None:
    file = small_onnx(tmp_path / "net.onnx")
    (tmp_path / "turned.yaml").write_text(RECIPE)
    (tmp_path / "model").mkdir()
    recipe = recipes.load(str(tmp_path / "turned.yaml"))
    said = fetch.run(recipe, tmp_path / "model", tmp_path / "cache", True, print)
    model = ModelFolder.open(tmp_path / "model")
    assert "net.onnx" in said and model.info.labels == ["0", "90", "180", "270"]
    x = np.random.default_rng(2).normal(size=(1, 3, 64, 64)).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(str(file)).run(None, {"x": x})
    got = backend.load(model.program, model.parameters)({"x": x})["probabilities"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    other = recipes.load(str(tmp_path / "turned.yaml"), None, ["definition.classes=5"])
    assert fetch.components(other) != fetch.components(recipe)
    with pytest.raises(EdgekitError, match="another network") as caught:
        fetch.run(other, tmp_path / "model", tmp_path / "cache", True, print)
    assert caught.value.code == "EK404"
