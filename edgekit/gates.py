"""Gates: the promises of a recipe, held against what was measured."""

from __future__ import annotations

from typing import Any

from edgekit.errors import EdgekitError
from edgekit.recipe import Gate
from edgekit.recipe_errors import nearest

Metrics = dict[str, dict[str, float | int | None]]

# Every metric that validate measures, and what it needs in order to be measurable.
METRICS = {
    "agreement_ap": "", "agreement_ap50": "", "same_class": "", "top1_agreement": "",
    "top1_agreement_sure": "", "top5_agreement": "", "kl_divergence": "", "agreement_hmean": "",
    "agreement_hmean75": "", "agreement_exact": "", "agreement_cer": "", "cosine": "", "sqnr_db": "",
    "max_abs_diff": "", "identical_answers": "",
    "size_ratio": "", "latency_ratio": "",
    "ap": "annotations", "ap50": "annotations", "ap_drop": "annotations",
    "top1": "annotations", "top5": "annotations", "top1_drop": "annotations",
    "hmean": "annotations", "hmean75": "annotations", "precision": "annotations", "recall": "annotations",
    "hmean_drop": "annotations",
    "exact": "annotations", "cer": "annotations", "exact_drop": "annotations", "cer_rise": "annotations",
}  # fmt: skip
_INT8 = ("int8.onnx", "int8.paddle", "int8.nb")


def check_names(gates: dict[str, Gate]) -> None:
    """Raises EK102 for a gate on a metric that nothing measures."""
    for key in gates:
        metric = key.rpartition("/")[2]
        if metric not in METRICS:
            raise EdgekitError(
                "EK102",
                f"validate.gates.{key}: there is no metric {metric!r}. "
                f"{nearest(metric, list(METRICS))}".strip(),
            )


def judge(gates: dict[str, Gate], metrics: Metrics, annotated: bool) -> list[dict[str, Any]]:
    """One row per gate and target. A gate without a target (`cosine`) binds every int8 target that has
    the metric; one with a target (`fp32.onnx/cosine`) binds that. A gate that cannot apply (that file was
    not asked for, pictures without annotations) passes and says so; one that should have been measured
    and was not fails.
    """
    rows: list[dict[str, Any]] = []
    for key, gate in gates.items():
        target, _, metric = key.rpartition("/")
        bound = [target] if target else [name for name in _INT8 if metric in metrics.get(name, {})]
        if not target and not bound:
            bound = ["int8"]
        for name in bound:
            value = metrics.get(name, {}).get(metric)
            row = {"metric": metric, "target": name, "bound": str(gate), "measured": value, "note": ""}
            if value is not None:
                row["passed"] = gate.holds(float(value))
            elif METRICS[metric] == "annotations" and not annotated:
                row |= {"passed": True, "note": "not applicable: the pictures have no annotations"}
            elif name not in metrics and not any(other in metrics for other in _INT8 if name == "int8"):
                row |= {"passed": True, "note": f"not applicable: there is no {name}"}
            else:
                row |= {"passed": False, "note": "not measurable on these pictures"}
            rows.append(row)
    return rows
