"""`edgekit validate`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@options.model
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="The float original.  [default: the one that a bundle or the lineage names]",
)
@options.recipe(required=False)
@options.data
@options.arm
@options.out
@options.json_file
@options.force
@options.dry
@options.offline
@options.debug
def validate(
    model: Path, reference: Path | None, recipe: str | None, preset: str | None, sets: tuple[str, ...],
    data: Path | None, arm: bool, out: Path | None, json_file: Path | None, force: bool, dry: bool,
    offline: bool,
) -> None:  # fmt: skip
    """Compare a model with its float original; check the gates.

    MODEL is a model folder, or a bare X.pdmodel with its X.pdiparams beside it; a bare one needs
    --recipe for its pre- and post-processing. MODEL may also be a bundle.

    \b
    Example:
      edgekit validate build/picodet_s --recipe picodet_s
      edgekit validate build/int8 --reference build/float --data photos/
    """
    wanted = options.load_optional_recipe(recipe, preset, sets)
    from edgekit import single
    from edgekit.console import Progress

    report = single.validate(
        model, wanted, reference=reference, data=data, out=out, force=force, dry=dry, offline=offline,
        progress=Progress(), arm=arm,
    )  # fmt: skip
    options.finish(report.text(), report.as_dict(), json_file)
    report.raise_for_gates()
