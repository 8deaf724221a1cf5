"""edgekit's KL calibration beside PaddleSlim's: the same model folder, pictures and pre-processing.

    python benchmarks/kl_calibration.py --json kl.json

Each contender runs in a child process of its own. Timed is the work after the imports: reading and
pre-processing the pictures, both passes over them, the threshold search, and writing the result. Pictures
and weights are fetched beforehand.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

PADDLESLIM_OPS = ["conv2d", "depthwise_conv2d", "mul", "matmul", "matmul_v2"]


def prepare(job: dict[str, Any]) -> dict[str, Any]:
    """Fetch the float model folder and the pictures, so that neither contender does."""
    from edgekit import single

    run, recipe = _run_and_recipe(job)
    single.fetch(recipe, out=Path(job["model"]), force=False, dry=False, offline=False, progress=run.progress)
    run.pictures(recipe, None, "calibration")
    return {}


def edgekit(job: dict[str, Any]) -> dict[str, Any]:
    from edgekit.folder import ModelFolder
    from edgekit.quantization import table
    from edgekit.stages import quantize as stage

    run, recipe = _run_and_recipe(job)
    images = run.pictures(recipe, None, "calibration")
    out = Path(job["out"])
    import paddle.inference  # noqa: F401  (seconds of import that neither contender is charged)

    start = time.perf_counter()
    stage.run(ModelFolder.open(Path(job["model"])), recipe.quantize, images, out, run.progress)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "int8_layers": len(table.load(out).quantized), "pictures": len(images.paths)}


def paddleslim(job: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import paddle
    from paddleslim.quant import quant_post_static

    from edgekit.data.images import read_image
    from edgekit.folder import PARAMETERS, PROGRAM, ModelFolder
    from edgekit.program import graph
    from edgekit.program.graph import inputs
    from edgekit.quantization.write_paddle import int8_weights
    from edgekit.tasks.preprocessing import preprocess

    run, recipe = _run_and_recipe(job)
    images = run.pictures(recipe, None, "calibration")
    model = ModelFolder.open(Path(job["model"]))
    paddle.enable_static()

    start = time.perf_counter()
    pictures = [preprocess(read_image(path), model.info.preprocess) for path in images.paths]

    class Pictures(paddle.io.Dataset):  # type: ignore[misc]
        def __getitem__(self, index: int) -> tuple[np.ndarray]:
            return (pictures[index],)

        def __len__(self) -> int:
            return len(pictures)

    executor = paddle.static.Executor(paddle.CPUPlace())
    program, feeds, _ = paddle.static.load_inference_model(
        str(model.path), executor, model_filename=PROGRAM, params_filename=PARAMETERS
    )
    loader = paddle.io.DataLoader(
        Pictures(),
        feed_list=[program.global_block().var(feeds[0])],
        batch_size=job["batch_size"],
        return_list=False,
        places=paddle.CPUPlace(),
    )
    quant_post_static(
        executor,
        str(model.path),
        job["out"],
        data_loader=loader,
        model_filename=PROGRAM,
        params_filename=PARAMETERS,
        algo="KL",
        batch_nums=-(-len(pictures) // job["batch_size"]),
        batch_size=job["batch_size"],
        onnx_format=True,
        quantizable_op_type=PADDLESLIM_OPS,
    )
    seconds = time.perf_counter() - start
    made = graph.read(Path(job["out"]) / "model.pdmodel", Path(job["out"]) / "model.pdiparams")
    # A layer per weight; PaddleSlim also quantizes outputs, which this does not count.
    layers = {name for op in made.ops for name in inputs(op)} & int8_weights(made)
    return {"seconds": seconds, "int8_layers": len(layers), "pictures": len(pictures)}


def _run_and_recipe(job: dict[str, Any]) -> tuple[Any, Any]:
    from edgekit import recipe
    from edgekit.console import Progress
    from edgekit.run import Run

    sets = [f"data.calibration.count={job['pictures']}", "quantize.method=kl", "quantize.repair=[]"]
    found = recipe.load(job["recipe"], None, sets)
    return Run(False, False, Progress()), found


PARTS = {"prepare": prepare, "edgekit": edgekit, "paddleslim": paddleslim}


def _child(part: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run one part in a child process; what it measured, with its peak memory.

    This process stays small: Linux counts the parent's memory at the fork into the child's ru_maxrss.
    """
    result = Path(job["out"]).with_suffix(".json")
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, __file__, "--part", part, "--job", json.dumps({**job, "result": str(result)})],
        check=True,
        stdout=sys.stderr,
    )
    return {**json.loads(result.read_text()), "process_seconds": time.perf_counter() - started}


def _measure(part: str, job: dict[str, Any]) -> None:
    found = PARTS[part](job)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path(job["result"]).write_text(json.dumps({**found, "peak_mib": peak}))


@click.command()
@click.option("--recipe", default="pplcnetv2_base", show_default=True)
@click.option("--pictures", default=128, show_default=True, help="Calibration pictures.")
@click.option("--batch-size", default=16, show_default=True, help="PaddleSlim's; edgekit's is always 1.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers.")
@click.option("--part", type=click.Choice(list(PARTS)), hidden=True)
@click.option("--job", hidden=True)
def main(
    recipe: str, pictures: int, batch_size: int, file: Path | None, part: str | None, job: str | None
) -> None:
    """Time and peak memory of edgekit's KL calibration and of PaddleSlim's quant_post_static(algo='KL')."""
    if part is not None:
        _measure(part, json.loads(job or "{}"))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shared = {
            "recipe": recipe,
            "pictures": pictures,
            "batch_size": batch_size,
            "model": str(folder / "float"),
        }
        _child("prepare", {**shared, "out": str(folder / "prepare")})
        for contender in ("edgekit", "paddleslim"):
            out = folder / contender
            out.mkdir()
            rows[contender] = {
                **_child(contender, {**shared, "out": str(out)}),
                "load_1min": os.getloadavg()[0],
            }
    click.echo(f"{'':12}{'seconds':>10}{'peak MiB':>10}{'int8 layers':>13}{'process s':>11}")
    for name, row in rows.items():
        click.echo(
            f"{name:12}{row['seconds']:>10.1f}{row['peak_mib']:>10.0f}{row['int8_layers']:>13}"
            f"{row['process_seconds']:>11.1f}"
        )
    ratios = {key: rows["paddleslim"][key] / rows["edgekit"][key] for key in ("seconds", "peak_mib")}
    click.echo(f"{'ratio':12}{ratios['seconds']:>10.1f}{ratios['peak_mib']:>10.2f}")
    if file is not None:
        found = {"recipe": recipe, "pictures": pictures, "batch_size": batch_size, "cores": os.cpu_count()}
        file.write_text(json.dumps({**found, **rows, "ratio": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
