"""`edgekit fetch`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@options.recipe(required=True)
@options.out
@options.json_file
@options.force
@options.dry
@options.offline
@options.debug
def fetch(
    recipe: str, preset: str | None, sets: tuple[str, ...], out: Path | None,
    json_file: Path | None, force: bool, dry: bool, offline: bool,
) -> None:  # fmt: skip
    """Fetch the trained weights of a recipe into a model folder.

    \b
    Example:
      edgekit fetch --recipe picodet_s --out build/float
    """
    wanted = options.load_recipe(recipe, preset, sets)
    from edgekit import single
    from edgekit.console import Progress

    report = single.fetch(wanted, out=out, force=force, dry=dry, offline=offline, progress=Progress())
    options.finish(report.text(), report.as_dict(), json_file)
