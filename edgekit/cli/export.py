"""`edgekit export`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@options.model
@options.recipe(required=False)
@options.out
@options.json_file
@options.force
@options.dry
@options.debug
def export(
    model: Path, recipe: str | None, preset: str | None, sets: tuple[str, ...],
    out: Path | None, json_file: Path | None, force: bool, dry: bool,
) -> None:  # fmt: skip
    """Write a model as Paddle Lite and paddle2onnx accept it.

    MODEL is a model folder, or a bare X.pdmodel with its X.pdiparams beside it; a bare one needs
    --recipe for its pre- and post-processing.

    \b
    Example:
      edgekit export mine/inference.pdmodel --recipe mine.yaml --out build/mine
    """
    wanted = options.load_optional_recipe(recipe, preset, sets)
    from edgekit import single
    from edgekit.console import Progress

    report = single.export(model, wanted, out=out, force=force, dry=dry, progress=Progress())
    options.finish(report.text(), report.as_dict(), json_file)
