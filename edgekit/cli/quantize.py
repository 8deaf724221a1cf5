"""`edgekit quantize`"""

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
def quantize(
    model: Path, recipe: str | None, preset: str | None, sets: tuple[str, ...], data: Path | None,
    out: Path | None, json_file: Path | None, force: bool, dry: bool, offline: bool,
) -> None:  # fmt: skip
    """Quantize a model to int8, with its table of scales.

    MODEL is a model folder, or a bare X.pdmodel with its X.pdiparams beside it; a bare one needs
    --recipe for its pre- and post-processing.

    Repairs without training are on: thresholds by the error of what layers answer, factors per channel, the
    layers that int8 costs most left in float, weights rounded together (GPTQ). A recipe's quantize.repair
    and quantize.rescue, or --set with --recipe, switch them.

    \b
    Example:
      edgekit quantize build/float --data photos/ --out build/int8
    """
    wanted = options.load_optional_recipe(recipe, preset, sets)
    from edgekit import single
    from edgekit.console import Progress

    report = single.quantize(
        model, wanted, data=data, out=out, force=force, dry=dry, offline=offline, progress=Progress()
    )
    options.finish(report.text(), report.as_dict(), json_file)
