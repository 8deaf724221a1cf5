"""`edgekit quantize`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options
from edgekit.errors import EdgekitError


@click.command()
@options.model
@options.recipe(required=False)
@click.option(
    "--labels",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With the method pact: lines of 'picture class-index'; adds the task's own loss.",
)
@options.data
@options.out
@options.json_file
@options.force
@options.dry
@options.offline
@options.debug
def quantize(
    model: Path, recipe: str | None, preset: str | None, sets: tuple[str, ...], labels: Path | None,
    data: Path | None, out: Path | None, json_file: Path | None, force: bool, dry: bool, offline: bool,
) -> None:  # fmt: skip
    """Quantize a model to int8, with its table of scales.

    MODEL is a model folder, or a bare X.pdmodel with its X.pdiparams beside it; a bare one needs
    --recipe for its pre- and post-processing.

    Repairs without training are on: thresholds by the error of what layers answer, factors per channel, the
    layers that int8 costs most left in float, weights rounded together (GPTQ). A recipe's quantize.repair
    and quantize.rescue, or --set with --recipe, switch them. The method pact trains what these leave, on
    the float model's answers.

    \b
    Example:
      edgekit quantize build/float --data photos/ --out build/int8
      edgekit quantize build/float --recipe picodet_s --preset pact --set quantize.pact.minutes=20
    """
    wanted = options.load_optional_recipe(recipe, preset, sets)
    from edgekit import single
    from edgekit.console import Progress

    if labels is not None and (wanted is None or wanted.quantize is None or wanted.quantize.method != "pact"):
        raise EdgekitError(
            "EK107", "--labels adds a loss to training: it needs a recipe with the method pact."
        )
    report = single.quantize(
        model, wanted, labels=labels, data=data, out=out, force=force, dry=dry, offline=offline,
        progress=Progress(),
    )  # fmt: skip
    options.finish(report.text(), report.as_dict(), json_file)
