"""Writes resources/bundle/, a bundle of a classifier of colours that the JUnit tests spoil.

python runtimes/jvm/src/test/make_bundle.py
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgekit.backends import onnx
from edgekit.folder import ModelInfo
from edgekit.tasks import evaluate
from edgekit.tasks.preprocessing import preprocess

OUT = Path(__file__).parent / "resources" / "bundle"
INFO = ModelInfo.model_validate(
    {
        "name": "colours",
        "task": "classification",
        "inputs": [{"name": "x", "shape": [-1, 3, 8, 8]}],
        "outputs": [{"name": "probabilities", "shape": [-1, 3]}],
        "preprocess": {
            "resize": {"kind": "short", "height": 9, "width": 9, "interpolation": "linear"},
            "crop": [8, 8],
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.3, 0.4],
        },
        "postprocess": {"kind": "classification", "probabilities": "probabilities"},
        "labels": ["red", "grün", "blue"],
    }
)


def network() -> bytes:
    """Softmax over the mean of each channel."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "golden").mkdir(parents=True)
    (OUT / "colours.fp32.onnx").write_bytes(network())
    (OUT / "labels.txt").write_text("\n".join(INFO.labels) + "\n", encoding="utf-8")
    run = onnx.load(OUT / "colours.fp32.onnx", threads=1)
    for k, size in enumerate([(12, 17), (30, 9)]):
        golden = OUT / "golden" / str(k)
        golden.mkdir()
        image = np.random.default_rng(k).integers(0, 256, (*size, 3), np.uint8)
        image[..., k] //= 2
        (golden / "picture.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
        tensor = preprocess(image, INFO.preprocess)[None]
        np.save(golden / "input.npy", tensor)
        outputs = run({"x": tensor})
        np.save(golden / "fp32.onnx.probabilities.npy", outputs["probabilities"])
        answer = evaluate.answer_json(INFO, evaluate.answers(INFO, outputs, size))
        answers = {"source": f"{k}.png", "fp32.onnx": answer}
        (golden / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")
    roles = {"colours.fp32.onnx": "fp32.onnx", "labels.txt": "labels"}
    files = [
        {
            "name": path.relative_to(OUT).as_posix(),
            "role": roles.get(path.name, "golden"),
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(OUT.rglob("*"))
        if path.is_file()
    ]
    manifest = {**INFO.model_dump(mode="json"), "default": "fp32.onnx", "files": files}
    (OUT / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
