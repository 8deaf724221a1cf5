"""`edgekit convert`"""

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
def convert(
    model: Path, recipe: str | None, preset: str | None, sets: tuple[str, ...],
    out: Path | None, json_file: Path | None, force: bool, dry: bool,
) -> None:  # fmt: skip
    """Convert a model folder to ONNX and to Paddle Lite's .nb.

    MODEL is a model folder, or a bare X.pdmodel with its X.pdiparams beside it; a bare one needs
    --recipe for its pre- and post-processing.

    \b
    Example:
      edgekit convert build/int8 --out build/converted
    """
    wanted = options.load_optional_recipe(recipe, preset, sets)
    from edgekit import single
    from edgekit.console import Progress

    report = single.convert(model, wanted, out=out, force=force, dry=dry, progress=Progress())
    options.finish(report.text(), report.as_dict(), json_file)
