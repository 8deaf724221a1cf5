"""The bundle: what a user gets. Manifest, models, golden vectors, reports, each file with its sha256."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgekit.data.files import FINISHED, FULL, disk_full_guard, scratch_folder, sha256_of
from edgekit.errors import EdgekitError
from edgekit.folder import ModelFolder, ModelInfo
from edgekit.report import schema, write
from edgekit.tasks import outcomes

SCHEMA = 1
MANIFEST = "manifest.json"


@contextmanager
def replace_folder(out: Path) -> Iterator[Path]:
    """A fresh folder that becomes `out` only when the block ends well.

    An `out` that is there is replaced when all that is in it was written by edgekit; otherwise EK106.
    """
    with _beside(out) as scratch:
        fresh = scratch / "new"
        fresh.mkdir()
        yield fresh
        if out.exists():
            os.rename(out, scratch / "old")
        os.rename(fresh, out)


def check_writable(out: Path) -> None:
    """Fail before minutes of work, not after: raises what `replace_folder` would."""
    with _beside(out):
        pass


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A scratch folder beside `out`. Raises EK106 when `out` may not or cannot be replaced."""
    if out.exists():
        if not out.is_dir():
            raise EdgekitError("EK106", f"{out} is a file. Give another folder with --out.")
        if out.is_mount():
            raise EdgekitError(
                "EK106",
                f"{out} is a mount point, which cannot be replaced. Give a folder below it with --out.",
            )
        if foreign := _foreign(out):
            raise EdgekitError(
                "EK106",
                f"{out} holds files that edgekit did not write ({', '.join(foreign[:3])}): it is left alone. "
                "Move them, or give another --out.",
            )
    with ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            scratch = stack.enter_context(scratch_folder(out.parent, f".{out.name}.edgekit-"))
        except OSError as error:
            with disk_full_guard(out):
                if error.errno not in FULL:
                    raise EdgekitError("EK106", f"{out} cannot be written: {error.strerror}.") from error
                raise
        yield scratch


def _foreign(out: Path) -> list[str]:
    """Files below `out` that neither a bundle's manifest nor a stage's list of files names."""
    ours = {MANIFEST, FINISHED}
    for listing, read in (
        (MANIFEST, lambda d: [f["name"] for f in d["files"]]),
        (FINISHED, lambda d: d["files"]),
    ):
        try:
            ours.update(read(json.loads((out / listing).read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    found = (path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if not path.is_dir())
    return [name for name in found if name not in ours]


def write_bundle(
    out: Path,
    exported: ModelFolder,
    converted: Path,
    validated: Path,
    report: dict[str, Any],
    key: str,
) -> schema.Report:
    """Write everything; returns the report with the bundle's files in it. Raises EK106, EK410."""
    info = exported.info
    with disk_full_guard(out), replace_folder(out) as fresh:
        roles: dict[str, str] = {}
        for path in sorted(converted.glob(f"{info.name}.*")):
            # The x86 .nb only served the comparison with Paddle.
            if path.name.endswith(".x86.nb"):
                continue
            shutil.copyfile(path, fresh / path.name)
            roles[path.name] = path.name.removeprefix(f"{info.name}.")
        (fresh / "labels.txt").write_text("\n".join(info.labels) + "\n", encoding="utf-8")
        roles["labels.txt"] = "labels"
        shutil.copyfile(validated / outcomes.FILE, fresh / outcomes.FILE)
        roles[outcomes.FILE] = "outcomes"
        for source, name, role in (
            (exported.path, "paddle", "paddle"),
            (validated / "golden", "golden", "golden"),
        ):
            for path in sorted(source.rglob("*")):
                if path.is_file() and path.name not in ("stage.json", "digest.json"):
                    relative = Path(name) / path.relative_to(source)
                    (fresh / relative).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, fresh / relative)
                    roles[relative.as_posix()] = role
        files = [
            {
                "name": name,
                "role": role,
                "bytes": (fresh / name).stat().st_size,
                "sha256": sha256_of(fresh / name),
            }
            for name, role in sorted(roles.items())
        ]
        complete = schema.parse({**report, "files": files})
        reports = _write_reports(complete, fresh)
        dumped = complete.model_dump()
        manifest = {
            "schema_version": SCHEMA,
            "key": key,
            **info.model_dump(mode="json", exclude={"schema_version"}),
            "allowed_sides": info.allowed_sides,
            **{
                name: dumped[name]
                for name in (
                    "recipe", "preset", "edgekit_version", "commit", "created", "verdict", "gates", "metrics",
                    "intervals", "stages", "data", "versions", "seed", "not_executed", "default", "arm",
                    "boards",
                )
            },
            "files": files + reports,
        }  # fmt: skip
        _write_manifest(manifest, fresh)
    return complete


def _write_reports(report: schema.Report, folder: Path) -> list[dict[str, Any]]:
    """The three reports; their rows in the manifest."""
    write.write_json(report, folder / "report.json")
    write.write_html(report, folder / "report.html")
    write.write_junit(report, folder / "junit.xml")
    return [
        {
            "name": name,
            "role": "report",
            "bytes": (folder / name).stat().st_size,
            "sha256": sha256_of(folder / name),
        }
        for name in ("junit.xml", "report.html", "report.json")
    ]


def _write_manifest(manifest: dict[str, Any], folder: Path) -> None:
    (folder / MANIFEST).write_text(
        json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def write_arm(out: Path, arm: schema.Arm) -> schema.Report:
    """Put what was measured on emulated ARM into an intact bundle's reports and manifest; all else stays. A
    self-test that failed there fails the bundle.

    Raises EK106 and EK410 when it cannot be written, EK409 when its report cannot be read.
    """
    return _amended(out, lambda report: {"arm": arm.model_dump()})


def write_board(out: Path, board: schema.Board) -> schema.Report:
    """The same for a device's times; those of the same device are replaced. Raises what `write_arm` does."""

    def changed(report: schema.Report) -> dict[str, Any]:
        device = (board.machine, board.model, board.through)
        others = [row for row in report.boards if (row.machine, row.model, row.through) != device]
        return {"boards": [row.model_dump() for row in (*others, board)]}

    return _amended(out, changed)


def _amended(out: Path, changed: Callable[[schema.Report], dict[str, Any]]) -> schema.Report:
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        before = schema.parse(json.loads((out / "report.json").read_text(encoding="utf-8")))
        others = [file for file in manifest["files"] if file["role"] != "report"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgekitError("EK409", f"The report of {out} cannot be used: {error}") from error
    values = {**before.model_dump(), **changed(before)}
    tests = (values["arm"] or {}).get("self_tests", [])
    held = all(gate.passed for gate in before.gates) and not any(test["failed"] for test in tests)
    report = schema.parse({**values, "verdict": "passed" if held else "failed"})
    with disk_full_guard(out), replace_folder(out) as fresh:
        for file in others:
            (fresh / file["name"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(out / file["name"], fresh / file["name"])
        files = others + _write_reports(report, fresh)
        dumped = report.model_dump()
        told = {name: dumped[name] for name in ("verdict", "arm", "boards")}
        _write_manifest({**manifest, **told, "files": files}, fresh)
    return report


def write_testable(out: Path, info: ModelInfo, converted: Path, validated: Path) -> None:
    """What a self-test needs of a bundle, in the empty folder `out`: ONNX files, golden vectors, a
    manifest."""
    files = [
        (path, path.name, path.name.removeprefix(f"{info.name}."))
        for path in sorted(converted.glob(f"{info.name}.*.onnx"))
    ]
    for path in sorted((validated / "golden").rglob("*")):
        if path.is_file():
            files.append((path, path.relative_to(validated).as_posix(), "golden"))
    for source, name, _ in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, out / name)
    rows = [
        {"name": name, "role": role, "bytes": source.stat().st_size, "sha256": sha256_of(source)}
        for source, name, role in files
    ]
    about = info.model_dump(mode="json", exclude={"schema_version"})
    _write_manifest({"schema_version": SCHEMA, **about, "files": rows}, out)


def read_report(out: Path, key: str) -> schema.Report | None:
    """The report of an intact bundle in `out` that was made from `key`; None when there is none."""
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        if manifest["key"] != key:
            return None
        if any(sha256_of(out / file["name"]) != file["sha256"] for file in manifest["files"]):
            return None
        return schema.parse(json.loads((out / "report.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
