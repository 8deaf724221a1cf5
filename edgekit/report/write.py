"""The writers. Each takes a `schema.Report` or a dict that fits it; OSError is left to the caller."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.quantization.analysis import Analysis
from edgekit.report import charts, steps, text
from edgekit.report.captions import captions
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
    """`junit.xml`: one testcase per gate, with its measured value and bound as properties, and one per
    self-test on emulated ARM.

    A gate that passed without a measured value is skipped, with its note; it is no proof.
    """
    data = parse(report)
    tests = data.arm.self_tests if data.arm else []
    failed = sum(not gate.passed for gate in data.gates) + sum(test.failed is not None for test in tests)
    skipped = sum(gate.passed and gate.measured is None for gate in data.gates)
    counts = {
        "tests": str(len(data.gates) + len(tests)),
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
    for test in tests:
        title = _xml(f"{test.model}: golden vectors on an emulated {test.cpu}")
        case = ET.SubElement(suite, "testcase", {"classname": name, "name": title, "time": "0"})
        if test.failed is not None:
            message = _xml(test.failed)
            ET.SubElement(case, "failure", {"message": message, "type": "arm"}).text = message
    ET.indent(suites)
    ET.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def write_html(report: Report | dict[str, Any], path: Path) -> None:
    """`report.html`: one file without scripts that loads nothing, for screen, phone and paper."""
    data = parse(report)
    found = steps.steps(data)
    page = _template("template.html.j2").render(
        r=data,
        verdict=text.verdict(data),
        cards=steps.cards(data),
        steps=found,
        step_bars=charts.step_bars(data, found),
        truth=steps.TRUTH[data.task][1] if data.task in steps.TRUTH else "",
        agreement=text.AGREEMENT[data.task][0] if data.task in text.AGREEMENT else "",
        backends=list(dict.fromkeys(pair.truth for pair in data.agreement)),
        matrix={(pair.truth, pair.judged): pair.value for pair in data.agreement},
        metrics=list(dict.fromkeys(name for values in data.metrics.values() for name in values)),
        attempt_bars=charts.attempt_bars(data.attempts),
        rescue_chart=charts.rescue_chart(data),
        sensitivity_chart=charts.sensitivity_chart(data.groups),
        instructions=steps.instructions(data),
        kept=sum(group.kept for group in data.groups),
        had=sum(group.channels for group in data.groups),
        contents=_contents(data),
    )
    path.write_text(page, encoding="utf-8", errors="replace")


def _contents(report: Report) -> list[tuple[str, str]]:
    """Sections that the page has: their id, and what a reader calls them."""
    sections = (
        ("promises", "Gates", True),
        ("unexecuted", "Not executed", True),
        ("steps", "Step by step", True),
        ("arm", "On ARM", report.arm),
        ("boards", "On devices", report.boards),
        ("pictures", "Pictures", report.pictures),
        ("backends", "Backends", report.metrics),
        ("tried", "What was tried", report.attempts or report.alternatives),
        ("channels", "Pruning", report.groups),
        ("quantization", "Quantization", True),
        ("costs", "Layers", report.analysis or (report.model and report.model.layers_int8)),
        ("made", "How it was made", True),
    )
    return [(id, title) for id, title, there in sections if there]


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
        text.number, text.against, text.size, text.amount, text.milliseconds, text.percent, text.score,
        text.facts, plots, captions,
    ):  # fmt: skip
        environment.filters[function.__name__] = function
    return environment.get_template(name)


def _properties(parent: ET.Element, values: dict[str, str]) -> None:
    group = ET.SubElement(parent, "properties")
    for key, value in values.items():
        ET.SubElement(group, "property", {"name": _xml(key), "value": _xml(value)})


def _xml(value: str) -> str:
    return FORBIDDEN_IN_XML.sub("\ufffd", value)
