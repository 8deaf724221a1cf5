"""How slow tests make bundles of real models: alike where they can be, so that stages are made once."""

from __future__ import annotations


def options(*, calibration: int | None = 8, evaluation: int = 6) -> list[str]:
    """Words for `edgekit compress`: few pictures (None: the recipe's), and no gates, which are for all."""
    sets = [f"data.evaluation.count={evaluation}", "validate.gates=null"]
    if calibration is not None:
        sets.append(f"data.calibration.count={calibration}")
    return [word for text in sets for word in ("--set", text)]
