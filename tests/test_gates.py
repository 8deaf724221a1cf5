from __future__ import annotations

import pytest

from edgekit import gates
from edgekit.errors import EdgekitError
from edgekit.recipe import Gate


def parsed(**bounds: str) -> dict[str, Gate]:
    return {key.replace("__", "/"): Gate.parse(text) for key, text in bounds.items()}


@pytest.mark.parametrize(
    ("bound", "value", "holds"),
    [
        (">= 0.5", 0.5, True),
        (">= 0.5", 0.4999, False),
        ("> 0.5", 0.5, False),
        ("<= 1e-3", 0.001, True),
        ("< -.5", -1, True),
        ("== 1", 1.0, True),
        ("== 1", 0.9999, False),
        ("<= 1", float("nan"), False),
        (">= 1", float("inf"), True),
    ],
)
def test_one_bound(bound: str, value: float, holds: bool) -> None:
    rows = gates.judge({"cosine": Gate.parse(bound)}, {"int8.onnx": {"cosine": value}}, annotated=False)
    assert [row["passed"] for row in rows] == [holds]


def test_a_gate_without_a_target_binds_every_int8_target_that_has_the_metric() -> None:
    metrics = {
        "fp32.onnx": {"cosine": 0.1},
        "int8.onnx": {"cosine": 0.99},
        "int8.paddle": {"cosine": 0.5},
        "int8.nb": {"size_ratio": 0.3},
        "int8.onnx~int8.paddle": {"cosine": 0.1},
    }
    rows = gates.judge(parsed(cosine=">= 0.9"), metrics, annotated=False)
    assert [(row["target"], row["passed"], row["measured"]) for row in rows] == [
        ("int8.onnx", True, 0.99),
        ("int8.paddle", False, 0.5),
    ]
    assert all(row["bound"] == ">= 0.9" and row["metric"] == "cosine" and not row["note"] for row in rows)
    rows = gates.judge(parsed(size_ratio="<= 0.33"), metrics, annotated=False)
    assert [(row["target"], row["passed"]) for row in rows] == [("int8.nb", True)]


def test_a_gate_with_a_target_binds_that_one() -> None:
    metrics = {"fp32.onnx": {"cosine": 0.1}, "int8.onnx~int8.paddle": {"cosine": 0.97}}
    bounds = {"fp32.onnx/cosine": Gate.parse(">= 0.9"), "int8.onnx~int8.paddle/cosine": Gate.parse(">= 0.95")}
    rows = gates.judge(bounds, metrics, annotated=False)
    assert [(row["target"], row["passed"]) for row in rows] == [
        ("fp32.onnx", False),
        ("int8.onnx~int8.paddle", True),
    ]


def test_what_does_not_apply_passes_and_says_so() -> None:
    metrics = {"int8.onnx": {"cosine": 1.0, "top1_agreement": None}}
    # Pictures without annotations have no AP; with annotations it ought to have been measured.
    for annotated in (False, True):
        (row,) = gates.judge(parsed(ap_drop="<= 0.01"), metrics, annotated)
        assert row["passed"] == (not annotated)
        assert row["measured"] is None
        assert ("annotations" in row["note"]) == (not annotated)
    # That file was not asked for.
    (row,) = gates.judge({"fp32.nb/cosine": Gate.parse(">= 0.9")}, metrics, annotated=False)
    assert row["passed"] and "there is no fp32.nb" in row["note"]
    # Without quantization there is no int8 target at all.
    (row,) = gates.judge(parsed(cosine=">= 0.9"), {"fp32.onnx": {"cosine": 1.0}}, annotated=False)
    assert row["passed"] and "there is no int8" in row["note"]


def test_what_should_have_been_measured_and_was_not_fails() -> None:
    metrics = {"int8.onnx": {"cosine": 1.0, "top1_agreement": None}}
    for bounds in (parsed(top1_agreement=">= 0.5"), parsed(agreement_ap=">= 0.5")):
        (row,) = gates.judge(bounds, metrics, annotated=False)
        assert not row["passed"] and row["note"] == "not measurable on these pictures"


def test_no_gates() -> None:
    assert gates.judge({}, {"int8.onnx": {"cosine": 0.0}}, annotated=False) == []


def test_names_are_checked_before_anything_runs() -> None:
    gates.check_names({**parsed(cosine=">= 1"), "fp32.onnx/identical_answers": Gate.parse("== 1")})
    for key in ("cosin", "fp32.onnx/cosin"):
        with pytest.raises(EdgekitError, match=r"validate\.gates\..*'cosin'.*'cosine'") as caught:
            gates.check_names({key: Gate.parse(">= 1")})
        assert caught.value.code == "EK102"


def test_a_loss_of_just_the_bound_is_within_it() -> None:
    from edgekit.recipe import Gate
    from edgekit.stages.validate import changes

    found = changes({"exact": 0.97, "cer": 0.001, "ap": None}, {"exact": 0.96, "cer": 0.0015, "ap": 0.5})
    assert found == {"exact_drop": 0.01, "cer_rise": 0.0005}
    assert Gate.parse("<= 0.01").holds(0.01) and 0.97 - 0.96 > 0.01
