"""`edgekit results`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
@options.debug
def results() -> None:
    """Measured figures under version control.

    They lie in recipes/results/NAME.yaml, one line per figure, so that a change of accuracy shows in review.

    \b
    Example:
      edgekit results update build/picodet_s
      edgekit results table
    """


@results.command()
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=options.FOLDER)
@click.option(
    "--into", type=options.FOLDER, metavar="DIR", help="Where the files lie.  [default: recipes/results]"
)
@click.option("--readme", type=_FILE, metavar="FILE", help="Also bring the table in this file up to date.")
@options.json_file
@options.debug
def update(bundles: tuple[Path, ...], into: Path | None, readme: Path | None, json_file: Path | None) -> None:
    """Write the figures of finished bundles.

    A bundle replaces the section of its preset in the file of its recipe. Every file's hash is checked first.

    \b
    Example:
      edgekit results update build/picodet_s build/ppocrv3_rec --readme README.md
    """
    from edgekit import results as files

    report = files.update(bundles, into or _folder(), readme)
    options.finish(report.text(), report.as_dict(), json_file)


@results.command()
@click.option(
    "--from", "source", type=options.FOLDER, metavar="DIR", help="The results.  [default: recipes/results]"
)
@click.option(
    "--check", type=_FILE, metavar="FILE", help="Only say whether the table in this file is up to date."
)
@click.option("--write", type=_FILE, metavar="FILE", help="Put the table between the markers of this file.")
@options.debug
def table(source: Path | None, check: Path | None, write: Path | None) -> None:
    """Print the Markdown table of all results.

    \b
    Example:
      edgekit results table
      edgekit results table --check README.md
    """
    from edgekit import results as files
    from edgekit.errors import EdgekitError

    folder = source or _folder()
    if check is not None and write is not None:
        raise EdgekitError("EK107", "--check and --write: give one of the two.")
    if check is not None:
        click.echo(files.check_table(check, folder).text())
    elif write is not None:
        click.echo(files.write_table(write, folder).text())
    else:
        click.echo(files.table(folder), nl=False)


def _folder() -> Path:
    from edgekit.recipe import recipes_dir

    return recipes_dir() / "results"
