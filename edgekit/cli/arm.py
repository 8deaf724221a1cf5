"""`edgekit arm`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options

CPUS = ("a53", "a72", "a76", "i8mm")


@click.group()
@options.debug
def arm() -> None:
    """Bundles on ARM without a board: `arm setup`, `arm self-test`.

    \b
    Example:
      edgekit arm self-test build/picodet_s
    """


@arm.command()
@options.debug
def setup() -> None:
    """Fetch a cross compiler and an emulator, and build the C++ runner.

    Needs no root; everything lies in the cache (about 250 MB). Needs cmake, a make and npm.

    \b
    Example:
      edgekit arm setup
    """
    from edgekit.backends.arm import emulated, parts, runner
    from edgekit.console import Progress

    log = Progress().line
    parts.tools(log)
    folder = runner.build("aarch64", log)
    click.echo(f"for a board: {folder}")
    click.echo(f"emulated: {' '.join(emulated.command(emulated.DEFAULT[-1], log))}")


@arm.command("self-test")
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=options.FOLDER)
@click.option(
    "--cpu", "cpus", type=click.Choice(CPUS), multiple=True,
    help="An emulated core; may be given more than once.  [default: a53 and a76]",
)  # fmt: skip
@click.option(
    "--model", "kinds", type=click.Choice(["fp32", "int8"]), multiple=True,
    help="Which ONNX file; may be given more than once.  [default: the one that the manifest names]",
)  # fmt: skip
@options.json_file
@options.debug
def self_test(
    bundles: tuple[Path, ...], cpus: tuple[str, ...], kinds: tuple[str, ...], json_file: Path | None
) -> None:
    """Hold bundles against their golden vectors on emulated ARM cores.

    The C++ runner does it, as on a board. Says for each what differs first: pre-processing, inference or
    post-processing; the exit code is 3 then.

    \b
    Example:
      edgekit arm self-test build/picodet_s --cpu a53 --cpu a76
    """
    from edgekit.apps import arm as app
    from edgekit.console import Progress

    report = app.self_test(bundles, cpus, kinds, Progress().line)
    options.finish(report.text(), report.as_dict(), json_file)
    app.raise_for_failures(report)
