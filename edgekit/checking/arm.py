"""The golden vectors on emulated ARM cores, and what an inference costs there against what is recorded."""

from __future__ import annotations

import json

from edgekit.apps import arm
from edgekit.apps.bundles import Bundle
from edgekit.backends.arm.parts import Log
from edgekit.bundle import MANIFEST
from edgekit.checking.findings import Finding
from edgekit.report.schema import Arm

STEP = "arm"
# Counts repeat to a thousandth; what is more than this is another network or another engine.
_MORE = 1.01


def check(bundle: Bundle, log: Log) -> list[Finding]:
    """Float and int8 on each core. Raises EK403, EK410, EK501, EK502; what differs is a finding."""
    manifest = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    before = Arm.model_validate(manifest["arm"]) if manifest.get("arm") else Arm()
    recorded = {(row.model, row.cpu): row.total for row in before.costs}
    now = arm.measured(bundle.path, None, log)
    found = []
    for test in now.self_tests:
        subject = f"{test.model} on {test.cpu}"
        if test.failed is not None:
            found.append(Finding(STEP, subject, "failed", test.failed))
        else:
            found.append(Finding(STEP, subject, "passed", arm.told_of(test).partition(": ")[2]))
    for row in now.costs:
        subject, total = f"instructions of {row.model} on {row.cpu}", row.total
        told, was = f"{total / 1e6:.2f} M an inference", recorded.get((row.model, row.cpu))
        if was is None:
            found.append(
                Finding(STEP, subject, "passed", f"{told}; none are recorded (`edgekit arm report`)")
            )
        else:
            says = f"{told}, recorded are {was / 1e6:.2f} M"
            found.append(Finding(STEP, subject, "failed" if total > was * _MORE else "passed", says))
    return found
