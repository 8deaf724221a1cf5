"""`edgekit diff`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=options.FOLDER,
    metavar="DIR",
    help="Run both, and draw the pictures on which they answer most differently into this folder.",
)
@click.option(
    "--model",
    "kind",
    type=click.Choice(["fp32", "int8"]),
    help="Which ONNX file of both runs.  [default: the one that each manifest names]",
)
@options.data
@options.json_file
@options.offline
@options.debug
def diff(
    a: Path, b: Path, out: Path | None, kind: str | None, data: Path | None, json_file: Path | None,
    offline: bool,
) -> None:  # fmt: skip
    """Show two bundles, or two models, side by side.

    Of bundles: sizes, multiply-accumulates, gates, every figure with the interval of its difference, and
    layers. Nothing is run for this: it is what the bundles recorded. B is called better or worse only where
    the choice of the pictures does not explain the difference; whichever it is, the exit code is 0 (`edgekit
    check` judges). With --out both run on A's evaluation pictures, or on those of --data.

    Of model folders or bare programs: sizes, multiply-accumulates, and the SQNR of each layer's weights.

    \b
    Example:
      edgekit diff build/old build/new
      edgekit diff picodet_s.float picodet_s.pruned
      edgekit diff build/old build/new --out build/differences --json diff.json
    """
    from edgekit.comparing import run
    from edgekit.console import Progress

    report = run.diff(
        a, b, kind=options.as_kind(kind), data=data, out=out, offline=offline, progress=Progress()
    )
    options.finish(report.text(), report.as_dict(), json_file)
