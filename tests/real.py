"""How slow tests make bundles of real models: all alike, so that the stages are made once and then cached."""

from __future__ import annotations

# With eight pictures the repairs have six to fit to and two to judge by. Readers of text are asked for more.
_CALIBRATION = {"ppocrv3_det": 16, "ppocrv3_rec": 32, "ppocr_mobile_v2_cls": 32}


def options(recipe: str, *, evaluation: int = 6) -> list[str]:
    """Words for `edgekit compress`: few pictures, and no gates, which are for a recipe's own."""
    count = _CALIBRATION.get(recipe, 8)
    sets = (f"data.calibration.count={count}", f"data.evaluation.count={evaluation}", "validate.gates=null")
    return [word for text in sets for word in ("--set", text)]
