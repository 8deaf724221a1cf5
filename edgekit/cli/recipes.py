"""`edgekit recipes`"""

from __future__ import annotations

import click

from edgekit.cli import options


@click.group(invoke_without_command=True)
@options.debug
@click.pass_context
def recipes(context: click.Context) -> None:
    """List the shipped recipes; `recipes show NAME` prints one.

    \b
    Example:
      edgekit recipes
      edgekit recipes show picodet_s
    """
    if context.invoked_subcommand is not None:
        return
    from edgekit.recipe import load, shipped

    found = [load(name) for name in shipped()]
    width = max((len(recipe.name) for recipe in found), default=0)
    for recipe in found:
        presets = f" (presets: {', '.join(recipe.presets)})" if recipe.presets else ""
        click.echo(f"{recipe.name:{width}}  {recipe.task:14}  {recipe.description}{presets}")


@recipes.command()
@click.argument("name")
@click.option("--preset", metavar="NAME", help="A preset of the recipe.")
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="Override a key; VALUE is YAML.")
@options.debug
def show(name: str, preset: str | None, sets: tuple[str, ...]) -> None:
    """Print a recipe as YAML, with base, preset and --set merged.

    \b
    Example:
      edgekit recipes show picodet_s --set data.calibration.count=32
    """
    from edgekit.recipe import dump

    recipe = options.load_recipe(name, preset, sets)
    if recipe.presets:
        click.echo(f"# presets: {', '.join(recipe.presets)}")
    click.echo(dump(recipe), nl=False)
