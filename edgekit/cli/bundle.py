"""`edgekit bundle`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.group()
@options.debug
def bundle() -> None:
    """Make one bundle of several; see `bundle pack`.

    \b
    Example:
      edgekit bundle pack --help
    """


@bundle.command()
@click.argument("parts", metavar="BUNDLE...", nargs=-1, required=True, type=options.FOLDER)
@click.option("--name", required=True, metavar="NAME", help="What the combined bundle is called.")
@options.out
@options.json_file
@options.debug
def pack(parts: tuple[Path, ...], name: str, out: Path | None, json_file: Path | None) -> None:
    """Pack the parts of a reading chain into one bundle.

    Each BUNDLE is one that `edgekit compress` wrote: a text detector, a recogniser, and perhaps a classifier
    of lines that stand upside down. Every file's hash is checked first.

    \b
    Example:
      edgekit bundle pack --name ppocrv3 build/ppocrv3_det build/ppocr_mobile_v2_cls build/ppocrv3_rec
    """
    from edgekit.apps import bundles

    report = bundles.pack(name, parts, out or Path("build") / name)
    options.finish(report.text(), report.as_dict(), json_file)
