"""The examples for CI call edgekit as its command line wants it, and hand over the files that it writes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import click
import pytest
import yaml

from edgekit.cli import edgekit
from edgekit.recipe import load

HERE = Path(__file__).parents[1] / "docs" / "ci"
EXAMPLES = ("github.yml", "gitlab.yml")
SCRIPTS = {"run", "script", "before_script"}


def example(name: str) -> dict[Any, Any]:
    found = yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def scripts(node: Any) -> Iterator[str]:
    """The shell lines below `node`."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in SCRIPTS:
                for text in [value] if isinstance(value, str) else value:
                    yield from text.splitlines()
            else:
                yield from scripts(value)
    elif isinstance(node, list):
        for value in node:
            yield from scripts(value)


def commands(lines: Iterator[str]) -> list[list[str]]:
    """The arguments of each call of edgekit, which may be followed by `|| ...` or stand behind `&&`."""
    found = []
    for line in lines:
        for part in re.split(r"\|\||&&|;|\|", line):
            words = shlex.split(part, comments=True)
            if words and words[0] == "edgekit":
                found.append(words[1:])
    return found


def parse(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The command's name and its parameters, as click reads them. Raises click.UsageError."""
    command: click.Command = edgekit
    path: list[str] = []
    while isinstance(command, click.Group):
        name, *arguments = arguments
        below = command.get_command(click.Context(command), name)
        if below is None:
            raise click.UsageError(f"no command {name}")
        command = below
        path.append(name)
    return " ".join(path), command.make_context(path[-1], list(arguments)).params


def in_pages(page: Path) -> Iterator[str]:
    blocks = re.findall(r"^```\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    yield from "".join(blocks).splitlines()


@pytest.mark.parametrize(
    "wrong", ["edgekit chek b", "edgekit check b --juint x", "edgekit check", "a && edgekit diff a"]
)
def test_a_mistake_would_be_seen(wrong: str) -> None:
    (found,) = commands(iter([wrong]))
    with pytest.raises(click.UsageError):
        parse(found)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_command_of_an_example_is_accepted(name: str) -> None:
    calls = [parse(words) for words in commands(scripts(example(name)))]
    assert [command for command, _ in calls] == ["compress", "doctor", "check"]
    values = dict(calls)
    made, checked = values["compress"], values["check"]
    load(made["recipe"], made["preset"], ())
    assert made["out"] == checked["bundle"]
    results = PurePosixPath(checked["against"])
    assert results.parts[:2] == ("recipes", "results") and results.stem == made["recipe"]


def test_every_command_of_the_page_is_accepted() -> None:
    calls = [parse(words)[0] for words in commands(in_pages(HERE / "README.md"))]
    assert calls == ["check", "check", "diff", "results update"]


def test_every_command_of_the_way_to_a_board_is_accepted() -> None:
    calls = [parse(words)[0] for words in commands(in_pages(HERE.parent / "deploy.md"))]
    assert calls == ["compress", "arm setup", "arm self-test", "arm report", "bench", "check", "bench"]


def test_github() -> None:
    jobs = example("github.yml")["jobs"]
    for job in jobs.values():
        (cache,) = (step for step in job["steps"] if "cache" in step.get("uses", ""))
        assert cache["with"]["path"] == job["env"]["EDGEKIT_CACHE"]
        assert cache["with"]["key"].startswith(cache["with"]["restore-keys"])
    steps = jobs["check"]["steps"]
    (report,) = (step for step in steps if step.get("uses", "").startswith("actions/upload-artifact"))
    assert "cancelled" in report["if"], "what went red is what one wants to read"
    check = dict(parse(words) for words in commands(scripts(steps)))["check"]
    wanted = {str(check["junit"]), str(check["json_file"]), f"{check['bundle']}/report.html"}
    assert set(report["with"]["path"].split()) == wanted


def test_gitlab() -> None:
    whole = example("gitlab.yml")
    (kept,) = whole["default"]["cache"]["paths"]
    assert whole["variables"]["EDGEKIT_CACHE"] == f"$CI_PROJECT_DIR/{kept}"
    check = dict(parse(words) for words in commands(scripts(whole["check"])))["check"]
    artifacts = whole["check"]["artifacts"]
    assert artifacts["when"] == "always" and artifacts["reports"]["junit"] == str(check["junit"])
    wanted = {str(check["junit"]), str(check["json_file"]), f"{check['bundle']}/report.html"}
    assert set(artifacts["paths"]) == wanted
    assert str(check["bundle"]) in whole["compress"]["artifacts"]["paths"]


@pytest.mark.parametrize("name", (*EXAMPLES, "README.md"))
def test_no_registry_is_named(name: str) -> None:
    text = (HERE / name).read_text(encoding="utf-8")
    assert "://" not in text and not re.search(r"index-url|extra-index", text)
