"""`edgekit classify`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@options.pictures
@options.bundles
@options.shown
@options.json_file
@options.offline
@options.debug
def classify(
    pictures: tuple[Path, ...], bundles: tuple[Path, ...], kind: str | None, compare: bool, out: Path | None,
    json_file: Path | None, offline: bool,
) -> None:  # fmt: skip
    """Show the classes that a classifier sees on pictures.

    \b
    Example:
      edgekit classify photo.jpg --bundle build/pplcnetv2_base
      edgekit classify a.jpg b.jpg --bundle build/pplcnetv2_base --compare --json classes.json
    """
    from edgekit.apps import answers
    from edgekit.apps.asked import Asked

    report = answers.classify(Asked(pictures, bundles, options.as_kind(kind), compare, out, offline))
    options.finish(report.text(), report.as_dict(), json_file)
