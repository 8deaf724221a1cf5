"""What pruning and int8 cost in real accuracy: a small PP-LCNet trained here on Fashion-MNIST, pruned and
recovered, or quantized.

    python benchmarks/fashion_mnist.py --json fashion.json

The data come from a Debian package. The net is trained once and kept in edgekit's cache. What follows is
`edgekit prune` and `edgekit quantize` as a user calls them: they see the exported program and pictures of the
training split.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from edgekit.cachedir import cache_dir
from edgekit.data import fashion_mnist
from edgekit.data.fashion_mnist import SIDE, Pictures
from edgekit.data.files import build_once

MEAN, STD = 0.286, 0.353  # of the training pictures in 0..1
BATCH, RATE, DECAY = 128, 4e-3, 0.02
RULE = 1  # raise it when the net or its training changes

Log = Callable[[str], None]
Floats = npt.NDArray[np.float32]


def network() -> Any:
    """PP-LCNet's parts at 28 x 28: depthwise separable blocks of 5 x 5 with SE, the last with a shortcut."""
    from paddle import nn
    from paddle.nn import functional as F

    def conv(i: int, o: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Any]:
        layer = nn.Conv2D(i, o, kernel, stride, padding=kernel // 2, groups=groups, bias_attr=False)
        return [layer, nn.BatchNorm2D(o), nn.ReLU()]

    class SE(nn.Layer):  # type: ignore[misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.pool, inner = nn.AdaptiveAvgPool2D(1), channels // 4
            self.squeeze, self.excite = nn.Conv2D(channels, inner, 1), nn.Conv2D(inner, channels, 1)

        def forward(self, x: Any) -> Any:
            return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(self.pool(x)))))

    class Block(nn.Layer):  # type: ignore[misc]
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.body, self.shortcut = nn.Sequential(*conv(i, i, 5, 1, i), SE(i), *conv(i, o, 1)), i == o

        def forward(self, x: Any) -> Any:
            return x + self.body(x) if self.shortcut else self.body(x)

    return nn.Sequential(
        *conv(3, 32, 5, 2), *conv(32, 96, 3, 2), Block(96, 160), Block(160, 160),
        nn.AdaptiveAvgPool2D(1), nn.Conv2D(160, 256, 1), nn.Hardswish(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def tensor(images: npt.NDArray[np.uint8]) -> Floats:
    """[n, 28, 28] -> [n, 3, 28, 28], as edgekit's pre-processing makes it of a grey picture."""
    grey = ((images.astype(np.float32) / 255 - MEAN) / STD)[:, None]
    return np.repeat(grey, 3, axis=1)


def train(data: Pictures, folder: Path, epochs: int, log: Log) -> None:
    """Write `folder/inference.*`: a static graph, whose convolutions oneDNN can take: a third of the time."""
    import paddle
    from paddle.nn import functional as F

    paddle.enable_static()
    paddle.seed(0)
    main, start = paddle.static.Program(), paddle.static.Program()
    steps = epochs * (len(data.labels) // BATCH)
    with paddle.static.program_guard(main, start), paddle.utils.unique_name.guard():
        x = paddle.static.data("x", [None, 3, SIDE, SIDE])
        y = paddle.static.data("y", [None], "int64")
        logits = network()(x)
        answer = F.softmax(logits)
        inference = main.clone(for_test=True)
        loss = F.cross_entropy(logits, y)
        rate = paddle.optimizer.lr.OneCycleLR(RATE, steps + 1, divide_factor=10, phase_pct=0.15)
        paddle.optimizer.AdamW(rate, weight_decay=DECAY).minimize(loss)
    for op in main.global_block().ops:
        if op.type.removesuffix("_grad") in ("conv2d", "depthwise_conv2d"):
            op._set_attr("use_mkldnn", True)
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(start)
    rng = np.random.default_rng(0)
    for epoch in range(epochs):
        order, losses = rng.permutation(len(data.labels)), []
        for k in range(steps // epochs):
            chosen = order[k * BATCH : (k + 1) * BATCH]
            images = data.images[chosen]
            flipped = rng.random(BATCH) < 0.5
            images[flipped] = images[flipped, :, ::-1]
            feed = {"x": tensor(images), "y": data.labels[chosen].astype(np.int64)}
            losses.append(float(executor.run(main, feed=feed, fetch_list=[loss])[0]))
            rate.step()
        log(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.4f}")
    wanted = inference.global_block().var(answer.name)
    given = inference.global_block().var("x")
    paddle.static.save_inference_model(
        str(folder / "inference"), [given], [wanted], executor, program=inference, clip_extra=False
    )
    paddle.disable_static()


def trained(cache: Path, epochs: int, log: Log) -> Path:
    """The folder of the exported float program and training.json, trained unless it is in the cache."""

    def make(folder: Path) -> None:
        data = fashion_mnist.load("training", cache, False, log)
        began, cpu = time.perf_counter(), time.process_time()
        train(data, folder, epochs, log)
        found = {
            "minutes": (time.perf_counter() - began) / 60,
            "cpu_minutes": (time.process_time() - cpu) / 60,
            "epochs": epochs,
            "cores": os.cpu_count(),
            "load_1min": os.getloadavg()[0],
        }
        (folder / "training.json").write_text(json.dumps(found, indent=1) + "\n")

    return build_once(cache / "benchmarks" / f"fashion-mnist-{epochs}-{RULE}", make, log)


def measure(folder: Path, data: Pictures) -> dict[str, float]:
    """Top-1, parameters and multiply-accumulates of `folder/inference.*`."""
    from edgekit.backends import paddle as backend
    from edgekit.program import cost, graph

    files = graph.locate(folder)
    program = graph.read(*files)
    return {
        "top1": top1(backend.load(*files), program.feeds[0], data),
        "params": cost.parameter_count(program),
        "macs": sum(cost.layer_costs(program).values()),
    }


def top1(run: Callable[[dict[str, Floats]], dict[str, Floats]], feed: str, data: Pictures) -> float:
    right = 0
    for k in range(0, len(data.labels), 500):
        (answer,) = run({feed: tensor(data.images[k : k + 500])}).values()
        right += int((answer.argmax(1) == data.labels[k : k + 500]).sum())
    return right / len(data.labels)


def quantized(folder: Path, out: Path, data: Pictures, *options: str) -> dict[str, float]:
    """`edgekit quantize` and `convert`; top-1 of the ONNX and of Paddle's simulation of the `.nb`."""
    from edgekit.backends import onnx
    from edgekit.backends import paddle as backend
    from edgekit.program import graph
    from edgekit.quantization import table, write_paddle

    minutes = edgekit("quantize", folder, out, "--recipe", str(folder / "fashion.yaml"), *options)
    edgekit("convert", out, Path(f"{out}.files"))
    program = write_paddle.simulated(graph.load(out / table.INT8))
    Path(f"{out}.simulated").mkdir()
    graph.write(program, Path(f"{out}.simulated"))
    files = (Path(f"{out}.simulated") / f"inference.{kind}" for kind in ("pdmodel", "pdiparams"))
    return {
        "minutes": minutes,
        "top1": top1(onnx.load(Path(f"{out}.files") / "fashion.int8.onnx"), program.feeds[0], data),
        "top1_paddle": top1(backend.load(*files, optimise=False), program.feeds[0], data),
    }


RECIPE = """
name: fashion
task: classification
weights:
  - file: .
    files: {pdmodel: {path: inference.pdmodel}, pdiparams: {path: inference.pdiparams}}
program: {outputs: {probabilities: OUTPUT}, input_shape: [1, 3, 28, 28]}
preprocess:
  resize: {kind: exact, height: 28, width: 28, interpolation: linear}
  mean: [0.286, 0.286, 0.286]
  std: [0.353, 0.353, 0.353]
postprocess: {kind: classification, probabilities: probabilities}
labels: labels.txt
data:
  calibration: {path: pictures, count: 256}
  evaluation: {path: pictures, count: 10}
"""


def describe(folder: Path, data: Pictures, count: int) -> None:
    """A recipe beside the program, and `count` pictures of the training split with their labels."""
    import cv2

    from edgekit.program import graph

    (output,) = graph.load(folder).fetches
    (folder / "fashion.yaml").write_text(RECIPE.replace("OUTPUT", output))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in fashion_mnist.CLASSES))
    lines = []
    for k in np.random.default_rng(1).permutation(len(data.labels))[: count + 10]:
        # edgekit wants a folder to evaluate with, too; accuracy is measured here, on the real test pictures.
        part = "calibration" if len(lines) < count else "evaluation"
        path = folder / "pictures" / part / f"{k:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), data.images[k])
        lines.append(f"{path.name} {data.labels[k]}\n")
    (folder / "classes.txt").write_text("".join(lines))


def edgekit(command: str, folder: Path, out: Path, *options: str) -> float:
    """Run a command, and how many minutes it took."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "edgekit", command, str(folder), "--out", str(out), *options]
    subprocess.run(words, check=True, stdout=sys.stderr)
    return (time.perf_counter() - began) / 60


@click.command()
@click.option("--epochs", default=8, show_default=True, help="Of training the float net.")
@click.option("--flops", default="-50%", show_default=True, help="The budget of pruning.")
@click.option("--minutes", default=3.0, show_default=True, help="Of distillation; 0 leaves it out.")
@click.option("--pictures", default=20000, show_default=True, help="Of the training split to distil on.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers.")
def main(epochs: int, flops: str, minutes: float, pictures: int, file: Path | None) -> None:
    """Top-1 on the 10 000 evaluation pictures of Fashion-MNIST: float, pruned, int8."""
    cache = cache_dir()
    evaluation = fashion_mnist.load("evaluation", cache, False, click.echo)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "float"
        shutil.copytree(trained(cache, epochs, click.echo), folder)
        describe(folder, fashion_mnist.load("training", cache, False, click.echo), pictures)
        training = json.loads((folder / "training.json").read_text())
        rows = {"float": {**measure(folder, evaluation), "minutes": training["minutes"]}}
        wanted = {"pruned": ["--flops", flops]}
        if minutes:
            teach = ["--distil", str(minutes)]
            for setting in (f"pictures={pictures}", "batch=64"):
                teach += ["--set", f"prune.distil.{setting}"]
            wanted["distilled"] = [*wanted["pruned"], *teach]
            wanted["with labels"] = [*wanted["distilled"], "--labels", str(folder / "classes.txt")]
        for name, options in wanted.items():
            out = Path(scratch) / name
            options += ["--recipe", str(folder / "fashion.yaml")]
            rows[name] = {"minutes": edgekit("prune", folder, out, *options), **measure(out, evaluation)}
        int8 = {"int8 kl": ["quantize.method=kl"]}
        if minutes:
            int8["int8 pact"] = ["quantize.method=pact", f"quantize.pact.minutes={minutes}"]
            int8["int8 pact"] += [f"quantize.pact.pictures={pictures}", "quantize.pact.batch=64"]
        for name, settings in int8.items():
            options = [word for setting in settings for word in ("--set", setting)]
            rows[name] = quantized(folder, Path(scratch) / name, evaluation, *options)
    click.echo(f"{'':12}{'top-1':>9}{'M MACs':>9}{'params':>9}{'minutes':>9}")
    for name, row in rows.items():
        numbers = f"{'':18}{row['minutes']:>9.1f}"
        if "macs" in row:
            numbers = f"{row['macs'] / 1e6:>9.2f}{row['params']:>9}{row['minutes']:>9.1f}"
        if "top1_paddle" in row:
            numbers += f"   {row['top1_paddle']:.2%} in Paddle's simulation of the .nb"
        click.echo(f"{name:12}{row['top1']:>9.2%}{numbers}")
    if file is not None:
        found = {"training": training, "flops": flops, "pictures": pictures, **rows}
        file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
