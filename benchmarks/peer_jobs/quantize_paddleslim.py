"""PaddleSlim's quant_post_static on the Paddle program."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddleslim.quant import quant_post_static

PROGRAM, PARAMETERS = "inference.pdmodel", "inference.pdiparams"


class Tensors(paddle.io.Dataset):  # type: ignore[misc]
    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.npy"))

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return (np.load(self.files[index])[0],)

    def __len__(self) -> int:
        return len(self.files)


def main(job: dict[str, Any]) -> None:
    folder, out = Path(job["work"]) / "float", Path(job["out"])
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    program, feeds, _ = paddle.static.load_inference_model(
        str(folder), executor, model_filename=PROGRAM, params_filename=PARAMETERS
    )
    tensors = Tensors(Path(job["work"]) / "calibration")
    loader = paddle.io.DataLoader(
        tensors,
        feed_list=[program.global_block().var(feeds[0])],
        batch_size=1,
        return_list=False,
        places=paddle.CPUPlace(),
    )
    quant_post_static(
        executor,
        str(folder),
        str(out),
        data_loader=loader,
        model_filename=PROGRAM,
        params_filename=PARAMETERS,
        save_model_filename=PROGRAM,
        save_params_filename=PARAMETERS,
        batch_size=1,
        batch_nums=len(tensors),
        **job["settings"],
    )
    size = sum((out / name).stat().st_size for name in (PROGRAM, PARAMETERS))
    made = [{"what": "Paddle", "engine": "paddle", "file": str(out), "bytes": size, "of": "paddle"}]
    (out / "made.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
