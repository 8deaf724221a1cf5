"""ONNX Runtime's quantize_static: uint8 activations, int8 weights per channel."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

AT_ONCE = 16  # pictures whose activations are kept at once; by default all of them are


class Tensors(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, folder: Path, name: str) -> None:
        self.files, self.name = sorted(folder.glob("*.npy")), name
        self.set_range(0, len(self.files))

    def __len__(self) -> int:
        return len(self.files)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.rest = iter(self.files[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        file = next(self.rest, None)
        return {self.name: np.load(file)} if file is not None else None


def main(job: dict[str, Any]) -> None:
    work, out = Path(job["work"]), Path(job["out"])
    ready, file = out / "preprocessed.onnx", out / "int8.onnx"
    # Symbolic shapes are for transformers; the inference of PicoDet's ends in an error.
    quant_pre_process(work / "float.onnx", ready, skip_symbolic_shape=True)
    tensors = Tensors(work / "calibration", job["input"])
    stride = max(n for n in range(1, AT_ONCE + 1) if len(tensors) % n == 0)
    quantize_static(
        ready,
        file,
        tensors,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[job["settings"]["method"]],
        extra_options={"CalibStridedMinMax": stride},
    )
    size = file.stat().st_size
    made = [{"what": "ONNX", "engine": "onnx", "file": str(file), "bytes": size, "of": "onnx"}]
    (out / "made.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
