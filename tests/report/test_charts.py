"""Geometry of charts and captions, by hand."""

from __future__ import annotations

import itertools

import pytest

from edgekit.report import charts
from edgekit.report.captions import captions
from edgekit.report.schema import Alternative, Attempt, Found, Group, Picture, Report
from edgekit.report.steps import steps
from tests.report.examples import FULL, JPEG, REPORT

WHOLE = Report.model_validate(FULL)


def test_bars_are_shares_of_the_longest() -> None:
    found = {chart.title: chart.rows for chart in charts.step_bars(WHOLE, steps(WHOLE))}
    assert [(row.label, row.value, row.share) for row in found["Multiply-accumulates"]] == [
        ("float", 640e6, 100), ("pruned", 480e6, 75), ("int8", 480e6, 75),
    ]  # fmt: skip
    assert [row.share for row in found["ONNX file"]] == [100, 80, 24]
    assert [row.value for row in found["Accuracy: AP"]] == [0.5, 0.49, 0.48]
    assert [row.value for row in found["Agreement with float"]] == [1, 0.97, 0.93761234]


def test_what_was_not_measured_has_no_bar() -> None:
    report = Report.model_validate(REPORT | {"latency": None})
    titles = [chart.title for chart in charts.step_bars(report, steps(report))]
    assert titles == ["Multiply-accumulates", "ONNX file", "Agreement with float"]
    assert charts.step_bars(report, []) == []


def test_errors_are_bars_of_decades() -> None:
    attempts = [
        Attempt(stage="quantize", step="kl", error=1.0),
        Attempt(stage="quantize", step="equalise", error=0.1),
        Attempt(stage="quantize", step="gptq", error=0.01, kept=False),
        Attempt(stage="pact", step="pact", error=0.0),
    ]
    (chart,) = charts.attempt_bars(attempts)  # an error of zero has no logarithm
    # From .001, a tenth of the least, to 1.
    assert [row.share for row in chart.rows] == pytest.approx([100, 66.67, 33.33])
    assert [row.strong for row in chart.rows] == [True, True, False]
    assert [row.label for row in chart.rows] == ["kl", "equalise", "gptq (undone)"]


def test_a_chart_by_hand() -> None:
    ways = [
        Alternative(floats=k, added=None, error=error, macs=macs, params=0, chosen=k == 1)
        for k, (error, macs) in enumerate([(0.1, 0.0), (0.01, 0.05), (0.001, 0.1)])
    ]
    chart = charts.rescue_chart(WHOLE.model_copy(update={"alternatives": ways}))
    assert chart is not None
    (curve,) = chart.curves
    middle = (charts.TOP + charts.BOTTOM) / 2, (charts.LEFT + charts.RIGHT) / 2
    assert [(dot.x, dot.y) for dot in curve.dots] == [
        (charts.LEFT, charts.TOP), middle[::-1], (charts.RIGHT, charts.BOTTOM),
    ]  # fmt: skip
    assert [dot.chosen for dot in curve.dots] == [False, True, False]
    assert [tick.label for tick in chart.y_ticks] == ["0.001", "0.01", "0.1"]
    assert [tick.label for tick in chart.x_ticks] == ["0 %", "2 %", "4 %", "6 %", "8 %", "10 %"]
    assert charts.rescue_chart(WHOLE.model_copy(update={"alternatives": ways[:1]})) is None


def test_the_most_sensitive_groups_are_named_apart() -> None:
    groups = [
        Group(name=f"g{k}", channels=8, removed=[0], losses=[(0.25, 0.001), (0.5, 0.1 + k / 1000)])
        for k in range(7)
    ]
    chart = charts.sensitivity_chart(groups)
    assert chart is not None
    named = sorted((curve for curve in chart.curves if curve.name), key=lambda curve: curve.number)
    assert [curve.name for curve in named] == ["g6", "g5", "g4", "g3", "g2"]
    assert chart.curves[-len(named) :] == named, "named ones lie on top"
    heights = sorted(curve.name_y for curve in named)
    assert all(b - a >= 12 for a, b in itertools.pairwise(heights))
    assert charts.sensitivity_chart([Group(name="g", channels=8, removed=[0])]) is None


def drawn(*found: tuple[str, float, float]) -> list[tuple[str, float, float]]:
    """Captions of boxes at (x, y) in a picture of 300 x 200, whose letters are 10 high and 5.8 wide."""
    items = [
        Found(
            label=label,
            score=0.5,
            points=[(x, y), (x + 9, y), (x + 9, y + 9), (x, y + 9)],
            differs=False,
        )
        for label, x, y in found
    ]
    picture = Picture(
        name="p", metric="m", value=1, width=300, height=200, reference=items, judged=[], jpeg=JPEG
    )
    return [(caption.text, caption.x, caption.y) for caption in captions(picture, items)]


def test_captions_stay_inside_and_off_one_another() -> None:
    assert drawn(("cat", 50, 60)) == [("cat 0.50", 50, 57.5)]  # a quarter of a letter above the box
    assert drawn(("cat", 50, 5)) == [("cat 0.50", 50, 15)]  # no room above: inside
    assert drawn(("cat", -20, 60)) == [("cat 0.50", 2, 57.5)]
    assert drawn(("cat", 290, 60)) == [("cat 0.50", pytest.approx(300 - 2 - 8 * 5.8, abs=0.1), 57.5)]
    # One line down for the second, and the fifth at one place is left to the list.
    assert [y for *_, y in drawn(*[("cat", 50, 60)] * 5)] == [57.5, 68.5, 79.5, 90.5]
    assert drawn(("cat", 50, 60), ("dog", 150, 60))[1] == ("dog 0.50", 150, 57.5)
    assert drawn(("text", 50, 60)) == []
