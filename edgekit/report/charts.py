"""Charts as plain geometry, which the templates turn into SVG: bars of steps, and lines over two axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.report import text
from edgekit.report.schema import Attempt, Group, Report
from edgekit.report.steps import TRUTH, Step

# Of a chart with axes, in units of its viewBox.
WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 376, 12, 206
NAMED = 5  # curves that are named
_APART = 13.0  # between names


@dataclass(frozen=True)
class Bar:
    """`share`: of the longest bar, in percent."""

    label: str
    shown: str
    value: float
    share: float
    strong: bool = True


@dataclass(frozen=True)
class Bars:
    title: str
    rows: list[Bar]
    note: str = ""


@dataclass(frozen=True)
class Tick:
    place: float
    label: str


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    title: str
    chosen: bool = False


@dataclass(frozen=True)
class Curve:
    path: str
    dots: list[Dot]
    name: str = ""  # of the few that are named
    number: int = 0
    name_y: float = 0.0


@dataclass(frozen=True)
class Chart:
    """x is linear from 0, y logarithmic."""

    x_ticks: list[Tick]
    y_ticks: list[Tick]
    curves: list[Curve]


def step_bars(report: Report, steps: Sequence[Step]) -> list[Bars]:
    """Per measured quantity a bar for each step."""
    metric = TRUTH[report.task][1] if report.task in TRUTH else ""
    agreement = [1.0 if k == 0 else step.agreement for k, step in enumerate(steps)]
    wanted: list[tuple[str, list[Any], Callable[[Any], str], str]] = [
        ("Multiply-accumulates", [step.macs for step in steps], text.amount, ""),
        ("ONNX file", [step.onnx for step in steps], text.size, ""),
        ("Time for one picture", [step.milliseconds for step in steps], text.milliseconds, ""),
        (f"Accuracy: {metric}", [step.accuracy for step in steps], text.number, "longer is better"),
        ("Agreement with float", agreement, text.number, "longer is better"),
    ]
    found = []
    for title, values, show, note in wanted:
        known = [
            (step.name, float(value), show(value))
            for step, value in zip(steps, values, strict=True)
            if value is not None
        ]
        if len(known) > 1:
            found.append(_bars(title, known, note))
    return found


def attempt_bars(attempts: Sequence[Attempt]) -> list[Bars]:
    """Per stage a bar for each step, logarithmic from a tenth of the least error on."""
    stages = dict.fromkeys(attempt.stage for attempt in attempts)
    found = []
    for stage in stages:
        rows = [a for a in attempts if a.stage == stage and a.error is not None and a.error > 0]
        if not rows:
            continue
        errors = [float(a.error or 0) for a in rows]
        low, high = math.log(min(errors) / 10), math.log(max(errors))
        bars = [
            Bar(
                f"{a.step}{'' if a.kept else ' (undone)'}",
                text.number(error),
                error,
                round(100 * (math.log(error) - low) / (high - low), 2),
                a.kept,
            )
            for a, error in zip(rows, errors, strict=True)
        ]
        found.append(Bars(stage, bars))
    return found


def _bars(title: str, rows: Sequence[tuple[str, float, str]], note: str) -> Bars:
    longest = max(value for _, value, _ in rows) or 1
    return Bars(
        title,
        [
            Bar(name, shown, value, round(100 * value / longest, 2), name != "float")
            for name, value, shown in rows
        ],
        note,
    )


def rescue_chart(report: Report) -> Chart | None:
    """Predicted error over the share of multiply-accumulates in float."""
    points = [
        (
            100 * way.macs,
            float(way.error or 0),
            f"{way.floats} layers left in float: error {text.number(way.error)}, {text.percent(way.macs)} of "
            f"the multiply-accumulates",
            way.chosen,
        )
        for way in report.alternatives
    ]
    return _chart([("", points)], []) if len(points) > 1 else None


def sensitivity_chart(groups: Sequence[Group]) -> Chart | None:
    """Error of the outputs over the share of a group's channels that is removed."""
    known = [group for group in groups if group.losses]
    worst = sorted(known, key=lambda group: -max(loss for _, loss in group.losses))[:NAMED]
    curves = [
        (
            group.name,
            [
                (100 * share, loss, f"{group.name} without {text.percent(share)}: {text.number(loss)}", False)
                for share, loss in group.losses
            ],
        )
        for group in known
    ]
    return _chart(curves, [group.name for group in worst]) if known else None


def _chart(
    curves: Sequence[tuple[str, Sequence[tuple[float, float, str, bool]]]], named: Sequence[str]
) -> Chart | None:
    """x in percent; y in decades, what is 0 left out."""
    points = [point for _, found in curves for point in found if point[1] > 0]
    if not points:
        return None
    most = max(x for x, *_ in points) or 1
    step = next(s for s in (1, 2, 5, 10, 20, 25) if most <= 5 * s)
    right = step * math.ceil(most / step)
    low = math.floor(math.log10(min(y for _, y, *_ in points)))
    high = max(low + 1, math.ceil(math.log10(max(y for _, y, *_ in points))))
    every = math.ceil((high - low) / 6)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            round(LEFT + (RIGHT - LEFT) * x / right, 1),
            round(BOTTOM - (BOTTOM - TOP) * (math.log10(y) - low) / (high - low), 1),
        )

    made = []
    for name, found in curves:
        dots = [Dot(*place(x, y), title, chosen) for x, y, title, chosen in found if y > 0]
        if dots:
            path = "M" + "L".join(f"{dot.x:g} {dot.y:g}" for dot in dots)
            made.append(Curve(path, dots, name if name in named else ""))
    return Chart(
        [Tick(place(x, 10.0**low)[0], f"{x} %") for x in range(0, right + 1, step)],
        [Tick(place(0, 10.0**k)[1], f"{10.0**k:g}") for k in range(low, high + 1, every)],
        _named(made, named),
    )


def _named(curves: Sequence[Curve], named: Sequence[str]) -> list[Curve]:
    """Unnamed curves first, so that they lie below; names beside the last dot, moved apart."""
    plain = [curve for curve in curves if not curve.name]
    chosen = sorted((curve for curve in curves if curve.name), key=lambda curve: curve.dots[-1].y)
    placed: list[Curve] = []
    for curve in chosen:
        end = curve.dots[-1]
        beside = [other.name_y + _APART for other in placed if abs(other.dots[-1].x - end.x) < _APART]
        y = max([end.y, *beside])
        placed.append(Curve(curve.path, curve.dots, curve.name, named.index(curve.name) + 1, y))
    return [*plain, *placed]
