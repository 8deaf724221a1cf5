"""What every peer is given: the float program (Paddle, ONNX), and the pictures' tensors as .npy files."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgekit import recipe as recipes
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.folder import DESCRIPTION, PARAMETERS, PROGRAM, ModelFolder, Preprocess
from edgekit.recipe import Convert
from edgekit.run import Run
from edgekit.tasks.preprocessing import preprocess


def main(job: dict[str, Any]) -> None:
    work = Path(job["work"])
    run = Run(False, False, Progress())
    recipe = recipes.load(job["recipe"], None, job["sets"])
    first = run.fetch(recipe)
    model = ModelFolder.open(first.path)
    converted = run.original(first, Convert(targets=["onnx", "lite-arm"])).path
    (work / "float").mkdir()
    for name in (PROGRAM, PARAMETERS, DESCRIPTION):
        shutil.copyfile(model.path / name, work / "float" / name)
    shutil.copyfile(converted / f"{model.info.name}.fp32.onnx", work / "float.onnx")
    sets = {split: run.pictures(recipe, None, split) for split in ("calibration", "evaluation")}  # type: ignore[arg-type]
    for split, images in sets.items():
        (work / split).mkdir()
        sizes = tensors(model, images, work / split)
    if job["png"]:
        (work / "png").mkdir()
        for file in (work / "calibration").glob("*.npy"):
            cv2.imwrite(
                str(work / "png" / f"{file.stem}.png"), pixels(np.load(file)[0], model.info.preprocess)
            )
    annotations = sets["evaluation"].annotations
    (work / "prepared.json").write_text(
        json.dumps(
            {
                "name": model.info.name,
                "input": model.info.inputs[0].name,
                "outputs": [output.name for output in model.info.outputs],
                "shape": [1, *model.info.inputs[0].shape[1:]],
                "seed": recipe.data.seed,
                "origins": {split: images.origin for split, images in sets.items()},
                "sizes": sizes,
                "preprocess": model.info.preprocess.model_dump(),
                "names": [path.name for path in sets["evaluation"].paths],
                "annotations": str(annotations) if annotations is not None else None,
                "bytes": {
                    "paddle": sum((work / "float" / name).stat().st_size for name in (PROGRAM, PARAMETERS)),
                    "onnx": (work / "float.onnx").stat().st_size,
                    "nb": (converted / f"{model.info.name}.fp32.nb").stat().st_size,
                },
            }
        )
    )


def tensors(model: ModelFolder, images: ImageSet, out: Path) -> list[tuple[int, int]]:
    """NNNN.npy, float32 [1, 3, height, width], for each picture; the pictures' heights and widths."""
    sizes = []
    for k, path in enumerate(images.paths):
        picture = read_image(path)
        sizes.append((picture.shape[0], picture.shape[1]))
        np.save(out / f"{k:04}.npy", preprocess(picture, model.info.preprocess)[None])
    return sizes


def pixels(tensor: NDArray[np.float32], how: Preprocess) -> NDArray[np.uint8]:
    """From a tensor back to the uint8 picture, blue green red, before scale, mean and deviation."""
    values = tensor.transpose(1, 2, 0) * np.float32(how.std) + np.float32(how.mean)
    picture = np.rint(values / how.scale).astype(np.uint8)
    return picture[:, :, ::-1] if how.channels == "rgb" else picture


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
