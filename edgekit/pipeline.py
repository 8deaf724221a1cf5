"""The stages in their order. Each call runs what the cache does not hold, and returns what to tell."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit import gates, plan, reporting, stage_cache
from edgekit.cachedir import cache_dir
from edgekit.console import Progress
from edgekit.data.cutouts import Split
from edgekit.data.images import ImageSet
from edgekit.errors import EdgekitError
from edgekit.folder import ModelFolder
from edgekit.recipe import Convert, Quantize, Recipe
from edgekit.stage_cache import Done


@dataclass(frozen=True)
class Result:
    """What a command prints and what it writes as JSON."""

    lines: list[str]
    values: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def text(self) -> str:
        return "\n".join(self.lines)

    def as_dict(self) -> dict[str, Any]:
        return self.values

    def raise_for_gates(self) -> None:
        if self.failed:
            raise EdgekitError("EK301", f"{len(self.failed)} gate(s) failed: {'; '.join(self.failed)}.")


@dataclass
class Run:
    """One invocation: where the cache is, what was asked for, what has been done so far."""

    force: bool
    offline: bool
    progress: Progress
    cache: Path = field(default_factory=cache_dir)
    done: list[Done] = field(default_factory=list)
    depended: dict[str, dict[str, Any]] = field(default_factory=dict)

    def stage(self, name: str, components: dict[str, Any], make: Any) -> Done:
        key = stage_cache.key_of(name, components)
        done = stage_cache.run(self.cache, name, key, make, force=self.force, log=self.progress.line)
        how = "cached" if done.cached else f"{done.seconds:.1f} s"
        self.progress.line(f"{name}: {done.summary} ({how})")
        self.done.append(done)
        self.depended[name] = components
        return done

    def pictures(self, recipe: Recipe | None, data: Path | None, split: Split) -> ImageSet:
        return plan.pictures(recipe, data, split, self.cache, self.offline, self.progress)


def compress(
    recipe: Recipe,
    *,
    preset: str | None,
    out: Path | None,
    data: Path | None,
    force: bool,
    dry: bool,
    offline: bool,
    progress: Progress,
) -> Result:
    """fetch, quantize, export, convert, validate, bundle: from trained weights to a proved bundle."""
    bounds = recipe.validation.parsed()
    gates.check_names(bounds)
    run = Run(force, offline, progress)
    if dry:
        return plan.explain(recipe, data, run.cache, offline, progress, force)
    out = out or Path("build") / recipe.name
    plan.refuse_foreign(out)

    first = _fetch(run, recipe)
    model = first
    calibration = None
    if recipe.quantize is not None:
        calibration = run.pictures(recipe, data, "calibration")
        model = _quantize(run, model, recipe.quantize, calibration)
    exported = _export(run, model)
    converted = _convert(run, exported, recipe.convert)
    evaluation = run.pictures(recipe, data, "evaluation")
    validated = _validate(run, first, exported, converted, evaluation)
    plan.remember(run.cache, recipe, run.depended)
    return _bundle(run, recipe, preset, out, exported, converted, validated, calibration, evaluation)


def fetch(
    recipe: Recipe, *, out: Path | None, force: bool, dry: bool, offline: bool, progress: Progress
) -> Result:
    """Only the first stage: the float model folder of a recipe."""
    run = Run(force, offline, progress)
    out = out or Path("build") / f"{recipe.name}.float"
    if dry:
        return plan.explain_fetch(recipe, run.cache)
    return _deliver(run, _fetch(run, recipe), out)


def quantize(
    model: Path,
    recipe: Recipe | None,
    *,
    data: Path | None,
    out: Path | None,
    force: bool,
    dry: bool,
    offline: bool,
    progress: Progress,
) -> Result:
    """A model folder, or a bare program with a recipe -> a folder with a table of scales."""
    run = Run(force, offline, progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch))
        section = recipe.quantize if recipe is not None and recipe.quantize is not None else Quantize()
        out = out or Path("build") / f"{ModelFolder.open(source.path).info.name}.quantized"
        if dry:
            return plan.explain_one("quantize", source)
        return _deliver(run, _quantize(run, source, section, run.pictures(recipe, data, "calibration")), out)


def export(
    model: Path, recipe: Recipe | None, *, out: Path | None, force: bool, dry: bool, progress: Progress
) -> Result:
    """A model folder -> float and int8 programs that the converters accept."""
    run = Run(force, True, progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch))
        out = out or Path("build") / f"{ModelFolder.open(source.path).info.name}.exported"
        return plan.explain_one("export", source) if dry else _deliver(run, _export(run, source), out)


def convert(
    model: Path, recipe: Recipe | None, *, out: Path | None, force: bool, dry: bool, progress: Progress
) -> Result:
    """A model folder -> .onnx and .nb files."""
    run = Run(force, True, progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch))
        out = out or Path("build") / f"{ModelFolder.open(source.path).info.name}.converted"
        if dry:
            return plan.explain_one("convert", source)
        section = recipe.convert if recipe is not None else Convert()
        return _deliver(run, _convert(run, _export(run, source), section), out)


def validate(
    model: Path,
    recipe: Recipe | None,
    *,
    reference: Path | None,
    data: Path | None,
    out: Path | None,
    force: bool,
    dry: bool,
    offline: bool,
    progress: Progress,
) -> Result:
    """Compare a model with its float original and judge the recipe's gates."""
    run = Run(force, offline, progress)
    bounds = recipe.validation.parsed() if recipe is not None else {}
    gates.check_names(bounds)
    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch) / "model")
        if dry:
            return plan.explain_one("validate", source)
        if reference is not None:
            original = plan.open_done(reference, recipe, Path(scratch) / "reference")
        elif recipe is not None:
            original = _fetch(run, recipe)
        else:
            raise EdgekitError(
                "EK107",
                f"validate compares {model} with its float original: name that with --reference, or give the "
                "--recipe whose weights it came from.",
            )
        exported = _export(run, source)
        converted = _convert(run, exported, recipe.convert if recipe is not None else Convert())
        evaluation = run.pictures(recipe, data, "evaluation")
        validated = _validate(run, original, exported, converted, evaluation)
        if out is not None:
            stage_cache.copy_out(validated, out)
        measured = _measured(validated)
        rows = gates.judge(bounds, measured["metrics"], evaluation.annotations is not None)
        values = {**measured, "gates": rows, "verdict": _verdict(rows)}
        return Result(
            [*reporting.metric_lines(measured["metrics"]), *reporting.gate_lines(rows)], values, _failed(rows)
        )


def inspect(model: Path) -> Result:
    """Layers, parameters, MACs and ops of a program; which layers are int8."""
    from edgekit import inspection

    return inspection.inspect(model)


def _fetch(run: Run, recipe: Recipe) -> Done:
    from edgekit.stages import fetch as stage

    return run.stage(
        "fetch",
        stage.components(recipe),
        lambda out: stage.run(recipe, out, run.cache, run.offline, run.progress.line),
    )


def _quantize(run: Run, model: Done, section: Quantize, images: ImageSet) -> Done:
    components = plan.quantize_components(model.key, section, images.digest)

    def make(out: Path) -> str:
        from edgekit.stages import quantize as stage

        return stage.run(ModelFolder.open(model.path), section, images, out, run.progress)

    return run.stage("quantize", components, make)


def _export(run: Run, model: Done) -> Done:
    def make(out: Path) -> str:
        from edgekit.stages import export as stage

        return stage.run(ModelFolder.open(model.path), out)

    return run.stage("export", plan.export_components(model.key), make)


def _convert(run: Run, exported: Done, section: Convert) -> Done:
    def make(out: Path) -> str:
        from edgekit.stages import convert as stage

        return stage.run(ModelFolder.open(exported.path), section, out, run.progress)

    return run.stage("convert", plan.convert_components(exported.key, section), make)


def _validate(run: Run, first: Done, exported: Done, converted: Done, images: ImageSet) -> Done:
    components = plan.validate_components(first.key, converted.key, images.digest)

    def make(out: Path) -> str:
        from edgekit.stages import validate as stage

        return stage.run(
            ModelFolder.open(first.path),
            ModelFolder.open(exported.path),
            converted.path,
            images,
            out,
            run.progress,
        )

    return run.stage("validate", components, make)


def _bundle(
    run: Run,
    recipe: Recipe,
    preset: str | None,
    out: Path,
    exported: Done,
    converted: Done,
    validated: Done,
    calibration: ImageSet | None,
    evaluation: ImageSet,
) -> Result:
    from edgekit import bundle

    measured = _measured(validated)
    rows = gates.judge(recipe.validation.parsed(), measured["metrics"], evaluation.annotations is not None)
    key = stage_cache.key_of(
        "bundle", {"of": [d.key for d in run.done], "recipe": recipe.model_dump(mode="json")}
    )
    report = bundle.read_report(out, key)
    if report is None or not all(done.cached for done in run.done):
        values = reporting.collect(
            recipe, preset, exported.path, converted.path, measured, rows, run.done, calibration, evaluation
        )
        report = bundle.write_bundle(
            out, ModelFolder.open(exported.path), converted.path, validated.path, values, key
        )
    lines = [
        *reporting.metric_lines(measured["metrics"]),
        *reporting.gate_lines(rows),
        *reporting.closing(report, out),
    ]
    return Result(lines, report.model_dump(mode="json"), _failed(rows))


def _deliver(run: Run, done: Done, out: Path) -> Result:
    stage_cache.copy_out(done, out)
    values = {"stage": done.stage, "key": done.key, "seconds": done.seconds, "cached": done.cached}
    return Result(
        [f"{done.summary}", f"Written to {out}"], {**values, "summary": done.summary, "out": str(out)}
    )


def _measured(validated: Done) -> dict[str, Any]:
    measured: dict[str, Any] = json.loads((validated.path / "validation.json").read_text())
    return measured


def _verdict(rows: list[dict[str, Any]]) -> str:
    return "passed" if all(row["passed"] for row in rows) else "failed"


def _failed(rows: list[dict[str, Any]]) -> list[str]:
    def told(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.4g}"

    return [
        f"{row['target']} {row['metric']} is {told(row['measured'])}, asked for {row['bound']}"
        for row in rows
        if not row["passed"]
    ]
