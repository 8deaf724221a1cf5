"""`edgekit prune`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options
from edgekit.errors import EdgekitError


@click.command()
@options.model
@options.recipe(required=False)
@click.option("--flops", metavar="-N%", help="The budget: by how much multiply-accumulates shall fall.")
@click.option("--params", metavar="-N%", help="The budget: by how much parameters shall fall.")
@click.option("--distil", metavar="MINUTES", type=float, help="Then train on the float model's answers.")
@click.option(
    "--labels",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --distil: lines of 'picture class-index'; adds the task's own loss.",
)
@click.option(
    "--explain", is_flag=True, help="Show the groups of channels, and what may not go; prune nothing."
)
@options.data
@options.out
@options.json_file
@options.force
@options.dry
@options.offline
@options.debug
def prune(
    model: Path, recipe: str | None, preset: str | None, sets: tuple[str, ...], flops: str | None,
    params: str | None, distil: float | None, labels: Path | None, explain: bool, data: Path | None,
    out: Path | None, json_file: Path | None, force: bool, dry: bool, offline: bool,
) -> None:  # fmt: skip
    """Remove channels (FPGM) and bring the answers back without labels.

    MODEL is a model folder, or a bare X.pdmodel with its X.pdiparams beside it; a bare one needs
    --recipe for its pre- and post-processing. Without a budget only dead channels go.

    \b
    Example:
      edgekit prune build/float --data photos/ --flops -25%
      edgekit prune build/float --explain
    """
    wanted = options.load_optional_recipe(recipe, preset, sets)
    from edgekit import single
    from edgekit.console import Progress
    from edgekit.recipe import prune_section

    section = prune_section(wanted, flops, params, distil)
    if explain:
        groups = single.explain_groups(model, wanted, section)
        options.finish(groups.text(), groups.as_dict(), json_file)
        return
    if labels is not None and section.distil is None:
        raise EdgekitError("EK107", "--labels adds a loss to distillation: give --distil MINUTES with it.")
    report = single.prune(
        model, wanted, section=section, labels=labels, data=data, out=out, force=force, dry=dry,
        offline=offline, progress=Progress(),
    )  # fmt: skip
    options.finish(report.text(), report.as_dict(), json_file)
