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
from edgekit.recipe import Convert, Quantize, Recipe
from edgekit.result import Result
from edgekit.stage_cache import Done

# Raised when a stage gives another result for the same input: cached folders of older code are not used.
VERSIONS = {"quantize": 1, "export": 1, "convert": 1, "validate": 1}


def quantize_components(model: str, section: Quantize, pictures: str) -> dict[str, Any]:
    return {
        "model": model,
        "quantize": section.model_dump(mode="json", by_alias=True),  # --dry names the user's keys
        "pictures": pictures,
        "version": VERSIONS["quantize"],
    }


def export_components(model: str) -> dict[str, Any]:
    return {"model": model, "version": VERSIONS["export"]}


def convert_components(model: str, section: Convert) -> dict[str, Any]:
    return {"model": model, "convert": section.model_dump(mode="json"), "version": VERSIONS["convert"]}


def validate_components(reference: str, converted: str, pictures: str) -> dict[str, Any]:
    return {
        "reference": reference,
        "model": converted,
        "pictures": pictures,
        "version": VERSIONS["validate"],
    }


def pictures(
    recipe: Recipe | None, data: Path | None, split: Split, cache: Path, offline: bool, progress: Progress
) -> ImageSet:
    """The pictures of a split: the user's own (`--data`), or what the recipe says."""
    if data is not None:
        spec, count, seed = DataSpec(kind="folder", path=str(data)), None, 0
    elif recipe is not None:
        wanted = recipe.data.calibration if split == "calibration" else recipe.data.evaluation
        spec, count, seed = DataSpec(kind=wanted.kind, path=wanted.path), wanted.count, recipe.data.seed
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

        return prepare.prepare(spec, split, count, seed, cache, offline, progress.line, advance)


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

    def add(stage: str, components: dict[str, Any]) -> str:
        key = stage_cache.key_of(stage, components)
        cached = known and not force and stage_cache.is_done(cache, stage, key)
        rows.append(
            {
                "stage": stage,
                "cached": cached,
                "why": "" if cached else _why(before.get(stage), components, force),
            }
        )
        return key

    def digest(split: Split) -> str | None:
        if data is None:
            wanted = recipe.data.calibration if split == "calibration" else recipe.data.evaluation
            spec = DataSpec(kind=wanted.kind, path=wanted.path)
            if not prepare.is_ready(spec, split, wanted.count, recipe.data.seed, cache):
                return None
        return pictures(recipe, data, split, cache, True, progress).digest

    key = first = add("fetch", fetch.components(recipe))
    if recipe.quantize is not None:
        calibration = digest("calibration")
        known = calibration is not None
        key = add("quantize", quantize_components(key, recipe.quantize, calibration or "not made yet"))
    key = add("export", export_components(key))
    key = add("convert", convert_components(key, recipe.convert))
    evaluation = digest("evaluation")
    known = known and evaluation is not None
    add("validate", validate_components(first, key, evaluation or "not made yet"))
    lines = [f"{r['stage']:10} " + ("cached" if r["cached"] else f"would run: {r['why']}") for r in rows]
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
