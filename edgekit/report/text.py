"""Numbers and sentences as a person reads them; shared by the HTML page and the failure messages."""

from __future__ import annotations

import re

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
        return _apart(value, 1)
    return f"{value:.3e}"


def against(value: float | int | None, bound: str) -> str:
    """As `number`, with as many digits as it takes not to read like the bound: 0.94997, not 0.95."""
    limit = re.search(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", bound)
    return _apart(value, float(limit[0])) if isinstance(value, float) and limit else number(value)


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


def file_of(report: Report, role: str) -> File | None:
    """The first file with this role."""
    return next((file for file in report.files if file.role == role), None)


def headline(report: Report) -> str:
    """What changed, in one sentence per measured thing; what was not measured is not mentioned."""
    parts: list[str] = []
    final = "int8" if file_of(report, "int8.onnx") else "fp32"
    after = file_of(report, f"{final}.onnx")
    ratio = report.metrics.get(f"{final}.onnx", {}).get("size_ratio")
    model = report.model
    if model and model.macs_before and model.params_before:
        parts.append(
            f"{percent(1 - model.macs / model.macs_before)} of the multiply-accumulates and "
            f"{percent(1 - model.params / model.params_before)} of the parameters are gone"
        )
    if after and ratio:
        what = "int8 ONNX" if final == "int8" else "ONNX"
        parts.append(
            f"{what} is {size(after.bytes)} instead of {size(round(after.bytes / ratio))} ({percent(ratio)})"
        )
    speed = report.latency
    if speed:
        threads = "one thread" if speed.threads == 1 else f"{speed.threads} threads"
        times = " → ".join(milliseconds(value) for _, value in speed.times)
        parts.append(f"{speed.speedup:.2f} × as fast here ({times}, {threads}, {speed.engine})")
    metric, words = AGREEMENT.get(report.task, ("", ""))
    agreement = report.metrics.get(f"{final}.onnx", {}).get(metric)
    if agreement is not None:
        parts.append(f"{words} {number(agreement)}")
    return "; ".join(parts) + "." if parts else "Neither size, nor speed, nor agreement was measured."


def failure(gate: Gate) -> str:
    """Why a gate failed: measured value and bound."""
    text = f"{gate.target}: {gate.metric} is {against(gate.measured, gate.bound)}, must be {gate.bound}"
    return f"{text} ({gate.note})" if gate.note else text
