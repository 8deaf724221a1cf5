"""`edgekit arm`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options

CPUS = ("a53", "a72", "a76", "i8mm")


@click.group()
@options.debug
def arm() -> None:
    """Bundles on ARM without a board, on emulated cores.

    `arm setup`, `arm self-test`, `arm cost`, `arm report`.

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


_bundles = click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=options.FOLDER)
_cpus = click.option(
    "--cpu", "cpus", type=click.Choice(CPUS), multiple=True,
    help="An emulated core; may be given more than once.  [default: a53 and a76]",
)  # fmt: skip
_original = click.option(
    "--original", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="The float original as ONNX, of a pruned model.  [default: the one in the cache, if it is there]",
)  # fmt: skip


@arm.command("self-test")
@_bundles
@_cpus
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


@arm.command()
@_bundles
@_cpus
@click.option(
    "--model", "kinds", type=click.Choice(["fp32", "int8"]), multiple=True,
    help="Which ONNX file; may be given more than once.  [default: both]",
)  # fmt: skip
@_original
@options.json_file
@options.debug
def cost(
    bundles: tuple[Path, ...], cpus: tuple[str, ...], kinds: tuple[str, ...], original: Path | None,
    json_file: Path | None,
) -> None:  # fmt: skip
    """Count the instructions of one inference on emulated ARM cores.

    By kind, in millions: int8 dot products, floating-point, other work on vectors, loads, stores, branches,
    all else. The same to a thousandth in each run, but no time: a board decides how long each takes. Needs a
    C compiler besides what `arm setup` needs.

    \b
    Example:
      edgekit arm cost build/picodet_s --cpu a53 --cpu a76
    """
    from edgekit.apps import arm as app
    from edgekit.console import Progress

    found = app.cost(bundles, cpus, kinds, original, Progress().line)
    options.finish(found.text(), found.as_dict(), json_file)


@arm.command()
@_bundles
@_original
@options.json_file
@options.debug
def report(bundles: tuple[Path, ...], original: Path | None, json_file: Path | None) -> None:
    """Write self-tests and costs on ARM into bundles' reports.

    Float and int8 on an emulated a53 and a76, into report.html, report.json, junit.xml and manifest.json; the
    exit code is 3 where a golden vector differs.

    \b
    Example:
      edgekit arm report build/picodet_s
    """
    from edgekit.apps import arm as app
    from edgekit.console import Progress

    found = app.report(bundles, original, Progress().line)
    options.finish(found.text(), found.as_dict(), json_file)
    app.raise_for_failures(found)
