"""What a run would do and why: what each stage depends on, and the answers to --dry."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edgekit import stage_cache
from edgekit.console import Advance, Progress
from edgekit.data import prepare
from edgekit.data.cutouts import Split
from edgekit.data.files import sha256_of, write_bytes
from edgekit.data.images import ImageSet
from edgekit.data.prepare import DataSpec
from edgekit.errors import EdgekitError
from edgekit.folder import TaskName
from edgekit.recipe import Convert, Distil, Pact, Prune, Quantize, Recipe
from edgekit.result import Result
from edgekit.stage_cache import Done

# Raised when a stage gives another result for the same input: cached folders of older code are not used.
VERSIONS = {
    "sensitivity": 6,
    "prune": 6,
    "distil": 5,
    "quantize": 38,
    "pact": 8,
    "export": 6,
    "convert": 12,
    "validate": 10,
    "analyze": 5,
}

# What the sensitivity of a model depends on besides its pictures; budgets share one measurement.
_MEASURED = {"criterion", "dead", "skip", "ratios", "multiple", "most", "seed"}


def sensitivity_components(model: str, section: Prune, pictures: str) -> dict[str, Any]:
    wanted = section.model_dump(mode="json", include=_MEASURED)
    return {
        "model": model,
        "prune": {**wanted, "points": section.needs_sensitivity},
        "pictures": pictures,
        "version": VERSIONS["sensitivity"],
    }


def prune_components(
    original: str, model: str, measured: str | None, section: Prune, pictures: str
) -> dict[str, Any]:
    return {
        "original": original,
        "model": model,
        "sensitivity": measured,
        "prune": section.model_dump(mode="json", exclude={"distil", "rounds"}),
        "pictures": pictures,
        "version": VERSIONS["prune"],
    }


def distil_components(
    model: str, teacher: str, section: Distil, pictures: str, labels: str | None
) -> dict[str, Any]:
    return {
        "model": model,
        "teacher": teacher,
        "distil": section.model_dump(mode="json"),
        "pictures": pictures,
        "labels": labels,
        "version": VERSIONS["distil"],
    }


def quantize_components(model: str, section: Quantize, pictures: str) -> dict[str, Any]:
    return {
        "model": model,
        # By alias: --dry names the user's keys. Training comes later and is no part of this stage.
        "quantize": section.model_dump(mode="json", by_alias=True, exclude={"method", "start", "pact"})
        | {"method": section.thresholds},
        "pictures": pictures,
        "version": VERSIONS["quantize"],
    }


def pact_components(
    model: str, teacher: str, section: Pact, pictures: str, labels: str | None
) -> dict[str, Any]:
    return {
        "model": model,
        "teacher": teacher,
        "pact": section.model_dump(mode="json"),
        "pictures": pictures,
        "labels": labels,
        "version": VERSIONS["pact"],
    }


def analyze_components(model: str, section: Quantize, pictures: str) -> dict[str, Any]:
    return {
        "model": model,
        "quantize": {"method": section.thresholds, "float": section.keep_float},
        "pictures": pictures,
        "version": VERSIONS["analyze"],
    }


def export_components(model: str) -> dict[str, Any]:
    return {"model": model, "version": VERSIONS["export"]}


def convert_components(model: str, section: Convert) -> dict[str, Any]:
    return {"model": model, "convert": section.model_dump(mode="json"), "version": VERSIONS["convert"]}


def original_components(model: str, section: Convert) -> dict[str, Any]:
    versions = {name: VERSIONS[name] for name in ("export", "convert")}
    return {"model": model, "convert": section.model_dump(mode="json"), "version": versions}


def validate_components(
    reference: str, original: str | None, converted: str, pictures: str
) -> dict[str, Any]:
    return {
        "reference": reference,
        "original": original,
        "model": converted,
        "pictures": pictures,
        "version": VERSIONS["validate"],
    }


def original_targets(section: Convert) -> Convert | None:
    """What the float original is converted to, to be compared with: no twin to execute."""
    targets = [target for target in section.targets if target != "lite-x86"]
    return Convert(targets=targets) if targets else None


def wanted_pictures(recipe: Recipe, split: Split, count: int | None = None) -> tuple[DataSpec, int]:
    """Of which kind the pictures of a split are, and how many. Training has pictures like calibration, as
    many (`count`) as its section says."""
    found = recipe.data.evaluation if split == "evaluation" else recipe.data.calibration
    return DataSpec(kind=found.kind, path=found.path, task=recipe.task), count or found.count


def pictures(
    recipe: Recipe | None,
    data: Path | None,
    split: Split,
    cache: Path,
    offline: bool,
    progress: Progress,
    *,
    count: int | None = None,
    task: TaskName | None = None,
) -> ImageSet:
    """The pictures of a split: the user's own (`--data`), or what the recipe says, `count` for training.
    `task`: of a model that comes without a recipe."""
    if data is not None:
        task = recipe.task if recipe is not None else task
        spec, number, seed = DataSpec(kind="folder", path=str(data), task=task), None, 0
    elif recipe is not None:
        (spec, number), seed = wanted_pictures(recipe, split, count), recipe.data.seed
    else:
        raise EdgekitError(
            "EK107", "Which pictures? Give your own with --data, or a --recipe that names some."
        )
    with ExitStack() as bars:
        advances: dict[str, Advance] = {}

        def advance(label: str, done: int, total: int) -> None:
            # No bar appears when the pictures are there already.
            if label not in advances:
                advances[label] = bars.enter_context(progress.task(label, total))
            advances[label]()

        return prepare.prepare(spec, split, number, seed, cache, offline, progress.line, advance)


def open_done(model: Path, recipe: Recipe | None, scratch: Path) -> Done:
    """A folder or bare program of the user's own as the start of a chain; its key is its content."""
    from edgekit.stages.fetch import open_model

    folder = open_model(model, recipe, scratch)
    digest = hashlib.sha256()
    for path in sorted(folder.path.rglob("*")):
        if path.is_file() and path.name not in (stage_cache.NOTE, "digest.json"):
            digest.update(f"{path.relative_to(folder.path)}\0{sha256_of(path)}\n".encode())
    return Done("given", folder.path, digest.hexdigest(), 0.0, True, str(model))


def explain(
    recipe: Recipe, data: Path | None, cache: Path, offline: bool, progress: Progress, force: bool
) -> Result:
    """`compress --dry`: each stage, whether the cache holds it, and what changed when it does not."""
    from edgekit.stages import fetch

    before = _remembered(cache, recipe)
    rows: list[dict[str, Any]] = []
    known = True

    def add(stage: str, components: dict[str, Any], tag: str = "") -> str:
        key = stage_cache.key_of(stage, components)
        cached = known and not force and stage_cache.is_done(cache, stage, key)
        rows.append(
            {
                "stage": f"{stage}{tag}",
                "cached": cached,
                "why": "" if cached else _why(before.get(f"{stage}{tag}"), components, force),
            }
        )
        return key

    def digest(split: Split, count: int | None = None) -> str | None:
        if data is None:
            spec, number = wanted_pictures(recipe, split, count)
            if not prepare.is_ready(spec, split, number, recipe.data.seed, cache):
                return None
        return pictures(recipe, data, split, cache, True, progress, count=count).digest

    key = first = add("fetch", fetch.components(recipe))
    if recipe.prune is not None or recipe.quantize is not None:
        calibration = digest("calibration")
        known = calibration is not None
    if recipe.prune is not None:
        section, seen = recipe.prune, calibration or "not made yet"
        rounds = section.in_rounds()
        for number, wanted in enumerate(rounds, 1):
            tag, measured = (f" {number}" if len(rounds) > 1 else ""), None
            if wanted.removes:
                measured = add("sensitivity", sensitivity_components(key, wanted, seen), tag)
            key = add("prune", prune_components(first, key, measured, wanted, seen), tag)
        if section.distil is not None:
            training = digest("training", section.distil.pictures)
            known = known and training is not None
            key = add(
                "distil", distil_components(key, first, section.distil, training or "not made yet", None)
            )
    if recipe.quantize is not None:
        key = add("quantize", quantize_components(key, recipe.quantize, calibration or "not made yet"))
        if recipe.quantize.method == "pact":
            training = digest("training", recipe.quantize.pact.pictures)
            known = known and training is not None
            how = recipe.quantize.pact
            key = add("pact", pact_components(key, first, how, training or "not made yet", None))
    key = add("export", export_components(key))
    key = add("convert", convert_components(key, recipe.convert))
    evaluation = digest("evaluation")
    known = known and evaluation is not None
    original = None
    if recipe.prune is not None and (section_of := original_targets(recipe.convert)) is not None:
        original = add("original", original_components(first, section_of))
    add("validate", validate_components(first, original, key, evaluation or "not made yet"))
    lines = [f"{r['stage']:13} " + ("cached" if r["cached"] else f"would run: {r['why']}") for r in rows]
    return Result(lines, {"dry": rows})


def explain_fetch(recipe: Recipe, cache: Path) -> Result:
    from edgekit.stages import fetch

    cached = stage_cache.is_done(cache, "fetch", stage_cache.key_of("fetch", fetch.components(recipe)))
    row = {"stage": "fetch", "cached": cached}
    return Result([f"fetch      {'cached' if cached else 'would run'}"], {"dry": [row]})


def explain_one(stage: str, source: Done) -> Result:
    return Result(
        [f"{stage:10} would run on {source.summary} (content {source.key[:12]})"],
        {"dry": [{"stage": stage, "model": source.summary, "content": source.key}]},
    )


def remember(cache: Path, recipe: Recipe, stages: dict[str, dict[str, Any]]) -> None:
    """Keep what each stage depended on, so that the next --dry can say what changed."""
    write_bytes(_memory(cache, recipe), json.dumps(stages, indent=1, default=str).encode())


def _memory(cache: Path, recipe: Recipe) -> Path:
    return cache / "last" / f"{recipe.name}.json"


def _remembered(cache: Path, recipe: Recipe) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(_memory(cache, recipe).read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _why(before: dict[str, Any] | None, components: dict[str, Any], force: bool) -> str:
    if force:
        return "--force"
    if before is None:
        return "it has not run yet with this recipe"
    now = json.loads(json.dumps(components, default=str))
    changed = [name for name in now if before.get(name) != now[name]]
    if not changed:
        return "its result is gone from the cache, or an engine's version changed"
    detail = []
    for name in changed:
        old, new = before.get(name), now[name]
        if isinstance(old, dict) and isinstance(new, dict):
            detail += [f"{name}.{key}" for key in new if old.get(key) != new[key]]
        else:
            detail.append({"model": "the stage before it"}.get(name, name))
    return f"changed: {', '.join(detail)}"
