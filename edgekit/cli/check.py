"""`edgekit check`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@click.argument("bundle", metavar="BUNDLE", type=options.FOLDER)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Also compare with recorded results (a .yaml) or with another bundle.",
)
@click.option(
    "--set",
    "sets",
    metavar="GATE=BOUND",
    multiple=True,
    help="A gate over those of the bundle, such as 'agreement_ap=>= 0.95'. May be given more than once.",
)
@options.data
@options.arm
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the result as JUnit XML.",
)
@options.json_file
@options.offline
@options.debug
def check(
    bundle: Path, against: Path | None, sets: tuple[str, ...], data: Path | None, arm: bool,
    junit: Path | None, json_file: Path | None, offline: bool,
) -> None:  # fmt: skip
    """Check that a bundle is whole and as good as recorded.

    Hashes first; then what its files say of each other, weights and scales layer by layer, the golden
    vectors stage by stage, and the figures on the evaluation pictures, by every backend that runs here. A
    drop counts only beyond its interval. Exit 3 names the layer, stage or figure, exit 4 the damaged file.

    \b
    Example:
      edgekit check build/picodet_s --against recipes/results/picodet_s.yaml
      edgekit check build/new --against build/old --junit check.xml
    """
    from edgekit.checking import run
    from edgekit.console import Progress

    done = run.check(
        bundle,
        against=against,
        sets=sets,
        data=data,
        junit=junit,
        offline=offline,
        progress=Progress(),
        arm=arm,
    )
    options.finish(done.result.text(), done.result.as_dict(), json_file)
    done.raise_for_failures(bundle)
