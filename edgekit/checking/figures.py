"""The task's figures on the evaluation pictures, measured anew and compared with the recorded ones.

A figure is red when it got worse beyond what the choice of the pictures explains: picture by picture where
both runs' contributions are known (`outcomes.npz`), else from the recorded interval.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from edgekit import gates, significance
from edgekit.apps.bundles import Bundle
from edgekit.backends import onnx
from edgekit.backends.paddle import Arrays
from edgekit.checking.findings import Finding, Verdict
from edgekit.console import Progress
from edgekit.data import prepare
from edgekit.data.images import ImageSet, folder_set, read_image
from edgekit.data.prepare import DataSpec
from edgekit.errors import EdgekitError
from edgekit.quantization import table
from edgekit.recipe import Gate
from edgekit.results import Preset, Results
from edgekit.significance import Difference, Interval, Outcome
from edgekit.stages import validate
from edgekit.tasks import evaluate, outcomes
from edgekit.tasks.evaluate import Answer
from edgekit.tasks.outcomes import Kept
from edgekit.tasks.preprocessing import preprocess

STEP = "figures"
# Paddle's simulation of int8 takes several times as long as ONNX Runtime; it runs on the first of them.
SIMULATED, SIMULATED_PICTURES = "int8.paddle", 50
Run = Callable[[Arrays], Arrays]


@dataclass
class Measured:
    """What was measured anew: contributions by target, figures, and targets that could not be run."""

    kept: Kept
    failed: dict[str, str] = field(default_factory=dict)  # target -> why

    def value(self, target: str, figure: str) -> float | None:
        outcome = self.kept.targets.get(target, {}).get(figure)
        return None if outcome is None else significance.value(outcome)


def recorded(bundle: Bundle) -> Kept:
    """Raises EK409 when the bundle has no contributions to compare with."""
    kept = outcomes.load(bundle.info, bundle.path)
    if kept is None:
        raise EdgekitError(
            "EK409",
            f"{bundle.path} has no {outcomes.FILE}: it was written by an edgekit that kept no answers to "
            "compare with. Make it anew with edgekit compress.",
        )
    return kept


def pictures(
    bundle: Bundle,
    manifest: dict[str, Any],
    data: Path | None,
    cache: Path,
    offline: bool,
    progress: Progress,
) -> ImageSet:
    """The evaluation pictures that the bundle's figures were measured on, from the cache or made anew.

    Raises EK107 when they were the user's own and --data is not given, EK408 when these are others.
    """
    said = (manifest.get("data") or {}).get("evaluation") or {}
    kind, count, seed = said.get("kind"), said.get("n"), said.get("seed")
    if data is not None:
        images = folder_set(data, "evaluation", count, bundle.info.task)
    elif kind is None or kind == "folder" or seed is None:
        raise EdgekitError(
            "EK107",
            f"{bundle.path} was measured on {said.get('name', 'pictures of your own')}: say where these are "
            "with --data.",
        )
    else:
        spec = DataSpec(kind=kind, task=bundle.info.task)
        images = prepare.prepare(spec, "evaluation", count, seed, cache, offline, progress.line)
    if images.digest != said.get("digest"):
        raise EdgekitError(
            "EK408",
            f"{bundle.path} was measured on other pictures than these ({images.origin}): recorded is "
            f"{said.get('origin')}, sha256 {said.get('digest')}; here it is {images.digest}.",
        )
    return images


def measure(bundle: Bundle, before: Kept, images: ImageSet, progress: Progress) -> Measured:
    """Every backend that can run here, on every picture. A backend that fails is a finding, no error."""
    info = bundle.info
    runs: dict[str, Run] = {}
    found = Measured(Kept([path.name for path in images.paths], before.reference))
    with tempfile.TemporaryDirectory() as scratch:
        for kind, file in bundle.onnx.items():
            _try(found, f"{kind}.onnx", runs, partial(onnx.load, file))
        int8 = bundle.path / "paddle" / table.INT8
        if int8.is_dir():
            _try(found, "int8.paddle", runs, partial(validate.simulation, int8, Path(scratch)))
    answers: dict[str, list[Answer]] = {target: [] for target in runs}
    with progress.task("Checking", len(images.paths)) as advance:
        for k, path in enumerate(images.paths):
            if k == SIMULATED_PICTURES:
                runs.pop(SIMULATED, None)
            picture = read_image(path)
            size = (picture.shape[0], picture.shape[1])
            feed = {info.inputs[0].name: preprocess(picture, info.preprocess)[None]}
            for target, run in list(runs.items()):
                try:
                    answers[target].append(evaluate.answers(info, run(feed), size))
                except EdgekitError as error:
                    found.failed[target] = error.message
                    del runs[target], answers[target]
            advance()
    for target, got in answers.items():
        seen = dataclasses.replace(images, paths=images.paths[: len(got)])
        try:
            part = validate.contributions(info, seen, before.reference[: len(got)], {target: got})
        except EdgekitError as error:  # labels that do not fit the annotations any more
            found.failed[target] = error.message
        else:
            found.kept.targets[target] = part.targets[target]
    return found


def _try(found: Measured, target: str, runs: dict[str, Run], load: Callable[[], Run]) -> None:
    try:
        runs[target] = load()
    except EdgekitError as error:
        found.failed[target] = error.message


def compare(measured: Measured, before: Kept, than: str) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Against contributions on the same pictures, by target and figure; `than`: whose they are."""
    rows = [
        (target, figure, outcome.first(new.n), new)
        for target, figures in before.targets.items()
        for figure, outcome in figures.items()
        if (new := measured.kept.targets.get(target, {}).get(figure)) is not None
    ]
    found: list[Finding] = []
    told: list[dict[str, Any]] = []
    for target, why in measured.failed.items():
        found.append(Finding(STEP, target, "failed", why))
    for target, figure, old, new in rows:
        change = significance.difference(old, new)
        if change is not None:
            found.append(
                _finding(target, figure, significance.value(old), significance.value(new), change, than)
            )
        elif significance.value(old) is not None:
            found.append(Finding(STEP, f"{target} {figure}", "failed", "it is not measurable any more"))
        told.append(_row(target, figure, old, new, change, than))
    return found, told


def completed(measured: Measured, before: Kept) -> tuple[Measured, set[str]]:
    """With the recorded contributions of targets that ran on some of the pictures only, and these targets: a
    gate is for all pictures, and `compare` has said whether the target is what it was."""
    some = {
        target
        for target, figures in measured.kept.targets.items()
        if target in before.targets and next(iter(figures.values())).n < len(before.names)
    }
    targets = measured.kept.targets | {target: before.targets[target] for target in some}
    return Measured(dataclasses.replace(measured.kept, targets=targets), measured.failed), some


def compare_with_results(
    measured: Measured, row: Preset, names: dict[str, str], digest: str, than: str
) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Against recorded figures and their intervals. `names`: target -> what it is called there."""
    found: list[Finding] = []
    told: list[dict[str, Any]] = []
    same = row.evaluation is not None and row.evaluation.digest == digest
    if not same:
        says = "they are of other pictures; the intervals are those of either set"
        found.append(Finding(STEP, than, "warning", says))
    for target, figures in measured.kept.targets.items():
        for figure, old in row.accuracy.get(names.get(target, target), {}).items():
            if figure not in figures:
                continue
            new, around = significance.value(figures[figure]), significance.interval(figures[figure])
            if new is None or around is None or old.low is None or old.high is None or old.n is None:
                says = "recorded without an interval: record it again"
                found.append(Finding(STEP, f"{target} {figure}", "skipped", says))
                continue
            before = Interval(old.low, old.high, significance.LEVEL, old.n, around.method)
            change = significance.apart(old.value, before, new, around)
            found.append(_finding(target, figure, old.value, new, change, than))
            told.append(
                {
                    "target": target, "figure": figure, "than": than, "before": old.value, "after": new,
                    "n": change.n, "difference": asdict(change),
                }
            )  # fmt: skip
    return found, told


def _finding(
    target: str, figure: str, before: float | None, after: float | None, change: Difference, than: str
) -> Finding:
    subject = f"{target} {figure}"
    if change.method == "identical":
        return Finding(
            STEP, subject, "passed", f"{_number(after)}, n = {change.n}: as {than}, picture by picture"
        )
    p = f", p = {change.p:.2g}" if change.p is not None else ""
    says = (
        f"{_number(before)} -> {_number(after)}, n = {change.n}: {change.value:+.4f} "
        f"[{change.low:+.4f}, {change.high:+.4f}] ({change.level:.0%}, {change.method}{p}) against {than}"
    )
    if change.is_worse(figure):
        return Finding(STEP, subject, "failed", f"worse: {says}")
    return Finding(STEP, subject, "passed", f"{'better' if change.is_better(figure) else 'no worse'}: {says}")


def _row(
    target: str, figure: str, old: Outcome, new: Outcome, change: Difference | None, than: str
) -> dict[str, Any]:
    # Of a figure that is as it was the interval is the recorded one.
    changed = change is None or change.method != "identical"
    around = significance.interval(new) if changed else None
    return {
        "target": target,
        "figure": figure,
        "than": than,
        "before": significance.value(old),
        "after": significance.value(new),
        "interval": asdict(around) if around is not None else None,
        "difference": asdict(change) if change is not None else None,
    }


def judge(
    manifest: dict[str, Any],
    measured: Measured,
    before: Kept,
    sets: dict[str, Gate],
    annotated: bool,
    remembered: set[str],
) -> list[Finding]:
    """The recorded gates, `sets` over them, on what was measured anew; what needs the float original's raw
    outputs or a stopwatch, and the targets `remembered`, stay as recorded, and say so."""
    metrics: gates.Metrics = {target: dict(values) for target, values in manifest["metrics"].items()}
    anew: set[tuple[str, str]] = set()
    for target, figures in measured.kept.targets.items():
        values = {figure: significance.value(outcome) for figure, outcome in figures.items()}
        first = before.targets.get(validate.original_among(before.targets), {})
        if first:
            values |= validate.changes(
                {name: significance.value(each) for name, each in first.items()}, values
            )
        for figure, value in values.items():
            metrics.setdefault(target, {})[figure] = value
            if target not in remembered:
                anew.add((target, figure))
    for target in measured.failed:
        metrics[target] = dict.fromkeys(metrics.get(target, {}))
    rows = {(row["target"], row["metric"]): row for row in manifest["gates"]}
    bounds = {f"{target}/{metric}": Gate.parse(row["bound"]) for (target, metric), row in rows.items()}
    for key, gate in sets.items():
        metric = key.rpartition("/")[2]
        if key == metric:  # binds every target, as in a recipe
            bounds = {name: bound for name, bound in bounds.items() if name.rpartition("/")[2] != metric}
        bounds[key] = gate
    found = []
    for row in gates.judge(bounds, metrics, annotated):
        known = (row["target"], row["metric"]) in anew or row["measured"] is None
        says = f"{_number(row['measured'])}{'' if known else ' as recorded'}, asked for {row['bound']}"
        says += f" ({row['note']})" if row["note"] else ""
        verdict: Verdict = "passed" if row["passed"] else "failed"
        if row["passed"] and row["measured"] is None:
            verdict = "skipped"
        found.append(Finding("gates", f"{row['target']} {row['metric']}", verdict, says))
    return found


def row_of(results: Results, manifest: dict[str, Any], where: Path) -> Preset:
    """The section of the bundle's preset. Raises EK107 when the results are of another recipe or lack it."""
    preset = manifest.get("preset") or "default"
    if results.recipe != manifest.get("recipe") or preset not in results.presets:
        known = ", ".join(f"{results.recipe} {name}" for name in results.presets)
        raise EdgekitError(
            "EK107", f"{where} has {known}, the bundle is of {manifest.get('recipe')}, preset {preset}."
        )
    return results.presets[preset]


def _number(value: float | int | None) -> str:
    return "not measured" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def names_in_results(targets: Iterable[str]) -> dict[str, str]:
    """What targets are called in results files; see `edgekit.results.of_report`."""
    return {"fp32.paddle": "pruned"} if validate.ORIGINAL in targets else {"fp32.paddle": "float"}
