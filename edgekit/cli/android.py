"""`edgekit android`"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import options

ABIS = ("arm64-v8a", "armeabi-v7a", "x86", "x86_64")


@click.group()
@options.debug
def android() -> None:
    """Bundles on a phone: `android push`, `android apk`.

    \b
    Example:
      edgekit android apk --bundle build/picodet_s --output build/edgekit-demo.apk
    """


def _kinds(command: options.F) -> options.F:
    return click.option(
        "--model", "kinds", type=click.Choice(["fp32", "int8"]), multiple=True,
        help="Which ONNX files go along; may be given more than once.  [default: both]",
    )(command)  # fmt: skip


@android.command()
@click.argument("bundle", type=options.FOLDER)
@click.option(
    "--into", type=options.FOLDER, metavar="DIR",
    help="Where the bundle's folder goes.  [default: the demo app's assets/bundles]",
)  # fmt: skip
@_kinds
@click.option("--lite", is_flag=True, help="The .nb files, too, for Paddle Lite.")
@options.json_file
@options.debug
def push(bundle: Path, into: Path | None, kinds: tuple[str, ...], lite: bool, json_file: Path | None) -> None:
    """Put a bundle into an app's assets: models, labels and golden vectors.

    Every file's hash is checked first. The app lists what it finds in assets/bundles.

    \b
    Example:
      edgekit android push build/picodet_s
    """
    from edgekit.android import assets

    report = assets.push(bundle, into, options.as_kinds(kinds), lite)
    options.finish(report.text(), report.as_dict(), json_file)


@android.command()
@click.option(
    "--bundle", "bundles", type=options.FOLDER, metavar="DIR", multiple=True,
    help="A bundle that goes inside, beside those that were pushed; may be given more than once.",
)  # fmt: skip
@click.option(
    "--output", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The APK."
)  # fmt: skip
@_kinds
@click.option(
    "--abi", "abis", type=click.Choice(ABIS), multiple=True,
    help="For which processors; may be given more than once.  [default: arm64-v8a]",
)  # fmt: skip
@click.option(
    "--paddle-lite", type=options.FOLDER, metavar="DIR",
    help="A release of Paddle Lite for Android (jar and .so), which the app then offers for .nb files.",
)  # fmt: skip
@click.option(
    "--keystore", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Your own key to sign with.  [default: a debug key, made once and kept in the cache]",
)  # fmt: skip
@click.option("--alias", metavar="NAME", help="The key's name in --keystore.")
@click.option(
    "--password", metavar="HOW", help="Of --keystore: env:NAME or file:PATH, for anyone sees command lines."
)  # fmt: skip
@options.json_file
@options.debug
def apk(
    bundles: tuple[Path, ...],
    output: Path,
    kinds: tuple[str, ...],
    abis: tuple[str, ...],
    paddle_lite: Path | None,
    keystore: Path | None,
    alias: str | None,
    password: str | None,
    json_file: Path | None,
) -> None:
    """Build the demo app's APK, signed and aligned, without Android Studio.

    Needs Java 17, Maven and npm; what else it takes is fetched into the cache without root (about 300 MB).

    \b
    Example:
      edgekit android apk --bundle build/picodet_s --output build/edgekit-demo.apk
    """
    from edgekit.android import apk as building
    from edgekit.console import Progress

    report = building.build(
        bundles,
        output,
        kinds=options.as_kinds(kinds),
        abis=abis or ABIS[:1],
        paddle_lite=paddle_lite,
        keystore=building.own_keystore(keystore, alias, password),
        log=Progress().line,
    )
    options.finish(report.text(), report.as_dict(), json_file)
