"""`edgekit detect`"""

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
def detect(
    pictures: tuple[Path, ...], bundles: tuple[Path, ...], kind: str | None, compare: bool, out: Path | None,
    json_file: Path | None, offline: bool,
) -> None:  # fmt: skip
    """Show what a detector finds on pictures, things or text.

    \b
    Example:
      edgekit detect photo.jpg --bundle build/picodet_s --out found.png
      edgekit detect photo.jpg --bundle build/picodet_s --compare --out both.png
    """
    from edgekit.apps import answers
    from edgekit.apps.asked import Asked

    report = answers.detect(Asked(pictures, bundles, options.as_kind(kind), compare, out, offline))
    options.finish(report.text(), report.as_dict(), json_file)
