"""`edgekit inspect`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@options.model
@options.json_file
@options.debug
def inspect(model: Path, json_file: Path | None) -> None:
    """Show layers, parameters, MACs and ops, and what is int8.

    MODEL is a model folder, a bundle, or a bare X.pdmodel with its X.pdiparams beside it.

    \b
    Example:
      edgekit inspect build/picodet_s
      edgekit inspect mine/inference.pdmodel --json cost.json
    """
    from edgekit import inspection

    report = inspection.inspect(model)
    options.finish(report.text(), report.as_dict(), json_file)
