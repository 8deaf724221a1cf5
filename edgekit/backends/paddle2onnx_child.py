"""The child process that loads paddle2onnx. Not imported by edgekit itself."""

from __future__ import annotations

import json
import sys


def export(program: str, parameters: str, out: str, opset: int) -> None:
    import paddle2onnx

    paddle2onnx.export(
        program, parameters, save_file=out, opset_version=opset, deploy_backend="onnxruntime", verbose=False
    )


if __name__ == "__main__":
    export(*json.loads(sys.argv[1]))
