"""Float -> pruned -> refitted -> distilled at several budgets, and FPGM beside its rivals, on one recipe.

    python benchmarks/pruning.py picodet_s --budgets 15 25 40 --distil 15
    python benchmarks/pruning.py picodet_s --budgets 25 --criteria fpgm fpgm-weights l1 energy random --same

With --same every criterion removes as many channels of each layer as the first one does in one round.

Every model is judged as `edgekit validate` judges its float program: by Paddle, on the recipe's evaluation
pictures, against the float original. Rows are merged into recipes/results/RECIPE.pruning.yaml, so that a long
table can be made in several sittings; stages come from the cache.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from edgekit import recipe as recipes
from edgekit.backends import paddle as backend
from edgekit.console import Progress
from edgekit.data.images import ImageSet, read_image
from edgekit.folder import ModelFolder
from edgekit.recipe import Distil, Prune, Recipe
from edgekit.run import Run
from edgekit.stage_cache import Done
from edgekit.tasks import evaluate
from edgekit.tasks.preprocessing import preprocess

RESULTS = Path(__file__).resolve().parent.parent / "recipes" / "results"
SHOWN = (
    "agreement_ap", "ap", "top1_agreement", "top1_agreement_sure", "sure_n", "kl_divergence",
    "agreement_hmean", "hmean", "n",
)  # fmt: skip


def answers(model: ModelFolder, images: ImageSet, progress: Progress) -> list[evaluate.Answer]:
    run = backend.load(model.program, model.parameters)
    found = []
    with progress.task(f"Answers of {model.path.name}", len(images.paths)) as advance:
        for path in images.paths:
            picture = read_image(path)
            outputs = run({model.info.inputs[0].name: preprocess(picture, model.info.preprocess)[None]})
            found.append(evaluate.answers(model.info, outputs, (picture.shape[0], picture.shape[1])))
            advance()
    return found


def measured(
    model: ModelFolder, images: ImageSet, reference: list[evaluate.Answer], got: list[evaluate.Answer]
) -> dict[str, Any]:
    found = evaluate.compare(model.info, reference, got)
    if images.annotations is not None:
        names = [path.name for path in images.paths]
        found.update(evaluate.truth(model.info, images.annotations, names, got))
    return {key: _rounded(found[key]) for key in SHOWN if found.get(key) is not None}


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def row(done: list[Done], section: Prune, model: ModelFolder, values: dict[str, Any]) -> dict[str, Any]:
    entry = next(e for e in reversed(model.info.lineage) if e["stage"] == "prune")
    (macs, left), (params, kept) = entry["macs"], entry["params"]
    budget = section.flops or section.params or f"{left / macs - 1:+.0%}"
    trained = next((e for e in model.info.lineage if e["stage"] == "distil"), None)
    how = {}
    if trained is not None:
        keys = ("minutes", "threads", "batch", "learning_rate", "loss_before", "loss_after")
        how = {"distil": {key: _rounded(trained[key]) for key in keys}}
    return {
        "model": f"{section.criterion} {budget}" + (" distilled" if section.distil else ""),
        "recover": list(section.recover) + (["distil"] if section.distil else []),
        "allocation": "of fpgm" if section.ratios else section.allocation,
        "rounds": len(section.in_rounds()),
        "macs": f"{left / macs - 1:+.1%}",
        "params": f"{kept / params - 1:+.1%}",
        **values,
        "errors": {name: _rounded(error) for name, error in entry.get("errors", {}).items()},
        **how,
        "seconds": round(sum(d.seconds for d in done)),
        "pictures": {e["stage"]: e["pictures"] for e in model.info.lineage if "pictures" in e},
        "seed": section.seed,
        "commit": commit(),
    }


def commit() -> str:
    """What was measured changes with the code."""
    asked = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(asked, cwd=RESULTS, capture_output=True, text=True, check=True).stdout.strip()


def sections(wanted: argparse.Namespace, recipe: Recipe) -> list[Prune]:
    base = recipe.prune if recipe.prune is not None else Prune()
    found = []
    for budget in wanted.budgets:
        for criterion in wanted.criteria:
            for allocation in wanted.allocations:
                update: dict[str, Any] = {
                    "flops": f"-{budget:g}%", "params": None, "criterion": criterion, "distil": None,
                    "allocation": allocation, "rounds": 1 if wanted.same else wanted.rounds,
                }  # fmt: skip
                if wanted.recover is not None:
                    update["recover"] = wanted.recover
                found.append(base.model_copy(update=update))
                if wanted.bare:
                    found.append(base.model_copy(update={**update, "recover": []}))
                if wanted.distil is not None:
                    settings = base.distil if base.distil is not None else Distil()
                    more = settings.model_copy(update={"minutes": wanted.distil})
                    found.append(base.model_copy(update={**update, "distil": more}))
    return found


def like_the_first(found: list[Prune], run: Run, first: Done, images: ImageSet) -> list[Prune]:
    """The same sections, with the allocation of the first as explicit ratios."""
    model = ModelFolder.open(run.prune(first, found[0], images).path)
    removed = {row["group"]: row["removed"] / row["channels"] for row in model.info.lineage[-1]["groups"]}
    ratios = {name: share for name, share in removed.items() if share}
    return [section.model_copy(update={"flops": None, "ratios": ratios}) for section in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--preset", help="for its pictures and settings; the budget is yours")
    parser.add_argument("--budgets", nargs="+", type=float, required=True, metavar="PERCENT")
    parser.add_argument("--criteria", nargs="+", default=["fpgm"])
    parser.add_argument("--allocations", nargs="+", default=["sensitivity"])
    parser.add_argument("--same", action="store_true", help="the first criterion's allocation, for all")
    parser.add_argument("--recover", nargs="*", help="instead of the recipe's")
    parser.add_argument("--rounds", type=int, help="default: by the budget, as in a recipe")
    parser.add_argument("--distil", type=float, metavar="MINUTES")
    parser.add_argument("--bare", action="store_true", help="also without any recovery")
    wanted = parser.parse_args()
    progress = Progress()
    recipe = recipes.load(wanted.recipe, wanted.preset)
    run = Run(False, False, progress)
    first = run.fetch(recipe)
    original = ModelFolder.open(first.path)
    calibration = run.pictures(recipe, None, "calibration")
    evaluation = run.pictures(recipe, None, "evaluation")
    reference = answers(original, evaluation, progress)
    table = {"float": {"model": "float", **measured(original, evaluation, reference, reference)}}
    chosen = sections(wanted, recipe)
    if wanted.same:
        chosen = like_the_first(chosen, run, first, calibration)
    for section in chosen:
        start, run.done = time.monotonic(), []
        done = run.prune(first, section, calibration)
        if section.distil is not None:
            training = run.pictures(recipe, None, "training", count=section.distil.pictures)
            done = run.distil(done, first, section.distil, training)
        model = ModelFolder.open(done.path)
        values = measured(model, evaluation, reference, answers(model, evaluation, progress))
        made = row(run.done, section, model, values)
        rounds = f"{made['rounds']} rounds"
        table[" ".join([made["model"], made["allocation"], rounds, *made["recover"]])] = made
        progress.line(f"{made} ({time.monotonic() - start:.0f} s)")
        save(wanted.recipe, table, evaluation)


def save(name: str, table: dict[str, dict[str, Any]], evaluation: ImageSet) -> None:
    file = RESULTS / f"{name}.pruning.yaml"
    file.parent.mkdir(exist_ok=True)
    known = yaml.safe_load(file.read_text()) if file.is_file() else {}
    rows = {**(known.get("rows") or {}), **table}
    text = yaml.safe_dump(
        {"evaluation": evaluation.origin, "rows": rows}, sort_keys=False, width=110, allow_unicode=True
    )
    file.write_text(f"# Written by benchmarks/pruning.py\n{text}")


if __name__ == "__main__":
    main()
