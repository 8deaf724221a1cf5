"""The options that commands share: one name, one meaning, one help text each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgekit.errors import EdgekitError

if TYPE_CHECKING:
    from edgekit.apps.bundles import Kind
    from edgekit.recipe import Recipe

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


def recipe(required: bool) -> Callable[[F], F]:
    """--recipe, --preset and --set: together they say what is asked for."""

    def decorate(command: F) -> F:
        command = click.option(
            "--set", "sets", metavar="KEY=VALUE", multiple=True,
            help="Override a key of the recipe; VALUE is YAML. May be given more than once.",
        )(command)  # fmt: skip
        command = click.option("--preset", metavar="NAME", help="A preset of the recipe.")(command)
        return click.option(
            "--recipe", metavar="NAME", required=required,
            help="A shipped recipe (see `edgekit recipes`), or a .yaml file of your own.",
        )(command)  # fmt: skip

    return decorate


def model(command: F) -> F:
    return click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))(command)


def pictures(command: F) -> F:
    return click.argument(
        "pictures", metavar="IMAGE...", nargs=-1, required=True,
        type=click.Path(dir_okay=False, path_type=Path),
    )(command)  # fmt: skip


def bundles(command: F) -> F:
    return click.option(
        "--bundle", "bundles", type=FOLDER, metavar="DIR", required=True, multiple=True,
        help="The bundle that runs; every file's hash is checked.",
    )(command)  # fmt: skip


def shown(command: F) -> F:
    """--model, --compare and --out: which files of a bundle run, and what is drawn."""
    command = click.option(
        "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
        help="Draw the answers to this picture; several are numbered.",
    )(command)  # fmt: skip
    command = click.option(
        "--compare", is_flag=True, help="Run float and int8, draw them side by side, say what differs."
    )(command)
    return click.option(
        "--model", "kind", type=click.Choice(["fp32", "int8"]),
        help="Which ONNX file.  [default: the one that the manifest names]",
    )(command)  # fmt: skip


def as_kind(kind: str | None) -> Kind | None:
    return "fp32" if kind == "fp32" else "int8" if kind == "int8" else None


def as_kinds(kinds: tuple[str, ...]) -> list[Kind]:
    return [kind for name in kinds if (kind := as_kind(name)) is not None]


def data(command: F) -> F:
    return click.option(
        "--data", type=FOLDER, metavar="DIR", help="Your own pictures, with or without COCO annotations."
    )(command)


def arm(command: F) -> F:
    return click.option(
        "--arm", is_flag=True,
        help="Also on emulated ARM cores: golden vectors, and instructions an inference (see `edgekit arm`).",
    )(command)  # fmt: skip


def out(command: F) -> F:
    return click.option(
        "--out", type=FOLDER, metavar="DIR", help="Where the result goes.  [default: build/NAME]"
    )(command)


def json_file(command: F) -> F:
    return click.option(
        "--json", "json_file", type=_FILE, metavar="FILE", help="Also write the result as JSON; - is stdout."
    )(command)


def force(command: F) -> F:
    return click.option("--force", is_flag=True, help="Run again what the cache holds.")(command)


def dry(command: F) -> F:
    return click.option("--dry", is_flag=True, help="Say what would run, and why; run nothing.")(command)


def offline(command: F) -> F:
    return click.option("--offline", is_flag=True, help="Take only what the cache holds; no network.")(
        command
    )


def debug(command: F) -> F:
    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.ensure_object(dict)["debug"] = True

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, is_eager=True,
        help="Show the traceback of an error.",
    )(command)  # fmt: skip


def load_recipe(name: str, preset: str | None, sets: tuple[str, ...]) -> Recipe:
    from edgekit.recipe import load

    return load(name, preset, sets)


def load_optional_recipe(name: str | None, preset: str | None, sets: tuple[str, ...]) -> Recipe | None:
    """For commands on a model folder, which says itself most of what a recipe would."""
    if name is not None:
        return load_recipe(name, preset, sets)
    if preset is not None or sets:
        given = "--preset" if preset is not None else "--set"
        raise EdgekitError("EK107", f"{given} changes a recipe, but no --recipe was given.")
    return None


def finish(text: str, result: dict[str, Any], json_file: Path | None) -> None:
    """Print a command's result, and write it as JSON where that was asked for."""
    as_json = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if json_file == Path("-"):
        click.echo(as_json, nl=False)  # alone on stdout, for a pipe
        return
    click.echo(text)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(as_json, encoding="utf-8")
