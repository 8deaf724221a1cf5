"""The pipeline: from trained weights to a proved bundle, stage by stage, in this order."""

from __future__ import annotations

from pathlib import Path

from edgekit import bundle, gates, plan, reporting, result, stage_cache
from edgekit.console import Progress
from edgekit.data.images import ImageSet
from edgekit.folder import ModelFolder
from edgekit.recipe import Recipe
from edgekit.result import Result
from edgekit.run import Run
from edgekit.stage_cache import Done


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
    """fetch, prune, quantize, export, convert, validate, bundle: from trained weights to a proved bundle."""
    bounds = recipe.validation.parsed()
    gates.check_names(bounds)
    run = Run(force, offline, progress)
    if dry:
        return plan.explain(recipe, data, run.cache, offline, progress, force)
    out = out or Path("build") / recipe.name
    bundle.check_writable(out)

    first = run.fetch(recipe)
    model = first
    calibration = original = None
    if recipe.prune is not None or recipe.quantize is not None:
        calibration = run.pictures(recipe, data, "calibration")
    if recipe.prune is not None and calibration is not None:
        model = run.prune(model, recipe.prune, calibration)
        if recipe.prune.distil is not None:
            training = run.pictures(recipe, data, "training", count=recipe.prune.distil.pictures)
            model = run.distil(model, first, recipe.prune.distil, training)
        if (targets := plan.original_targets(recipe.convert)) is not None:
            original = run.original(first, targets)
    if recipe.quantize is not None and calibration is not None:
        model = run.quantize(model, recipe.quantize, calibration)
        if recipe.quantize.method == "pact":
            training = run.pictures(recipe, data, "training", count=recipe.quantize.pact.pictures)
            model = run.pact(model, first, recipe.quantize.pact, training)
    exported = run.export(model)
    converted = run.convert(exported, recipe.convert)
    evaluation = run.pictures(recipe, data, "evaluation")
    validated = run.validate(first, original, exported, converted, evaluation)
    plan.remember(run.cache, recipe, run.depended)
    return _bundle(run, recipe, preset, out, exported, converted, validated, calibration, evaluation)


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
    measured = result.measured(validated)
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
    return Result(lines, report.model_dump(mode="json"), result.failed(rows))
