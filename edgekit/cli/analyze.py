"""`edgekit analyze`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@options.model
@options.recipe(required=False)
@options.data
@options.out
@options.json_file
@options.force
@options.dry
@options.offline
@options.debug
def analyze(
    model: Path, recipe: str | None, preset: str | None, sets: tuple[str, ...], data: Path | None,
    out: Path | None, json_file: Path | None, force: bool, dry: bool, offline: bool,
) -> None:  # fmt: skip
    """Show which layers int8 costs most, and why.

    MODEL is a model folder, or a bare X.pdmodel with its X.pdiparams beside it; a bare one needs
    --recipe for its pre- and post-processing. MODEL may also be a bundle.

    A float model is looked at as plain int8, without repairs, by the recipe's quantize.method; a quantized
    one as it is. Every layer is int8 alone, on calibration pictures; the worst five are then left in float
    together, by the metric of the task. Writes analysis.html and analysis.json.

    \b
    Example:
      edgekit analyze build/float --recipe picodet_s
      edgekit analyze build/int8 --data photos/ --out build/why
    """
    wanted = options.load_optional_recipe(recipe, preset, sets)
    from edgekit import single
    from edgekit.console import Progress

    report = single.analyze(
        model, wanted, data=data, out=out, force=force, dry=dry, offline=offline, progress=Progress()
    )
    options.finish(report.text(), report.as_dict(), json_file)
