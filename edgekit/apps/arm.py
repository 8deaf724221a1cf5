"""`edgekit arm`: bundles against their golden vectors on emulated ARM cores, and what an inference costs
there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekit import bundle as bundle_files
from edgekit import stage_cache
from edgekit.apps import bundles as opening
from edgekit.apps.bundles import KINDS, Bundle
from edgekit.backends.arm import counting, emulated
from edgekit.backends.arm.parts import Log
from edgekit.cachedir import cache_dir
from edgekit.data.files import scratch_folder, sha256_of
from edgekit.errors import EdgekitError
from edgekit.report.schema import Arm, Instructions, SelfTest
from edgekit.report.steps import of_float
from edgekit.result import Result

ORIGINAL = "original"


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
                for part in emulated.self_test(bundle, cpu, kind, log):
                    values.append({"path": str(bundle), "cpu": cpu, **part})
                    found = summary(part, cpu)
                    told = f"{part['bundle']} {told_of(found)}"
                    lines.append(f"{'failed' if found.failed else 'passed'}  {told}")
                    if found.failed:
                        failed.append(told)
    return Result(lines, {"self_tests": values}, failed)


def summary(part: dict[str, Any], cpu: str) -> SelfTest:
    """Of what the runner's self-test of one model says."""
    ratios = [
        (ratio, golden["least_db"][name])
        for golden in part["golden"]
        for name, ratio in golden["sqnr_db"].items()
        if ratio != "equal"
    ]
    least, bound = min(ratios) if ratios else (None, None)
    why = part["failed"]
    return SelfTest(
        model=part["model"],
        cpu=cpu,
        vectors=len(part["golden"]),
        sqnr_db=least,
        least_db=bound,
        failed=None if why is None else f"{why['stage']}: {why['where']}, {why['why']}",
    )


def told_of(found: SelfTest) -> str:
    """In a few words: what ran where, and how near raw outputs lie to the golden ones, at the worst."""
    told = f"{found.model} on an emulated {found.cpu}"
    if found.failed is not None:
        return f"{told}, {found.failed}"
    if found.sqnr_db is None or found.least_db is None:
        return f"{told}: {found.vectors} golden vectors, raw outputs bit for bit"
    near = f"{found.sqnr_db:.1f} dB (at least {found.least_db:.1f})"
    return f"{told}: {found.vectors} golden vectors, raw outputs at {near}"


def raise_for_failures(result: Result) -> None:
    """Raises EK304 when a self-test failed."""
    if result.failed:
        raise EdgekitError("EK304", f"{len(result.failed)} self-test(s) failed: {'; '.join(result.failed)}.")


def cost(
    bundles: Sequence[Path], cpus: Sequence[str], kinds: Sequence[str], original: Path | None, log: Log
) -> Result:
    """Instructions of one inference of every model of every bundle on every core, by kind.

    `original`: the float original's ONNX file, of a pruned model; without it the one in the cache of stages
    is taken, where it is still there. Raises EK107 (one original for several bundles), EK401, EK402, EK409
    (no such bundle), EK403, EK410, EK501 and EK502.
    """
    _check_original(bundles, original)
    lines: list[str] = []
    values: list[dict[str, Any]] = []
    for bundle in opening.open_bundles(bundles).bundles:
        found = _costs(bundle, cpus or emulated.DEFAULT, kinds, original, log)
        lines += [
            f"{bundle.info.name}, M instructions an inference:",
            *cost_lines(found, bundle.info.is_pruned),
        ]
        values += [{"bundle": str(bundle.path), **row} for row in cost_rows(found, bundle.info.is_pruned)]
    return Result(lines, {"costs": values})


def report(bundles: Sequence[Path], original: Path | None, log: Log) -> Result:
    """Self-tests and costs of every model of the bundles on the default cores, written into their reports and
    manifests.

    Raises what `cost` does, EK106 where a bundle cannot be written, and EK107 for a combined one.
    """
    _check_original(bundles, original)
    opened = opening.open_bundles(bundles).bundles
    if [bundle.path for bundle in opened] != list(bundles):
        raise EdgekitError(
            "EK107",
            "A combined bundle knows the hashes of its parts' reports: do this to the parts, then pack them.",
        )
    lines: list[str] = []
    failed: list[str] = []
    values: list[dict[str, Any]] = []
    for bundle in opened:
        found = measured(bundle.path, original, log)
        bundle_files.write_arm(bundle.path, found)
        lines += arm_lines(found, bundle.info.is_pruned)
        failed += [f"{bundle.info.name} {told_of(test)}" for test in found.self_tests if test.failed]
        lines.append(f"written into {bundle.path / 'report.html'}, report.json, junit.xml and manifest.json")
        values.append({"bundle": str(bundle.path), **found.model_dump(mode="json")})
    return Result(lines, {"arm": values}, failed)


def measured(path: Path, original: Path | None, log: Log) -> Arm:
    """Every model of a bundle on the default cores. Raises what `cost` does."""
    (bundle,) = opening.open_bundles([path]).bundles
    return Arm(
        self_tests=[
            summary(part, cpu)
            for cpu in emulated.DEFAULT
            for kind in bundle.onnx
            for part in emulated.self_test(bundle.path, cpu, kind, log)
        ],
        costs=_costs(bundle, emulated.DEFAULT, (), original, log),
    )


def arm_lines(found: Arm, pruned: bool) -> list[str]:
    """As a terminal shows it."""
    tests = [f"{'failed' if test.failed else 'passed'}  {told_of(test)}" for test in found.self_tests]
    return [*tests, "M instructions an inference:", *cost_lines(found.costs, pruned)]


def cost_lines(found: Sequence[Instructions], pruned: bool) -> list[str]:
    """A table, one row for each model on each core."""
    lines = [f"{'':14} {'total':>9} {'of float':>9}" + "".join(f"{kind:>9}" for kind in counting.KINDS)]
    for row, ratio in zip(found, of_float(found, pruned), strict=True):
        against = "" if ratio is None else f"{ratio:.3f}"
        counts = "".join(f"{row.counts[kind] / 1e6:9.2f}" for kind in counting.KINDS)
        lines.append(f"{row.cpu:4} {row.model:9} {row.total / 1e6:9.2f} {against:>9}{counts}")
    return lines


def cost_rows(found: Sequence[Instructions], pruned: bool) -> list[dict[str, Any]]:
    """As data: instructions, not millions of them."""
    return [
        {**row.model_dump(), "total": row.total, "of_float": ratio}
        for row, ratio in zip(found, of_float(found, pruned), strict=True)
    ]


def _check_original(bundles: Sequence[Path], original: Path | None) -> None:
    if original is not None and len(bundles) > 1:
        raise EdgekitError("EK107", "--original is that of one bundle: give one.")


def _costs(
    bundle: Bundle, cpus: Sequence[str], kinds: Sequence[str], original: Path | None, log: Log
) -> list[Instructions]:
    manifest = json.loads((bundle.path / bundle_files.MANIFEST).read_text(encoding="utf-8"))
    file = original or _kept_original(manifest)
    wanted = [kind for kind in KINDS if (kind in kinds if kinds else kind in bundle.onnx)]
    found: list[Instructions] = []
    for cpu in cpus:
        if file is not None:
            with _with_network(bundle, manifest, file) as folder:
                log(f"counting the float original of {bundle.info.name} on an emulated {cpu}")
                counts = counting.inference(folder, cpu, "fp32", log)
                found.append(Instructions(model=ORIGINAL, cpu=cpu, counts=counts))
        for kind in wanted:
            log(f"counting {bundle.info.name} {kind} on an emulated {cpu}")
            counts = counting.inference(bundle.path, cpu, kind, log)
            found.append(Instructions(model=kind, cpu=cpu, counts=counts))
    return found


def _kept_original(manifest: dict[str, Any]) -> Path | None:
    """The float original of a pruned model, which its bundle has not, but perhaps the cache of stages."""
    for stage in manifest.get("stages", []):
        if stage["name"] == ORIGINAL:
            folder = stage_cache.folder_of(cache_dir(), ORIGINAL, stage["key"])
            return next(iter(sorted(folder.glob("*.fp32.onnx"))), None)
    return None


@contextmanager
def _with_network(bundle: Bundle, manifest: dict[str, Any], onnx: Path) -> Iterator[Path]:
    """A bundle with the same pictures and another float network."""
    if not onnx.is_file():
        raise EdgekitError("EK401", f"The float original {onnx} is not there.")
    with scratch_folder(cache_dir() / "arm", ".original-") as folder:
        golden = [file for file in manifest["files"] if file["role"] == "golden"]
        for file in golden:
            (folder / file["name"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / file["name"], folder / file["name"])
        shutil.copyfile(onnx, folder / "original.onnx")
        network = {"name": "original.onnx", "role": "fp32.onnx", "sha256": sha256_of(onnx)}
        text = json.dumps({**manifest, "files": [*golden, network], "default": "fp32.onnx"})
        (folder / bundle_files.MANIFEST).write_text(text, encoding="utf-8")
        yield folder
