"""The first screen's figures and the table of steps: float, pruned, int8. Read from a report, nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.report import text
from edgekit.report.schema import Instructions, Report

# Accuracy against the truth, per task: the metric, how it reads, and what it lost to the float original.
TRUTH = {
    "detection": ("ap", "AP", "ap_drop"),
    "classification": ("top1", "top-1", "top1_drop"),
    "text_detection": ("hmean", "hmean", "hmean_drop"),
    "text_recognition": ("exact", "lines right", "exact_drop"),
}


@dataclass(frozen=True)
class Step:
    """The network at one step. None is not measured, or does not apply."""

    name: str
    what: str
    target: str  # the key of Report.metrics that its answers are in
    macs: int | None = None
    int8_macs: float | None = None  # share
    params: int | None = None
    onnx: int | None = None  # bytes
    nb: int | None = None
    milliseconds: float | None = None
    accuracy: float | None = None
    agreement: float | None = None


def steps(report: Report) -> list[Step]:
    """From the float original to the last thing made of it; empty where no network was measured."""
    model, latency = report.model, report.latency
    if model is None:
        return []
    pruned = model.macs_before is not None
    first = Step(
        name="float",
        what="the original",
        target="original" if pruned else "fp32.paddle",
        macs=model.macs_before if pruned else model.macs,
        params=model.params_before if pruned else model.params,
        onnx=_before(report, "onnx"),
        nb=_before(report, "nb"),
        milliseconds=(latency.original_ms if pruned else latency.float_ms) if latency else None,
        accuracy=_accuracy(report, "original" if pruned else "fp32.paddle"),
    )
    found = [first]
    if pruned:
        found.append(
            Step(
                name="pruned",
                what=_done(report, ("prune", "distil")),
                target="fp32.onnx" if "fp32.onnx" in report.metrics else "fp32.paddle",
                macs=model.macs,
                params=model.params,
                onnx=_bytes(report, "fp32.onnx"),
                nb=_bytes(report, "fp32.nb"),
                milliseconds=latency.float_ms if latency else None,
                accuracy=_accuracy(report, "fp32.paddle"),
                agreement=_agreement(report, "fp32.paddle"),
            )
        )
    if model.layers_int8:
        target = next((name for name in ("int8.onnx", "int8.paddle") if name in report.metrics), "int8.onnx")
        found.append(
            Step(
                name="int8",
                what=_done(report, ("quantize", "pact")),
                target=target,
                macs=model.macs,
                int8_macs=model.int8_macs_share,
                params=model.params,
                onnx=_bytes(report, "int8.onnx"),
                nb=_bytes(report, "int8.nb"),
                milliseconds=latency.int8_ms if latency else None,
                accuracy=_accuracy(report, target),
                agreement=_agreement(report, target),
            )
        )
    return found


@dataclass(frozen=True)
class Cost:
    """Instructions of one inference. `of_float`: over those of the float original on the same core; None
    where these were not counted."""

    cpu: str
    model: str
    total: int
    of_float: float | None
    counts: dict[str, int]


def instructions(report: Report) -> list[Cost]:
    """On each emulated ARM core, the float original first."""
    rows = report.arm.costs if report.arm else []
    pruned = report.model is not None and report.model.macs_before is not None
    ratios = of_float(rows, pruned)
    return [Cost(r.cpu, r.model, r.total, ratio, r.counts) for r, ratio in zip(rows, ratios, strict=True)]


def of_float(rows: Sequence[Instructions], pruned: bool) -> list[float | None]:
    """Of each row's instructions to those of the float original on the same core; None where these were not
    counted. A pruned model's own float file is not the original."""
    first = {row.cpu: row.total for row in rows if row.model == ("original" if pruned else "fp32")}
    return [row.total / first[row.cpu] if row.cpu in first else None for row in rows]


def _bytes(report: Report, role: str) -> int | None:
    file = text.file_of(report, role)
    return file.bytes if file else None


def _before(report: Report, kind: str) -> int | None:
    """Bytes of the float original's file, which a pruned model's bundle does not hold: from the ratio."""
    for what in ("int8", "fp32"):
        file, ratio = _bytes(report, f"{what}.{kind}"), _metric(report, f"{what}.{kind}", "size_ratio")
        if file and ratio:
            return round(file / ratio)
    pruned = report.model is not None and report.model.macs_before is not None
    return None if pruned else _bytes(report, f"fp32.{kind}")


def _metric(report: Report, target: str, metric: str) -> float | None:
    value = report.metrics.get(target, {}).get(metric)
    return None if value is None else float(value)


def _accuracy(report: Report, target: str) -> float | None:
    return _metric(report, target, TRUTH[report.task][0]) if report.task in TRUTH else None


def _agreement(report: Report, target: str) -> float | None:
    return _metric(report, target, text.AGREEMENT[report.task][0]) if report.task in text.AGREEMENT else None


def _done(report: Report, stages: tuple[str, ...]) -> str:
    """How it was made, in a few words."""
    told: list[str] = []
    for entry in report.lineage:
        stage = entry.get("stage")
        if stage not in stages:
            continue
        if stage == "prune":
            word = f"{entry['criterion']}".upper() if entry["criterion"] == "fpgm" else entry["criterion"]
        elif stage == "quantize":
            word = entry["method"].upper() + (", repaired" if entry["repair"] else "")
        else:
            word = {"pact": "PACT", "distil": "distilled"}[stage]
        if word not in told:
            told.append(word)
    return ", ".join(told)


@dataclass(frozen=True)
class Card:
    """One answer of the first screen: a question, the answer large, and the figures behind it."""

    question: str
    answer: str
    value: float | None  # what the answer says, exactly
    detail: str
    tone: str = ""  # good or bad, where that is beyond dispute


def cards(report: Report) -> list[Card]:
    """How much smaller, how much faster, how much worse: of the last step against the first."""
    found = steps(report)
    if len(found) < 2:
        return []
    first, last = found[0], found[-1]
    return [_smaller(first, last), _faster(report, first, last), _worse(report, first, last)]


def _smaller(first: Step, last: Step) -> Card:
    kind, before, after = "ONNX", first.onnx, last.onnx
    if before is None or after is None:
        kind, before, after = "Paddle Lite", first.nb, last.nb
    if before is None or after is None:
        return Card("How much smaller?", text.NOT_MEASURED, None, "No file was made of both.")
    detail = f"{kind} file: {text.size(before)} → {text.size(after)}, {text.percent(after / before)} of it"
    if after > before:
        return Card("How much smaller?", f"{after / before:.1f} × larger", after / before, detail, "bad")
    return Card("How much smaller?", f"{before / after:.1f} × smaller", after / before, detail)


def _faster(report: Report, first: Step, last: Step) -> Card:
    latency, before, after = report.latency, first.milliseconds, last.milliseconds
    if latency is None or before is None or after is None:
        return Card("How much faster?", text.NOT_MEASURED, None, "Latency was not measured.")
    threads = "one thread" if latency.threads == 1 else f"{latency.threads} threads"
    detail = (
        f"{text.milliseconds(before)} → {text.milliseconds(after)} a picture, {latency.engine}, {threads}, "
        f"{latency.cpu}"
    )
    if after > before:
        return Card("How much faster?", f"{after / before:.2f} × slower", before / after, detail, "bad")
    return Card("How much faster?", f"{before / after:.2f} × as fast", before / after, detail)


def _worse(report: Report, first: Step, last: Step) -> Card:
    """By the truth where pictures have one, else by agreement with float."""
    agreed = "" if last.agreement is None else f"agreement with float {text.number(last.agreement)} (1: same)"
    if first.accuracy is not None and last.accuracy is not None:
        _, word, drop = TRUTH[report.task]
        lost = _metric(report, last.target, drop)
        lost = first.accuracy - last.accuracy if lost is None else lost
        detail = f"{word} {text.number(first.accuracy)} → {text.number(last.accuracy)}"
        count = report.metrics.get(last.target, {}).get("n")
        detail += f" on {count} pictures" if count else ""
        said = "no loss" if lost == 0 else f"{word} {-lost:+.3g}".replace("-", "−")
        return Card("How much worse?", said, lost, f"{detail}; {agreed}" if agreed else detail)
    if last.agreement is None:
        return Card("How much worse?", text.NOT_MEASURED, None, "No metric of the task was measured.")
    _, words = text.AGREEMENT[report.task]
    return Card(
        "How much worse?",
        f"{text.percent(last.agreement)} as before",
        last.agreement,
        f"{words} {text.number(last.agreement)}; accuracy was not measured: the pictures have no labels",
    )
