"""The writers. Each takes a `schema.Report` or a dict that fits it; OSError is left to the caller."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.quantization.analysis import Analysis
from edgekit.report import text
from edgekit.report.plots import plots
from edgekit.report.schema import Report, parse

if TYPE_CHECKING:
    from jinja2 import Template

# XML 1.0 forbids these even as references; a file name or an engine's last words may hold them.
FORBIDDEN_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_json(report: Report | dict[str, Any], path: Path) -> None:
    """`report.json`; what was not measured is null."""
    content = parse(report).model_dump(mode="json")
    source = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is no UTF-8 holds lone surrogates; their backslash form is also JSON's own.
    path.write_text(source, encoding="utf-8", errors="backslashreplace")


def write_junit(report: Report | dict[str, Any], path: Path) -> None:
    """`junit.xml`: one testcase per gate, with its measured value and bound as properties.

    A gate that passed without a measured value is skipped, with its note; it is no proof.
    """
    data = parse(report)
    failed = sum(not gate.passed for gate in data.gates)
    skipped = sum(gate.passed and gate.measured is None for gate in data.gates)
    counts = {
        "tests": str(len(data.gates)),
        "failures": str(failed),
        "errors": "0",
        "skipped": str(skipped),
        "time": f"{sum(stage.seconds for stage in data.stages):.3f}",
    }
    suites = ET.Element("testsuites", {"name": "edgekit", **counts})
    name = _xml(f"{data.recipe}.{data.preset}" if data.preset else data.recipe)
    suite = ET.SubElement(suites, "testsuite", {"name": name, "timestamp": _xml(data.created), **counts})
    facts = {
        "verdict": data.verdict,
        "edgekit": data.edgekit_version,
        "seed": "" if data.seed is None else str(data.seed),
        **{f"version.{key}": value for key, value in data.versions.items()},
        **{f"sha256.{file.name}": file.sha256 for file in data.files},
    }
    _properties(suite, facts)
    for gate in data.gates:
        title = f"{gate.target}: {gate.metric} {gate.bound}"
        case = ET.SubElement(suite, "testcase", {"classname": name, "name": _xml(title), "time": "0"})
        measured = "" if gate.measured is None else repr(gate.measured)
        _properties(
            case, {"target": gate.target, "metric": gate.metric, "bound": gate.bound, "measured": measured}
        )
        if not gate.passed:
            message = _xml(text.failure(gate))
            ET.SubElement(case, "failure", {"message": message, "type": "gate"}).text = message
        elif gate.measured is None:
            ET.SubElement(case, "skipped", {"message": _xml(gate.note or text.NOT_MEASURED)})
    ET.indent(suites)
    ET.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def write_html(report: Report | dict[str, Any], path: Path) -> None:
    """`report.html`: one file without scripts that loads nothing, for screen, phone and paper."""
    data = parse(report)
    page = _template("template.html.j2").render(
        r=data,
        headline=text.headline(data),
        metrics=list(dict.fromkeys(name for values in data.metrics.values() for name in values)),
        bars=_bars(data),
    )
    path.write_text(page, encoding="utf-8", errors="replace")


def write_analysis(analysis: Analysis, path: Path) -> None:
    """`analysis.html`: a page of the same kind."""
    page = _template("analysis_page.html.j2").render(a=analysis)
    path.write_text(page, encoding="utf-8", errors="replace")


def _template(name: str) -> Template:
    # Imported here: only pages need it, and `edgekit --help` must not wait for it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edgekit.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        text.number, text.against, text.size, text.amount, text.milliseconds, text.percent, plots,
    ):  # fmt: skip
        environment.filters[function.__name__] = function
    return environment.get_template(name)


def _bars(report: Report) -> list[dict[str, Any]]:
    """Bar charts: title and rows of label, shown value, raw value, share of the longest bar in %."""
    charts: list[tuple[str, list[tuple[str, float, str]]]] = []
    models = [file for file in report.files if file.role.startswith(("fp32.", "int8."))]
    if models:
        charts.append(("Size", [(file.role, file.bytes, text.size(file.bytes)) for file in models]))
    if report.latency:
        rows = [(name, value, text.milliseconds(value)) for name, value in report.latency.times]
        charts.append(("Time for one picture", rows))
    return [
        {
            "title": title,
            "rows": [
                {"label": label, "raw": raw, "shown": shown, "share": round(100 * raw / longest, 2)}
                for label, raw, shown in rows
            ],
        }
        for title, rows in charts
        for longest in [max(raw for _, raw, _ in rows) or 1]
    ]


def _properties(parent: ET.Element, values: dict[str, str]) -> None:
    group = ET.SubElement(parent, "properties")
    for key, value in values.items():
        ET.SubElement(group, "property", {"name": _xml(key), "value": _xml(value)})


def _xml(value: str) -> str:
    return FORBIDDEN_IN_XML.sub("\ufffd", value)
