"""All steps of `edgekit check`, in order, and their verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import gates
from edgekit.apps import bundles
from edgekit.apps.bundles import Bundle
from edgekit.bundle import MANIFEST
from edgekit.cachedir import cache_dir
from edgekit.checking import figures, files, findings, golden, layers
from edgekit.checking.findings import Finding
from edgekit.console import Progress
from edgekit.errors import EdgekitError
from edgekit.recipe import Gate
from edgekit.result import Result


@dataclass(frozen=True)
class Checked:
    result: Result
    found: list[Finding]

    def raise_for_failures(self, bundle: Path) -> None:
        wrong = findings.failed(self.found)
        if wrong:
            told = "; ".join(each.told() for each in wrong[:4])
            more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
            raise EdgekitError(
                "EK303", f"{bundle}: {len(wrong)} of {len(self.found)} checks failed: {told}{more}."
            )


def check(
    path: Path,
    *,
    against: Path | None,
    sets: Sequence[str],
    data: Path | None,
    junit: Path | None,
    offline: bool,
    progress: Progress,
    arm: bool = False,
) -> Checked:
    """Check a bundle, or each part of a combined one; with `arm` on emulated ARM cores, too.

    Raises EK401, EK402 and EK409 for a bundle with damaged or missing files (also told in `junit`), EK102 and
    EK103 for a wrong `sets`, EK107 and EK408 when the pictures or what to compare with do not fit; with
    `arm` EK403, EK410, EK501 and EK502 where the emulator cannot be had or run.
    """
    start = time.monotonic()
    bounds = _bounds(sets)
    try:
        parts = bundles.open_bundles([path]).bundles
    except EdgekitError as error:
        found = [Finding("hashes", str(path), "failed", error.message)]
        _tell(found, path, time.monotonic() - start, junit)
        raise
    if against is not None and len(parts) > 1:
        raise EdgekitError("EK107", f"{path} is a combined bundle: compare its parts one by one.")
    found = []
    rows: list[dict[str, Any]] = []
    for part in parts:
        name = "" if len(parts) == 1 else f"{part.path.name}/"
        one, of_one = _part(part, against, bounds, data, offline, progress)
        if arm:
            from edgekit.checking import arm as on_arm

            one += on_arm.check(part, progress.line)
        found += [Finding(f.step, f"{name}{f.subject}", f.verdict, f.says) for f in one]
        rows += [{"part": part.path.name, **row} if name else row for row in of_one]
    seconds = time.monotonic() - start
    commands = _tell(found, path, seconds, junit)
    wrong = findings.failed(found)
    verdict = "failed" if wrong else "passed"
    lines = [
        *commands,
        findings.table(found, f"{path}"),
        f"{verdict}: {path}, {len(found) - len(wrong)} of {len(found)} checks in {seconds:.0f} s",
    ]
    values = {
        "bundle": str(path), "verdict": verdict, "seconds": round(seconds, 1),
        "findings": findings.as_rows(found), "figures": rows,
    }  # fmt: skip
    return Checked(Result(lines, values), found)


def _bounds(sets: Sequence[str]) -> dict[str, Gate]:
    bounds: dict[str, Gate] = {}
    for text in sets:
        key, equals, bound = text.partition("=")
        try:
            if not equals:
                raise ValueError("expected GATE=BOUND")
            bounds[key.strip().removeprefix("validate.gates.")] = Gate.parse(bound)
        except ValueError as error:
            raise EdgekitError(
                "EK103", f"--set {text}: {error}. An example: --set 'agreement_ap=>= 0.95'."
            ) from error
    gates.check_names(bounds)
    return bounds


def _part(
    bundle: Bundle,
    against: Path | None,
    bounds: dict[str, Gate],
    data: Path | None,
    offline: bool,
    progress: Progress,
) -> tuple[list[Finding], list[dict[str, Any]]]:
    manifest: dict[str, Any] = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    other = _other(against, manifest)
    before = figures.recorded(bundle)
    images = figures.pictures(bundle, manifest, data, cache_dir(), offline, progress)
    found = [Finding("hashes", "sha256", "passed", f"{len(bundle.files)} files are as written")]
    found += files.check(bundle, manifest)
    found += layers.check(bundle)
    found += golden.check(bundle)
    measured = figures.measure(bundle, before, images, progress)
    more, rows = figures.compare(measured, before, "recorded")
    found += more
    whole, remembered = figures.completed(measured, before)
    if isinstance(other, Bundle):
        kept = figures.recorded(other)
        if kept.names != before.names or _digest(other) != images.digest:
            raise EdgekitError(
                "EK408", f"{other.path} and {bundle.path} were measured on different pictures: no comparison."
            )
        more, of_more = figures.compare(measured, kept, str(other.path))
        found += more
        rows += of_more
        if findings.failed(more):
            found += layers.apart(bundle, other)
    elif other is not None:
        assert against is not None
        names = figures.names_in_results(manifest["metrics"])
        more, of_more = figures.compare_with_results(whole, other, names, images.digest, str(against))
        found += more
        rows += of_more
    found += figures.judge(manifest, whole, before, bounds, images.annotations is not None, remembered)
    not_run = [name for name, role in bundle.files.items() if role in ("int8.nb", "fp32.nb")]
    for name in not_run:
        found.append(
            Finding("figures", name, "skipped", "not executed here: it is for ARM; see its layers above")
        )
    return found, rows


def _other(against: Path | None, manifest: dict[str, Any]) -> Any:
    """A bundle, or the row of a results file; None when nothing is to be compared with."""
    if against is None:
        return None
    if against.suffix in (".yaml", ".yml"):
        from edgekit import results

        return figures.row_of(results.load(against), manifest, against)
    others = bundles.open_bundles([against]).bundles
    if len(others) != 1:
        raise EdgekitError("EK107", f"{against} is a combined bundle: compare with one of its parts.")
    return others[0]


def _digest(bundle: Bundle) -> str | None:
    manifest = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    return ((manifest.get("data") or {}).get("evaluation") or {}).get("digest")


def _tell(found: list[Finding], path: Path, seconds: float, junit: Path | None) -> list[str]:
    if junit is not None:
        findings.write_junit(found, path.name, seconds, junit)
    return findings.workflow_commands(found, str(path))
