"""Numbers and sentences as a person reads them; shared by the HTML page and the failure messages."""

from __future__ import annotations

import re
from typing import Any

from edgekit.report.schema import File, Gate, Report

NOT_MEASURED = "not measured"
# The one metric per task that stands for "answers as before", and how it reads in a sentence.
AGREEMENT = {
    "detection": ("agreement_ap", "agreement with the float model: AP"),
    "classification": ("top1_agreement", "same best class as the float model:"),
    "text_detection": ("agreement_hmean", "agreement with the float model: hmean"),
    "text_recognition": ("agreement_exact", "lines read as by the float model:"),
}


def number(value: float | int | None) -> str:
    """Four significant digits without exponents for what people compare; integers in full."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        # Rounding must not turn 0.99996 into a 1 that was never measured.
        return _apart(value, 1) if not 0 < abs(1 - value) < 1e-6 else f"1 {_signed(value - 1)}"
    return f"{value:.3e}"


def against(value: float | int | None, bound: str) -> str:
    """As `number`, with as many digits as it takes not to read like the bound: 0.94997, not 0.95."""
    limit = re.search(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", bound)
    return _apart(value, float(limit[0])) if isinstance(value, float) and limit else number(value)


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'} {abs(value):.2g}"


def _apart(value: float, limit: float) -> str:
    texts = (f"{value:.{digits}g}" for digits in range(4, 18))
    return next(text for text in texts if (float(text) == limit) == (value == limit))


def size(count: int) -> str:
    """Bytes in the decimal units that app stores use."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def amount(count: int) -> str:
    """MACs or parameters: 1.13 M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return str(count)


def milliseconds(value: float) -> str:
    return f"{value:.3g} ms"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def score(value: float | None) -> str:
    """How sure an answer is, 0..1."""
    return NOT_MEASURED if value is None else f"{value:.2f}"


def facts(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """What a stage wrote into the lineage about itself; long lists are only counted."""
    found: list[tuple[str, str]] = []
    for key, value in entry.items():
        if key == "stage":
            continue
        if isinstance(value, dict):
            found += [(f"{key}.{name}", told) for name, told in facts(value)]
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            found.append((key, f"{len(value)} entries"))
        elif isinstance(value, list):
            found.append((key, ", ".join(_fact(item) for item in value) or "none"))
        else:
            found.append((key, _fact(value)))
    return found


def _fact(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return "none" if value is None else str(value)


def file_of(report: Report, role: str) -> File | None:
    """The first file with this role."""
    return next((file for file in report.files if file.role == role), None)


def verdict(report: Report) -> str:
    """What the gates say, and self-tests on emulated ARM that failed, in a sentence or two."""
    differ = [test for test in report.arm.self_tests if test.failed] if report.arm else []
    if differ:
        told = f"On an emulated {differ[0].cpu} {differ[0].model} differs: {differ[0].failed}."
        return f"{told} {_of_gates(report)}"
    return _of_gates(report)


def _of_gates(report: Report) -> str:
    broken = [gate for gate in report.gates if not gate.passed]
    unmeasured = sum(gate.measured is None for gate in report.gates if gate.passed)
    if not report.gates:
        return "The recipe promises nothing: there are no gates."
    if broken:
        told = "; ".join(failure(gate) for gate in broken[:3])
        more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
        return f"{len(broken)} of {len(report.gates)} gates do not hold: {told}{more}."
    held = f"All {len(report.gates)} gates hold" if len(report.gates) > 1 else "The gate holds"
    return f"{held}; {unmeasured} of them did not apply." if unmeasured else f"{held}."


def failure(gate: Gate) -> str:
    """Why a gate failed: measured value and bound."""
    text = f"{gate.target}: {gate.metric} is {against(gate.measured, gate.bound)}, must be {gate.bound}"
    return f"{text} ({gate.note})" if gate.note else text
