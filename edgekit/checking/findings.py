"""What a check found, and how it is told: on a terminal, to GitHub, as JUnit."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgekit.console import printed
from edgekit.data.files import write_bytes
from edgekit.report.write import FORBIDDEN_IN_XML

Verdict = Literal["passed", "failed", "warning", "skipped"]
_COLORS = {"passed": "green", "failed": "bold red", "warning": "yellow", "skipped": "dim"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `step`: hashes, files, layers, golden, figures, gates or arm.
    `subject`: the file, layer, stage or figure that it is about."""

    step: str
    subject: str
    verdict: Verdict
    says: str

    def told(self) -> str:
        return f"{self.step}: {self.subject}: {self.says}"


def failed(found: Sequence[Finding]) -> list[Finding]:
    return [each for each in found if each.verdict == "failed"]


def table(found: Sequence[Finding], title: str) -> str:
    """A table for a terminal, or for a log."""
    from rich.table import Table
    from rich.text import Text

    rows = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for name in ("step", "what", "", "says"):
        rows.add_column(name, overflow="fold")
    for each in found:
        verdict = Text(each.verdict, style=_COLORS[each.verdict])
        rows.add_row(each.step, Text(each.subject), verdict, Text(each.says))
    return printed(rows)


def workflow_commands(found: Sequence[Finding], bundle: str) -> list[str]:
    """GitHub's workflow commands, one per failure or warning; none elsewhere."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    kinds = {"failed": "error", "warning": "warning"}
    return [
        f"::{kinds[each.verdict]} title={_property(f'edgekit check: {each.step}: {each.subject}')}::"
        + _data(f"{bundle}: {each.subject}: {each.says}")
        for each in found
        if each.verdict in kinds
    ]


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_rows(found: Sequence[Finding]) -> list[dict[str, Any]]:
    return [asdict(each) for each in found]


def write_junit(found: Sequence[Finding], name: str, seconds: float, path: Path) -> None:
    """One testcase per finding. Raises EK410 when the disk is full."""
    counts = {
        "tests": str(len(found)),
        "failures": str(len(failed(found))),
        "errors": "0",
        "skipped": str(sum(each.verdict == "skipped" for each in found)),
        "time": f"{seconds:.3f}",
    }
    suites = ET.Element("testsuites", {"name": "edgekit check", **counts})
    suite = ET.SubElement(suites, "testsuite", {"name": _xml(name), **counts})
    for each in found:
        case = ET.SubElement(
            suite,
            "testcase",
            {"classname": _xml(f"{name}.{each.step}"), "name": _xml(each.subject), "time": "0"},
        )
        says = _xml(each.says)
        if each.verdict == "failed":
            ET.SubElement(case, "failure", {"message": says, "type": each.step}).text = says
        elif each.verdict == "skipped":
            ET.SubElement(case, "skipped", {"message": says})
        else:
            ET.SubElement(case, "system-out").text = says
    ET.indent(suites)
    write_bytes(path, ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _xml(text: str) -> str:
    return FORBIDDEN_IN_XML.sub("\ufffd", text)
