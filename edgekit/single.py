"""The commands that run one stage on a folder, or on a bare program, of the user's own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgekit import bundle, gates, plan, reporting, result, stage_cache
from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.folder import ModelFolder
from edgekit.recipe import Convert, Prune, Quantize, Recipe
from edgekit.result import Result
from edgekit.run import Run
from edgekit.stage_cache import Done


def fetch(
    recipe: Recipe, *, out: Path | None, force: bool, dry: bool, offline: bool, progress: Progress
) -> Result:
    """Only the first stage: the float model folder of a recipe."""
    run = Run(force, offline, progress)
    out = out or Path("build") / f"{recipe.name}.float"
    if dry:
        return plan.explain_fetch(recipe, run.cache)
    return _deliver(run, run.fetch(recipe), out)


def prune(
    model: Path,
    recipe: Recipe | None,
    *,
    section: Prune,
    labels: Path | None,
    data: Path | None,
    out: Path | None,
    force: bool,
    dry: bool,
    offline: bool,
    progress: Progress,
) -> Result:
    """A model folder, or a bare program with a recipe -> the same with fewer channels."""
    run = Run(force, offline, progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch))
        out = out or Path("build") / f"{ModelFolder.open(source.path).info.name}.pruned"
        if dry:
            return plan.explain_one("prune", source)
        done = run.prune(source, section, run.pictures(recipe, data, "calibration"))
        if section.distil is not None:
            training = run.pictures(recipe, data, "training", count=section.distil.pictures)
            done = run.distil(done, source, section.distil, training, labels)
        return _deliver(run, done, out)


def explain_groups(model: Path, recipe: Recipe | None, section: Prune) -> Result:
    """`prune --explain`: every group of channels, who makes and reads it, why it may not be pruned."""
    from edgekit.pruning import explain
    from edgekit.stages import sensitivity

    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch))
        ready = sensitivity.prepared(ModelFolder.open(source.path), section)
        rows = explain.rows(ready.trace, section)
        return Result(explain.lines(rows, ready.dead), {"dead": ready.dead, "groups": rows})


def quantize(
    model: Path,
    recipe: Recipe | None,
    *,
    labels: Path | None,
    data: Path | None,
    out: Path | None,
    force: bool,
    dry: bool,
    offline: bool,
    progress: Progress,
) -> Result:
    """A model folder, or a bare program with a recipe -> a folder with a table of scales.

    PACT learns from the model itself; from the recipe's float original, when the model has been pruned.
    """
    run = Run(force, offline, progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch))
        section = recipe.quantize if recipe is not None and recipe.quantize is not None else Quantize()
        out = out or Path("build") / f"{ModelFolder.open(source.path).info.name}.quantized"
        if dry:
            return plan.explain_one("quantize", source)
        done = run.quantize(source, section, run.pictures(recipe, data, "calibration"))
        if section.method == "pact":
            training = run.pictures(recipe, data, "training", count=section.pact.pictures)
            pruned = ModelFolder.open(source.path).info.is_pruned
            teacher = run.fetch(recipe) if recipe is not None and pruned else source
            done = run.pact(done, teacher, section.pact, training, labels)
        return _deliver(run, done, out)


def analyze(
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
    """A float or quantized model -> what int8 costs it, layer by layer, as a page and as JSON."""
    from edgekit.quantization import analysis

    run = Run(force, offline, progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch))
        section = recipe.quantize if recipe is not None and recipe.quantize is not None else Quantize()
        out = out or Path("build") / f"{ModelFolder.open(source.path).info.name}.analysis"
        if dry:
            return plan.explain_one("analyze", source)
        done = run.analyze(source, section, run.pictures(recipe, data, "calibration"))
        delivered = _deliver(run, done, out)
        found = analysis.load(done.path)
    assert found is not None  # the stage has just written it
    lines = [*reporting.analysis_lines(found), f"{delivered.lines[-1]} (open {out / 'analysis.html'})"]
    return Result(lines, {**delivered.values, **found.model_dump(mode="json")})


def export(
    model: Path, recipe: Recipe | None, *, out: Path | None, force: bool, dry: bool, progress: Progress
) -> Result:
    """A model folder -> float and int8 programs that the converters accept."""
    run = Run(force, True, progress)
    with tempfile.TemporaryDirectory() as scratch:
        source = plan.open_done(model, recipe, Path(scratch))
        out = out or Path("build") / f"{ModelFolder.open(source.path).info.name}.exported"
        return plan.explain_one("export", source) if dry else _deliver(run, run.export(source), out)


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
        return _deliver(run, run.convert(run.export(source), section), out)


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
    arm: bool = False,
) -> Result:
    """Compare a model with its float original and judge the recipe's gates; with `arm`, golden vectors on
    emulated ARM cores are gates, too, and an inference's instructions are counted there."""
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
            original = run.fetch(recipe)
        else:
            raise EdgekitError(
                "EK107",
                f"validate compares {model} with its float original: name that with --reference, or give the "
                "--recipe whose weights it came from.",
            )
        exported = run.export(source)
        section = recipe.convert if recipe is not None else Convert()
        converted = run.convert(exported, section)
        before, targets = None, plan.original_targets(section)
        if targets is not None and ModelFolder.open(source.path).info.is_pruned:
            before = run.original(original, targets)
        task = ModelFolder.open(source.path).info.task
        evaluation = run.pictures(recipe, data, "evaluation", task=task)
        validated = run.validate(original, before, exported, converted, evaluation)
        if out is not None:
            stage_cache.copy_out(validated, out)
        measured = result.measured(validated)
        rows = gates.judge(bounds, measured["metrics"], evaluation.annotations is not None)
        lines = [*reporting.metric_lines(measured["metrics"]), *reporting.gate_lines(rows)]
        values, failed = {**measured, "gates": rows, "verdict": result.verdict(rows)}, result.failed(rows)
        if arm:
            from edgekit.apps import arm as on_arm

            before_onnx = next(iter(sorted(before.path.glob("*.fp32.onnx"))), None) if before else None
            info, folder = ModelFolder.open(exported.path).info, Path(scratch) / "bundle"
            bundle.write_testable(folder, info, converted.path, validated.path)
            found = on_arm.measured(folder, before_onnx, progress.line)
            lines += on_arm.arm_lines(found, info.is_pruned)
            failed += [on_arm.told_of(test) for test in found.self_tests if test.failed]
            values |= {"arm": found.model_dump(mode="json"), "verdict": "failed" if failed else "passed"}
        return Result(lines, values, failed)


def _deliver(run: Run, done: Done, out: Path) -> Result:
    stage_cache.copy_out(done, out)
    values = {"stage": done.stage, "key": done.key, "seconds": done.seconds, "cached": done.cached}
    return Result(
        [f"{done.summary}", f"Written to {out}"], {**values, "summary": done.summary, "out": str(out)}
    )
