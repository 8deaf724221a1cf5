"""`edgekit ocr`"""

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
def ocr(
    pictures: tuple[Path, ...], bundles: tuple[Path, ...], kind: str | None, compare: bool, out: Path | None,
    json_file: Path | None, offline: bool,
) -> None:  # fmt: skip
    """Read the text on pictures: find lines, turn them, read them.

    DIR is a combined bundle, or --bundle is given for each part: a text detector, a recogniser, and, if lines
    may stand upside down, a classifier of these.

    \b
    Example:
      edgekit ocr receipt.jpg --bundle build/ppocrv3 --out read.png
      edgekit ocr page.png --bundle build/ppocrv3_det --bundle build/ppocrv3_rec --compare
    """
    from edgekit.apps import ocr as reading
    from edgekit.apps.asked import Asked

    report = reading.ocr(Asked(pictures, bundles, options.as_kind(kind), compare, out, offline))
    options.finish(report.text(), report.as_dict(), json_file)
