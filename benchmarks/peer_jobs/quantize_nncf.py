"""NNCF's post-training quantization of the ONNX file. Runs in an environment of its own: no edgekit here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnx


def main(job: dict[str, Any]) -> None:
    work, out = Path(job["work"]), Path(job["out"])
    files = sorted((work / "calibration").glob("*.npy"))
    preset = job["settings"]["preset"]
    quantized = nncf.quantize(
        onnx.load(work / "float.onnx"),
        nncf.Dataset(files, lambda file: {job["input"]: np.load(file)}),
        subset_size=len(files),
        preset=nncf.QuantizationPreset[preset] if preset is not None else None,
    )
    file = out / "int8.onnx"
    onnx.save(quantized, file)
    size = file.stat().st_size
    made = [{"what": "ONNX", "engine": "onnx", "file": str(file), "bytes": size, "of": "onnx"}]
    (out / "made.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
