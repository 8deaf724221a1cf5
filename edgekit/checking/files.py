"""What the files of a bundle say of each other: labels, pre- and post-processing, figures."""

from __future__ import annotations

import json
from typing import Any

from edgekit.apps.bundles import Bundle
from edgekit.bundle import MANIFEST
from edgekit.checking.findings import Finding
from edgekit.errors import EdgekitError
from edgekit.folder import ModelFolder

STEP = "files"


def check(bundle: Bundle, manifest: dict[str, Any]) -> list[Finding]:
    """The manifest against labels.txt, paddle/model.json and report.json."""
    return [_labels(bundle), *_description(bundle), _report(bundle, manifest)]


def _labels(bundle: Bundle) -> Finding:
    try:
        text = (bundle.path / "labels.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Finding(STEP, "labels.txt", "failed", f"it cannot be read: {error}")
    told = text.removesuffix("\n").split("\n")
    return _same_lists("labels.txt", told, bundle.info.labels)


def _same_lists(subject: str, found: list[str], wanted: list[str]) -> Finding:
    if found == wanted:
        return Finding(STEP, subject, "passed", f"the {len(found)} labels of {MANIFEST}")
    both = min(len(found), len(wanted))
    first = next((k for k in range(both) if found[k] != wanted[k]), both)
    says = f"{len(found)} labels, {MANIFEST} has {len(wanted)}"
    if first < both:
        says += f"; the first that differs is number {first}: {found[first]!r}, there {wanted[first]!r}"
        for shift in (1, -1):
            moved = wanted[shift:] if shift > 0 else wanted[:shift]
            if (found[: len(moved)] if shift > 0 else found[-shift:]) == moved:
                says += "; they are shifted by one"
    return Finding(STEP, subject, "failed", says)


def _description(bundle: Bundle) -> list[Finding]:
    try:
        described = ModelFolder.open(bundle.path / "paddle").info
    except EdgekitError as error:
        return [Finding(STEP, "paddle/model.json", "failed", error.message)]
    found = []
    for section in ("preprocess", "postprocess", "task"):
        there = _flat(section, described.model_dump(mode="json")[section])
        here = _flat(section, bundle.info.model_dump(mode="json")[section])
        wrong = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        if wrong:
            told = "; ".join(f"{key} is {here.get(key)}, there {there.get(key)}" for key in wrong)
            found.append(
                Finding(STEP, section, "failed", f"{MANIFEST} and paddle/model.json disagree: {told}")
            )
    if described.labels != bundle.info.labels:
        found.append(_same_lists("labels of paddle/model.json", described.labels, bundle.info.labels))
    return found or [Finding(STEP, "paddle/model.json", "passed", f"pre- and post-processing of {MANIFEST}")]


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {
        key: leaf for part, below in value.items() for key, leaf in _flat(f"{name}.{part}", below).items()
    }


def _report(bundle: Bundle, manifest: dict[str, Any]) -> Finding:
    try:
        report = json.loads((bundle.path / "report.json").read_text(encoding="utf-8"))
        wrong = [key for key in ("metrics", "gates", "verdict", "seed") if report[key] != manifest[key]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding(STEP, "report.json", "failed", f"it cannot be used: {type(error).__name__}: {error}")
    if wrong:
        says = f"it and {MANIFEST} disagree about {', '.join(wrong)}"
        return Finding(STEP, "report.json", "failed", says)
    return Finding(STEP, "report.json", "passed", f"the figures of {MANIFEST}")
