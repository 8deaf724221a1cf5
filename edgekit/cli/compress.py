"""`edgekit compress`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@options.recipe(required=True)
@options.data
@options.out
@options.json_file
@options.force
@options.dry
@options.offline
@options.debug
def compress(
    recipe: str, preset: str | None, sets: tuple[str, ...], data: Path | None, out: Path | None,
    json_file: Path | None, force: bool, dry: bool, offline: bool,
) -> None:  # fmt: skip
    """Run a recipe, from trained weights to a validated bundle.

    \b
    Example:
      edgekit compress --recipe picodet_s
      edgekit compress --recipe picodet_s --data photos/ --out build/mine
    """
    wanted = options.load_recipe(recipe, preset, sets)
    from edgekit import pipeline
    from edgekit.console import Progress

    report = pipeline.compress(
        wanted, preset=preset, out=out, data=data, force=force, dry=dry, offline=offline, progress=Progress()
    )
    options.finish(report.text(), report.as_dict(), json_file)
    report.raise_for_gates()
