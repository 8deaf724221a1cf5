"""`edgekit arm self-test`: bundles against their golden vectors on emulated ARM cores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.backends.arm import emulated
from edgekit.backends.arm.parts import Log
from edgekit.errors import EdgekitError
from edgekit.result import Result


def self_test(bundles: Sequence[Path], cpus: Sequence[str], kinds: Sequence[str], log: Log) -> Result:
    """Every bundle on every core; what is not said is taken from the defaults.

    Raises EK401 and EK409 (no such bundle), EK403, EK410, EK501 and EK502.
    """
    lines: list[str] = []
    failed: list[str] = []
    values: list[dict[str, Any]] = []
    for bundle in bundles:
        for cpu in cpus or emulated.DEFAULT:
            for kind in kinds or (None,):
                found = emulated.self_test(bundle, cpu, kind, log)
                for part in found.get("parts", [found]):
                    values.append({"path": str(bundle), "cpu": cpu, **part})
                    told = f"{part['bundle']} {part['model']} on an emulated {cpu}"
                    why = part["failed"]
                    if why is None:
                        count = len(part["golden"])
                        lines.append(f"passed  {told}: {count} golden vectors, {_least(part)}")
                    else:
                        failed.append(f"{told}, {why['stage']}: {why['where']}, {why['why']}")
                        lines.append(f"failed  {failed[-1]}")
    return Result(lines, {"self_tests": values}, failed)


def _least(part: dict[str, Any]) -> str:
    """How near raw outputs lie to the golden ones, at the worst, and how near they must."""
    found = [
        (ratio, golden["least_db"][name])
        for golden in part["golden"]
        for name, ratio in golden["sqnr_db"].items()
        if ratio != "equal"
    ]
    if not found:
        return "raw outputs bit for bit"
    ratio, bound = min(found)
    return f"raw outputs at {ratio:.1f} dB (at least {bound:.1f})"


def raise_for_failures(result: Result) -> None:
    """Raises EK304 when a self-test failed."""
    if result.failed:
        raise EdgekitError("EK304", f"{len(result.failed)} self-test(s) failed: {'; '.join(result.failed)}.")
