"""MNN's converter and offline quantizer. Runs in an environment of its own: no edgekit here.

MNN.tools, behind its command line, installs a logging package on import and reports each use to MNN's
makers. The compiled module that does the work does neither, so that is what this calls.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import _tools
import MNN  # noqa: F401  (loads the libraries that _tools needs)


def main(job: dict[str, Any]) -> None:
    work, out = Path(job["work"]), Path(job["out"])
    plain, file = out / "float.mnn", out / "int8.mnn"
    files = ["--modelFile", str(work / "float.onnx"), "--MNNModel", str(plain)]
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", *files, "--bizCode", "edgekit"])
    method = job["settings"]["method"]
    if method is None:
        file = plain
    else:
        how, (height, width) = job["preprocess"], job["shape"][2:]
        config = {
            # As pictures: given tensors ("sequence"), the method KL looks at the first one only.
            "path": str(work / "png"),
            "input_type": "image",
            "format": how["channels"].upper(),
            "mean": [mean / how["scale"] for mean in how["mean"]],
            "normal": [how["scale"] / std for std in how["std"]],
            "width": width,
            "height": height,
            "used_sample_num": len(list((work / "png").iterdir())),
            "feature_quantize_method": method,
            "weight_quantize_method": "MAX_ABS",
            "batch_size": 8,
        }
        (out / "config.json").write_text(json.dumps(config))
        # A list of arguments: with three strings, as MNN's own command line calls it, version 3.6.1 aborts.
        _tools.mnnquant(["mnnquant", str(plain), str(file), str(out / "config.json")])
    made = [
        {
            "what": ".mnn",
            "engine": "mnn",
            "file": str(file),
            "bytes": file.stat().st_size,
            "float_bytes": plain.stat().st_size,
        }
    ]
    (out / "made.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
