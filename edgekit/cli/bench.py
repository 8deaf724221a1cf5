"""`edgekit bench`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options


@click.command()
@click.argument("bundle", metavar="BUNDLE", type=options.FOLDER)
@click.option(
    "--device", metavar="DEVICE",
    help="ssh:user@host, ssh:user@host:port, adb or adb:serial.  [default: this machine]",
)  # fmt: skip
@click.option(
    "--model", "kinds", type=click.Choice(["fp32", "int8"]), multiple=True,
    help="Which ONNX file; may be given more than once.  [default: both]",
)  # fmt: skip
@click.option(
    "--threads", type=click.IntRange(1, 64), multiple=True, metavar="N",
    help="May be given more than once.  [default: 1, 2 and 4]",
)  # fmt: skip
@click.option(
    "--warmup", type=click.IntRange(0, 10000), default=20, show_default=True, metavar="N",
    help="Inferences before those that count.",
)  # fmt: skip
@click.option(
    "--repeats", type=click.IntRange(1, 100000), default=100, show_default=True, metavar="N",
    help="Inferences that count.",
)  # fmt: skip
@click.option("--report", "into_report", is_flag=True, help="Also write the times into the bundle's report.")
@click.option(
    "--ssh-config", type=click.Path(dir_okay=False, exists=True, path_type=Path), metavar="FILE",
    help="A configuration of ssh's instead of your own, as its option -F.",
)  # fmt: skip
@options.json_file
@options.debug
def bench(
    bundle: Path, device: str | None, kinds: tuple[str, ...], threads: tuple[int, ...], warmup: int,
    repeats: int, into_report: bool, ssh_config: Path | None, json_file: Path | None,
) -> None:  # fmt: skip
    """Time a bundle on a board, a phone or this machine.

    The C++ runner and the bundle are copied there, the bundle is held against its golden vectors (exit 3 when
    it answers otherwise: nothing is timed then), then float and int8 are timed on the first golden picture,
    on the big cores where there are some. Nothing stays there. A device needs 64-bit ARM, mktemp and tar, and
    a login by key; a phone USB debugging, and `adb` here.

    \b
    Example:
      edgekit bench build/picodet_s --device ssh:pi@raspberrypi.local --json pi.json
      edgekit bench build/picodet_s --device adb
    """
    from edgekit.apps import bench as app
    from edgekit.backends import boards
    from edgekit.console import Progress

    if device is None and ssh_config is not None:
        raise click.UsageError("--ssh-config needs --device ssh:...")
    where = boards.parse(device, ssh_config) if device is not None else boards.here()
    found = app.bench(
        bundle, where, kinds=kinds, threads=threads or app.THREADS, warmup=warmup, repeats=repeats,
        into_report=into_report, log=Progress().line,
    )  # fmt: skip
    options.finish(found.text(), found.as_dict(), json_file)
