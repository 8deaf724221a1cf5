"""Bundles of tiny networks whose answers are known: red, green and blue blocks on white read as a, b and c.

A line is a row of blocks with a black stroke below them, by which a classifier tells what is upside down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

COLORS = {"a": (0, 0, 255), "b": (0, 255, 0), "c": (255, 0, 0)}  # blue green red
SIDE, HEIGHT = 320, 48
Pixels = NDArray[np.uint8]


def line(text: str, size: int = 16) -> Pixels:
    """Blocks of `size` x `size` with white between them, the lower quarter of the whole line black."""
    image = np.full((size, 2 * size * len(text) - size, 3), 255, np.uint8)
    for k, letter in enumerate(text):
        image[:, 2 * size * k : 2 * size * k + size] = COLORS[letter]
    image[-size // 4 :] = 0
    return image


def put(page: Pixels, part: Pixels, x: int, y: int) -> None:
    page[y : y + part.shape[0], x : x + part.shape[1]] = part


def page(height: int = SIDE, width: int = SIDE) -> Pixels:
    return np.full((height, width, 3), 255, np.uint8)


def _model(
    nodes: list[Any], constants: Mapping[str, Any], sides: Sequence[Any], outputs: Sequence[str]
) -> bytes:
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, *sides])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def text_detector() -> bytes:
    """White is 0 for all three networks, what is darker below it."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "steep"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "middle"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["map"]),
    ]
    return _model(nodes, {"steep": np.float32(-30), "middle": np.float32(10)}, ("h", "w"), ["map"])


def recogniser(letters: str = "abc") -> bytes:
    """Softmax over the distances to white and to the colours of `letters`, a step for 8 columns."""
    points = np.asarray([(255, 255, 255), *(COLORS[letter] for letter in letters)], np.float32) / 255 - 1
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["rows"]),
        helper.make_node("Conv", ["rows", "w", "b"], ["near"]),
        helper.make_node("AveragePool", ["near"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Squeeze", ["pooled", "axis"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("Softmax", ["steps"], ["probabilities"], axis=2),
    ]
    constants = {
        "start": np.asarray([20]), "end": np.asarray([28]), "axis": np.asarray([2]),
        "w": (20 * 2 * points)[:, :, None, None], "b": -20 * (points**2).sum(axis=1),
    }  # fmt: skip
    return _model(nodes, constants, (HEIGHT, "w"), ["probabilities"])


def classifier() -> bytes:
    """Class 1, upside down, where the upper half is the darker one."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["rows"], axes=[1, 3], keepdims=0),
        helper.make_node("MatMul", ["rows", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    half = np.repeat(np.asarray([1.0, -1.0], np.float32), HEIGHT // 2)
    return _model(nodes, {"w": 20 * np.stack([half, -half], axis=1)}, (HEIGHT, 192), ["probabilities"])


def detector() -> bytes:
    """Always a cat of score .9 at 10 20 60 40 of an input of 100 x 100, and a dog of score .1."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["b", "nothing"], ["boxes"]),
        helper.make_node("Add", ["s", "nothing"], ["scores"]),
    ]
    constants = {
        "zero": np.float32(0), "b": np.asarray([[(10, 20, 60, 40), (0, 0, 50, 50)]], np.float32),
        "s": np.asarray([[(0.9, 0), (0, 0.1)]], np.float32),
    }  # fmt: skip
    return _model(nodes, constants, (100, 100), ["boxes", "scores"])


def _line_resize(width: int, widest: int | None) -> dict[str, Any]:
    return {"kind": "line", "height": HEIGHT, "width": width, "widest": widest, "interpolation": "linear"}


def _exact(side: int) -> dict[str, Any]:
    return {"kind": "exact", "height": side, "width": side, "interpolation": "linear"}


def _page(side: int, longest: int) -> dict[str, Any]:
    return {**_exact(side), "kind": "page", "longest": longest, "multiple": 32}


_PARTS: dict[str, dict[str, Any]] = {
    "det": {
        "task": "text_detection", "labels": ["text"], "resize": _page(SIDE, 2 * SIDE),
        "postprocess": {"kind": "text_detection", "map": "map"},
    },
    "cls": {
        "task": "classification", "labels": ["0", "180"], "resize": _line_resize(192, None),
        "postprocess": {"kind": "classification", "probabilities": "probabilities", "top_k": 2},
    },
    "rec": {
        "task": "text_recognition", "labels": ["a", "b", "c"], "resize": _line_resize(320, 3200),
        "postprocess": {"kind": "text_recognition", "probabilities": "probabilities", "space": False},
    },
    "things": {
        "task": "detection", "labels": ["cat", "dog"], "resize": _exact(100),
        "postprocess": {"kind": "detection", "boxes": "boxes", "scores": "scores"},
    },
}  # fmt: skip
_FLOAT = {"det": text_detector, "cls": classifier, "rec": recogniser, "things": detector}


def bundle(folder: Path, part: str, int8: bytes | None = None, **changes: Any) -> Path:
    """A bundle as `edgekit compress` writes it, as far as an application looks at it."""
    folder.mkdir(parents=True)
    description = dict(_PARTS[part])
    resize = description.pop("resize")
    float_model = _FLOAT[part]()
    contents = {
        f"{part}.fp32.onnx": ("fp32.onnx", float_model),
        f"{part}.int8.onnx": ("int8.onnx", int8 or float_model),
        "labels.txt": ("labels", "\n".join(description["labels"]).encode()),
        "golden/0/note.txt": ("golden", b"deep"),
    }
    files = []
    for name, (role, data) in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        files.append(
            {"name": name, "role": role, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        )
    manifest = {
        "schema_version": 1, "name": part, "inputs": [{"name": "x", "shape": [-1, 3, -1, -1]}], "outputs": [],
        "preprocess": {"resize": resize, "channels": "bgr", "mean": [1, 1, 1], "std": [1, 1, 1]},
        **description, "recipe": part, "default": "int8.onnx", "files": files, **changes,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def save(path: Path, image: Pixels) -> Path:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path
