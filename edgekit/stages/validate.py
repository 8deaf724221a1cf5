"""validate: every backend that this machine can run against the float program, on evaluation pictures.

Nothing is compared with itself: the reference is the program as it was fetched, run by Paddle. Of a pruned
model the float files are held against the pruned program (is the conversion right?), and everything against
the original (what was lost?).
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import cpu, significance
from edgekit.backends import lite, onnx, paddle
from edgekit.backends.paddle import Arrays
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.folder import PARAMETERS, PROGRAM, ModelFolder, ModelInfo
from edgekit.program import graph
from edgekit.quantization import table, write_paddle
from edgekit.report.text import AGREEMENT
from edgekit.significance import Outcome
from edgekit.stages import worst
from edgekit.tasks import evaluate, outcomes
from edgekit.tasks.detection import Detections
from edgekit.tasks.evaluate import Answer
from edgekit.tasks.outcomes import Kept
from edgekit.tasks.preprocessing import preprocess
from edgekit.tasks.text_detection import Regions
from edgekit.tasks.text_recognition import Reading

FILE = "validation.json"
GOLDEN = "golden"
GOLDEN_PICTURES, GOLDEN_SHAPES = 3, 2  # the first ones, and those of other shapes until there are so many
LITE_PICTURES = 8  # Paddle Lite runs in a child process that gets its pictures as files
LATENCY_RUNS = 40
_SCORE_NOISE = 1e-3
_PIXELS = 2.0  # corners are rounded to whole pixels of the picture, which may be finer than the map's

# What a metric against the truth lost to the float model: positive is worse.
_CHANGES = (
    ("ap", "ap_drop", -1),
    ("top1", "top1_drop", -1),
    ("hmean", "hmean_drop", -1),
    ("exact", "exact_drop", -1),
    ("cer", "cer_rise", 1),
)

Metrics = dict[str, float | int | None]
BOTH = "int8.onnx~int8.paddle"
ORIGINAL, FLOAT = "original", "fp32.paddle"
# Whose answers are shown beside the float original's: the first of these that was run.
JUDGED = ("int8.onnx", "int8.paddle", "fp32.onnx", FLOAT)


@dataclass
class Difference:
    """Running sums over one output tensor: cosine, SQNR and the largest difference to the reference."""

    dot: float = 0.0
    reference: float = 0.0
    got: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    values: int = 0

    def add(self, reference: npt.NDArray[np.float32], got: npt.NDArray[np.float32]) -> None:
        a, b = reference.astype(np.float64).ravel(), got.astype(np.float64).ravel()
        noise = b - a
        self.dot += float(a @ b)
        self.reference += float(a @ a)
        self.got += float(b @ b)
        self.noise += float(noise @ noise)
        top = float(np.abs(noise).max(initial=0.0))
        self.largest = top if math.isnan(top) else max(self.largest, top)
        self.values += a.size

    @property
    def cosine(self) -> float:
        norm = math.sqrt(self.reference * self.got)
        return self.dot / norm if norm > 0 else float(self.reference == self.got)

    @property
    def sqnr_db(self) -> float | None:
        """10 log10(signal power / noise power); None when nothing differs."""
        if self.noise == 0:
            return None
        return 10 * math.log10(self.reference / self.noise) if self.reference > 0 else -math.inf


@dataclass
class Target:
    """A backend under test, what it answered, and how its raw outputs differ."""

    name: str
    run: Callable[[Arrays], Arrays]
    base: str = ORIGINAL  # whose raw outputs these are compared with
    answers: list[Answer] = field(default_factory=list)
    differences: dict[str, Difference] = field(default_factory=dict)

    def add(self, info: ModelInfo, reference: Arrays, got: Arrays, size: tuple[int, int]) -> None:
        compare(self.differences, reference, got)
        self.answers.append(evaluate.answers(info, got, size))


def compare(differences: dict[str, Difference], reference: Arrays, got: Arrays) -> None:
    for name, value in reference.items():
        differences.setdefault(name, Difference()).add(value, got[name])


def run(
    reference: ModelFolder,
    original: Path | None,
    exported: ModelFolder,
    converted: Path,
    images: ImageSet,
    out: Path,
    progress: Progress,
) -> str:
    """Measure and write `validation.json`, `outcomes.npz` and `golden/`. Gates are judged later: a new bound
    needs no new run. `original`: the float original's files, for a pruned model."""
    info = reference.info
    name = info.name
    float_run = paddle.load(reference.program, reference.parameters)
    pruned = exported.info.is_pruned
    targets = _targets(exported, converted, out, pruned)
    float_answers: list[Answer] = []
    both: dict[str, Difference] = {}
    lite_feeds: list[Arrays] = []
    lite_references: list[Arrays] = []
    x86 = converted / f"{name}.fp32.x86.nb"
    timed = {info.inputs[0].name: preprocess(read_image(images.paths[0]), info.preprocess.nominal)[None]}
    shapes: set[tuple[int, ...]] = set()
    golden = 0
    with progress.task("Validating", len(images.paths)) as advance:
        for k, path in enumerate(images.paths):
            picture = read_image(path)
            size = (picture.shape[0], picture.shape[1])
            tensor = preprocess(picture, info.preprocess)[None]
            feed = {info.inputs[0].name: tensor}
            wanted = float_run(feed)
            float_answers.append(evaluate.answers(info, wanted, size))
            got = {ORIGINAL: wanted, **{target.name: target.run(feed) for target in targets}}
            for target in targets:
                target.add(info, got[target.base], got[target.name], size)
            same = got.get(FLOAT, wanted)
            if "int8.onnx" in got and "int8.paddle" in got:
                compare(both, got["int8.paddle"], got["int8.onnx"])
            if k < LITE_PICTURES and x86.is_file():
                lite_feeds.append(feed)
                lite_references.append(same)
            if k < GOLDEN_PICTURES or (len(shapes) < GOLDEN_SHAPES and tensor.shape not in shapes):
                shapes.add(tensor.shape)
                _golden(
                    out / GOLDEN / f"{golden}", path, picture, feed, got, float_answers[-1], targets, info
                )
                golden += 1
            advance()

    metrics, rows = _against_float(info, images, float_answers, targets)
    kept = contributions(info, images, float_answers, {each.name: each.answers for each in targets})
    outcomes.save(info, kept, out)
    if both:
        metrics[BOTH] = _summary(both)
        rows += _outputs(BOTH, both)
    if lite_feeds:
        differences: dict[str, Difference] = {}
        for wanted, answer in zip(
            lite_references, lite.run_x86(x86, lite_feeds, list(lite_references[0])), strict=True
        ):
            compare(differences, wanted, answer)
        metrics["fp32.nb"] = {**_summary(differences), "n": len(lite_feeds)}
        rows += _outputs("fp32.nb", differences)
    _sizes(metrics, original or converted, converted, name)
    latency = _latency(original, converted, name, timed, progress)
    if latency is not None and latency.get("int8_ms") is not None:
        metrics["int8.onnx"]["latency_ratio"] = latency["int8_ms"] / latency.get(
            "original_ms", latency["float_ms"]
        )
    of = {ORIGINAL if pruned else FLOAT: float_answers, **{t.name: t.answers for t in targets}}
    judged = next((name for name in JUDGED if name in of), None)
    measured: dict[str, Any] = {
        "metrics": metrics,
        "intervals": intervals(kept),
        "outputs": rows,
        "latency": latency,
        "agreement": _matrix(info, of, metrics, progress),
        "judged": judged,
        "pictures": worst.pictures(info, images, float_answers, of[judged]) if judged else [],
        "machine": _machine(),
    }
    (out / FILE).write_text(json.dumps(measured, indent=1) + "\n")
    key, _ = AGREEMENT[info.task]
    told = [
        f"{target.name} {found[key]:.4f}"
        for target in targets
        if (found := metrics[target.name]).get(key) is not None
    ]
    return f"{key} on {len(images.paths)} pictures: {', '.join(told)}"


def _sizes(metrics: dict[str, Metrics], before: Path, after: Path, name: str) -> None:
    """Sizes relative to the float original's."""
    for kind in ("onnx", "nb"):
        reference = before / f"{name}.fp32.{kind}"
        for what in ("fp32", "int8"):
            file = after / f"{name}.{what}.{kind}"
            if file.is_file() and reference.is_file() and file != reference:
                ratio = file.stat().st_size / reference.stat().st_size
                metrics.setdefault(f"{what}.{kind}", {})["size_ratio"] = ratio


def _against_float(
    info: ModelInfo, images: ImageSet, float_answers: list[Answer], targets: list[Target]
) -> tuple[dict[str, Metrics], list[dict[str, Any]]]:
    """Metrics of every target, and of the float program itself where there is truth; rows per raw output."""
    first = original([target.name for target in targets])
    metrics: dict[str, Metrics] = {first: {"n": len(float_answers)}}
    names = [path.name for path in images.paths]
    if images.annotations is not None:
        metrics[first].update(evaluate.truth(info, images.annotations, names, float_answers))
    of = {ORIGINAL: float_answers, **{target.name: target.answers for target in targets}}
    outputs: list[dict[str, Any]] = []
    for target in targets:
        found = evaluate.compare(info, float_answers, target.answers)
        found.update(_summary(target.differences))
        found["identical_answers"] = _identical(of[target.base], target.answers)
        if images.annotations is not None:
            found.update(evaluate.truth(info, images.annotations, names, target.answers))
            found.update(changes(metrics[first], found))
        metrics[target.name] = found
        outputs += _outputs(target.name, target.differences)
    return metrics, outputs


def contributions(
    info: ModelInfo, images: ImageSet, reference: list[Answer], answers: dict[str, list[Answer]]
) -> Kept:
    """What each picture contributes to the figures of each target, and of the float original."""
    names = [path.name for path in images.paths]
    found: dict[str, dict[str, Outcome]] = {}
    if images.annotations is not None:
        found[original(list(answers))] = outcomes.truth(info, images.annotations, names, reference)
    for target, got in answers.items():
        found[target] = outcomes.agreement(info, reference, got)
        if images.annotations is not None:
            found[target] |= outcomes.truth(info, images.annotations, names, got)
    return Kept(names, reference, found)


def original(others: Iterable[str]) -> str:
    """What the float original is called beside these other targets."""
    return ORIGINAL if FLOAT in others else FLOAT


def original_among(targets: Iterable[str]) -> str:
    """What it is called where it is one of these targets itself."""
    return ORIGINAL if ORIGINAL in targets else FLOAT


def intervals(kept: Kept) -> dict[str, dict[str, dict[str, Any]]]:
    """Of every figure, and of what it lost to the float original, by target."""
    first = kept.targets.get(original_among(kept.targets), {})
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for target, figures in kept.targets.items():
        rows = {figure: significance.interval(outcome) for figure, outcome in figures.items()}
        if figures is not first:
            for figure, change, sign in _CHANGES:
                if figure in first and figure in figures:
                    rows[change] = significance.loss(first[figure], figures[figure], sign)
        found[target] = {figure: asdict(row) for figure, row in rows.items() if row is not None}
    return found


def changes(before: Metrics, after: Metrics) -> Metrics:
    """What `after` lost to `before`, metric by metric; what one of them lacks is left out."""
    found: Metrics = {}
    for metric, change, sign in _CHANGES:
        old, new = before.get(metric), after.get(metric)
        if old is not None and new is not None:
            # 0.97 - 0.96 is a little more than 0.01, and a gate of 0.01 must hold. Nor is there a -0.
            found[change] = round(sign * (new - old), 12) + 0.0
    return found


def _matrix(
    info: ModelInfo, of: dict[str, list[Answer]], metrics: dict[str, Metrics], progress: Progress
) -> list[dict[str, Any]]:
    """The task's agreement of each backend's answers with every other's; `truth` is taken for the truth."""
    key, _ = AGREEMENT[info.task]
    pairs = [(truth, judged) for truth in of for judged in of if truth != judged]
    first = next(iter(of))
    rows = []
    with progress.task("Backends with one another", len(pairs)) as advance:
        for truth, judged in pairs:
            value = (
                metrics[judged][key] if truth == first else evaluate.compare(info, of[truth], of[judged])[key]
            )
            rows.append({"truth": truth, "judged": judged, "value": value})
            advance()
    return rows


def _machine() -> dict[str, Any]:
    return {
        "cpu": cpu.model(),
        "cores": cpu.cores(),
        "features": sorted(cpu.flags() & cpu.FEATURES),
        "system": platform.platform(),
    }


def _targets(exported: ModelFolder, converted: Path, scratch: Path, pruned: bool) -> list[Target]:
    name = exported.info.name
    found = []
    if pruned:
        found.append(Target(FLOAT, paddle.load(exported.program, exported.parameters)))
    for kind, base in (("fp32", FLOAT if pruned else ORIGINAL), ("int8", ORIGINAL)):
        file = converted / f"{name}.{kind}.onnx"
        if file.is_file():
            found.append(Target(f"{kind}.onnx", onnx.load(file), base))
    folder = exported.path / table.INT8
    if folder.is_dir() and (exported.path / table.FILE).is_file():
        found.append(Target("int8.paddle", simulation(folder, scratch)))
    return found


def simulation(folder: Path, scratch: Path) -> Callable[[Arrays], Arrays]:
    """Paddle's simulation of a quantized program, which is what the int8 `.nb` is made from."""
    written = scratch / "simulation"
    written.mkdir()
    int8 = graph.read(folder / PROGRAM, folder / PARAMETERS)
    graph.write(write_paddle.simulated(int8), written)
    # Paddle's graph passes would rewrite quantize_linear: the simulation runs the ops as written.
    run = paddle.load(written / PROGRAM, written / PARAMETERS, optimise=False)
    for file in written.iterdir():
        file.unlink()
    written.rmdir()
    return run


def _summary(differences: dict[str, Difference]) -> Metrics:
    """The worst over the outputs."""
    ratios = [d.sqnr_db for d in differences.values() if d.sqnr_db is not None]
    return {
        "cosine": min(d.cosine for d in differences.values()),
        "sqnr_db": min(ratios) if ratios else None,
        "max_abs_diff": max(d.largest for d in differences.values()),
    }


def _outputs(target: str, differences: dict[str, Difference]) -> list[dict[str, Any]]:
    return [
        {
            "target": target,
            "output": name,
            "cosine": d.cosine,
            "sqnr_db": d.sqnr_db,
            "max_abs_diff": d.largest,
            "values": d.values,
        }
        for name, d in differences.items()
    ]


def _identical(reference: list[Answer], got: list[Answer]) -> float:
    """Share of pictures with the same final answer: the same things or text, boxes within half a pixel,
    corners of text within two, scores and probabilities within 0.001 (float noise of another engine)."""
    return sum(_same(a, b) for a, b in zip(reference, got, strict=True)) / max(1, len(reference))


def _same(a: Answer, b: Answer) -> bool:
    if isinstance(a, Reading) and isinstance(b, Reading):
        return a.text == b.text and abs(a.score - b.score) <= _SCORE_NOISE
    if isinstance(a, Regions) and isinstance(b, Regions):
        corners = np.abs(a.quads[:, None] - b.quads[None]).max(axis=(2, 3), initial=0)
        same = (np.abs(a.scores[:, None] - b.scores[None]) <= _SCORE_NOISE) & (corners <= _PIXELS)
        return bool(same.any(1).all() and same.any(0).all())
    if isinstance(a, Detections) and isinstance(b, Detections):
        same = (
            (a.classes[:, None] == b.classes[None])
            & (np.abs(a.scores[:, None] - b.scores[None]) <= _SCORE_NOISE)
            & (np.abs(a.boxes[:, None] - b.boxes[None]).max(axis=2, initial=0) <= 0.5)
        )
        # What lies within the noise of the score threshold may be there or not.
        least = min(a.scores.min(initial=1), b.scores.min(initial=1)) + _SCORE_NOISE
        return bool(same.any(1)[a.scores > least].all() and same.any(0)[b.scores > least].all())
    assert isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return bool(a.argmax() == b.argmax()) and bool(np.allclose(a, b, rtol=0, atol=_SCORE_NOISE))


def _golden(
    folder: Path,
    source: Path,
    picture: npt.NDArray[np.uint8],
    feed: Arrays,
    got: dict[str, Arrays],
    original: Answer,
    targets: list[Target],
    info: ModelInfo,
) -> None:
    """The picture, the tensor after pre-processing, raw outputs and final answers, for self-tests."""
    import cv2

    folder.mkdir(parents=True)
    # PNG, so that every device decodes the same pixels.
    (folder / "picture.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    np.save(folder / "input.npy", next(iter(feed.values())))
    first = ORIGINAL if FLOAT in got else FLOAT
    answers = {"source": source.name, first: evaluate.answer_json(info, original)}
    for target in targets:
        answers[target.name] = evaluate.answer_json(info, target.answers[-1])
    for name in ("fp32.onnx", "int8.onnx"):
        for output, value in got.get(name, {}).items():
            # Paddle's exporter puts slashes into names.
            np.save(folder / f"{name}.{output.replace('/', '_')}.npy", value)
    (folder / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


def _latency(
    original: Path | None, converted: Path, name: str, feed: Arrays, progress: Progress
) -> dict[str, Any] | None:
    """Milliseconds of the original, the float and the int8 file, in turns; None with fewer than two."""
    places = {
        "original_ms": original / f"{name}.fp32.onnx" if original is not None else None,
        "float_ms": converted / f"{name}.fp32.onnx",
        "int8_ms": converted / f"{name}.int8.onnx",
    }
    files = {key: file for key, file in places.items() if file is not None and file.is_file()}
    if len(files) < 2 or "float_ms" not in files:
        return None
    with progress.task("Timing the models in turns"):
        times = dict(zip(files, onnx.latency(list(files.values()), feed, runs=LATENCY_RUNS), strict=True))
    first, last = times[next(iter(files))], times[next(reversed(files))]
    return {
        "engine": "ONNX Runtime",
        "threads": 1,
        "runs": LATENCY_RUNS,
        **times,
        "speedup": first / last,
        "cpu": cpu.model(),
        "vnni": cpu.has_vnni(),
        "slow_int8": cpu.slow_int8(),
    }
