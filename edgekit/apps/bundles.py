"""Bundles as an application opens them: every hash checked; several packed into one that is loaded as one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekit import __version__
from edgekit.bundle import MANIFEST, SCHEMA, replace_folder
from edgekit.data.files import disk_full_guard, sha256_of
from edgekit.errors import EdgekitError
from edgekit.folder import ModelInfo, Strict
from edgekit.report.schema import File
from edgekit.result import Result

Kind = Literal["fp32", "int8"]
KINDS: tuple[Kind, Kind] = ("fp32", "int8")
Role = Literal["det", "cls", "rec"]
_ROLES: dict[str, Role] = {"text_detection": "det", "classification": "cls", "text_recognition": "rec"}
_HALVES = ["0", "180"]  # the labels of a classifier of lines that may stand upside down
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


class Chain(Strict):
    """What holds the networks of a reading chain together; the defaults are PP-OCR's."""

    vertical: float = 1.5  # from this height / width on a region is a line from top to bottom
    turned: float = 0.9  # above this probability a line stands upside down
    least: float = 0.5  # a text with less confidence is no text
    smallest: int = 4  # pixels: a region lower or narrower than this is none


class Part(Strict):
    """A whole bundle within a combined one, in the folder `path`."""

    role: Role
    name: str
    task: str
    path: str


class _Combined(BaseModel):
    """The manifest of a combined bundle."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA
    name: str
    task: Literal["reading"] = "reading"
    edgekit_version: str
    created: str  # ISO 8601
    parts: list[Part]
    chain: Chain
    files: list[File]


@dataclass(frozen=True)
class Bundle:
    """An intact bundle of one model. `onnx`: the file of each kind that it has."""

    path: Path
    info: ModelInfo
    default: Kind
    onnx: dict[Kind, Path]
    files: dict[str, str]  # name -> role, without the manifest

    def file(self, kind: Kind | None) -> tuple[Kind, Path]:
        """The ONNX of a kind; of the manifest's default without one. Raises EK401 when it is not there."""
        kind = kind or self.default
        if kind not in self.onnx:
            raise EdgekitError("EK401", f"The bundle {self.path} has no {kind} ONNX file.")
        return kind, self.onnx[kind]


@dataclass(frozen=True)
class Opened:
    """One or more bundles, and how they go together where a combined one says so."""

    bundles: tuple[Bundle, ...]
    chain: Chain

    def roles(self) -> dict[Role, Bundle]:
        """The parts of a reading chain: det, rec and perhaps cls. Raises EK107 when they make none."""
        found: dict[Role, Bundle] = {}
        for bundle in self.bundles:
            role = _ROLES.get(bundle.info.task)
            if role is None or (role == "cls" and bundle.info.labels != _HALVES):
                raise EdgekitError(
                    "EK107",
                    f"{bundle.path} ({bundle.info.task}) has no part in reading text: that takes a text "
                    "detector, a recogniser, and perhaps a classifier of lines with the labels 0 and 180.",
                )
            if role in found:
                raise EdgekitError("EK107", f"Both {found[role].path} and {bundle.path} are for {role}.")
            found[role] = bundle
        missing = [task for task in ("text_detection", "text_recognition") if _ROLES[task] not in found]
        if missing:
            raise EdgekitError(
                "EK107", f"Reading text needs a bundle for {' and one for '.join(missing)}: --bundle may be "
                "given more than once, or name a combined bundle (`edgekit bundle pack`)."
            )  # fmt: skip
        return {role: found[role] for role in _ROLES.values() if role in found}

    def one(self, tasks: Sequence[str]) -> Bundle:
        """The one bundle for any of these tasks. Raises EK107 when there are none or several."""
        fitting = [bundle for bundle in self.bundles if bundle.info.task in tasks]
        if len(fitting) != 1:
            has = ", ".join(f"{bundle.info.name} ({bundle.info.task})" for bundle in self.bundles)
            raise EdgekitError(
                "EK107", f"Needed is one bundle whose task is {' or '.join(tasks)}; given: {has}."
            )
        return fitting[0]


def open_bundles(paths: Sequence[Path]) -> Opened:
    """Bundles, single or combined, with the hash of every file checked.

    Raises EK401 (no bundle, or a file is missing), EK402 (a file was changed) and EK409 (a manifest that
    cannot be used).
    """
    bundles: list[Bundle] = []
    chain = Chain()
    for path in paths:
        manifest = _manifest(path)
        _check(path, _files(path, manifest))
        if "parts" not in manifest:
            bundles.append(_single(path, manifest))
            continue
        with _usable(path):
            combined = _Combined.model_validate(manifest)
        chain = combined.chain
        for part in combined.parts:
            _check_inside(path, part.path)
            # Its files are among the combined one's, whose hashes have been checked.
            bundles.append(_single(path / part.path, _manifest(path / part.path)))
    return Opened(tuple(bundles), chain)


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValidationError, KeyError, TypeError) as error:
        raise EdgekitError("EK409", f"{path / MANIFEST} cannot be used: {error}") from error


def _manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgekitError(
            "EK401",
            f"{path} is not a bundle: {MANIFEST} cannot be read ({error.strerror}). `edgekit compress` and "
            "`edgekit bundle pack` write bundles.",
        ) from error
    except ValueError as error:
        raise EdgekitError("EK409", f"{file} cannot be used: {error}") from error
    with _usable(path):
        version = manifest["schema_version"]
        newer = version > SCHEMA
    if newer:
        raise EdgekitError(
            "EK409",
            f"{file} has schema {version}, this edgekit reads up to {SCHEMA}: it was written by a newer "
            "edgekit. Update edgekit.",
        )
    assert isinstance(manifest, dict)  # it was indexed by a string above
    return manifest


def _files(path: Path, manifest: dict[str, Any]) -> list[File]:
    with _usable(path):
        files = [File.model_validate(file) for file in manifest["files"]]
    for file in files:
        _check_inside(path, file.name)
    return files


def _check_inside(path: Path, name: str) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise EdgekitError("EK409", f"{path / MANIFEST} names the unsafe path {name!r}.")


def _check(path: Path, files: Sequence[File]) -> None:
    for file in files:
        try:
            found = sha256_of(path / file.name)
        except OSError as error:
            raise EdgekitError(
                "EK401", f"{path / file.name}, a file of the bundle, cannot be read: {error.strerror}."
            ) from error
        if found != file.sha256:
            raise EdgekitError(
                "EK402",
                f"{path / file.name} is damaged: its sha256 is {found}, the manifest says {file.sha256}. "
                "Copy or make the bundle again.",
            )


def _single(path: Path, manifest: dict[str, Any]) -> Bundle:
    with _usable(path):
        info = ModelInfo.model_validate({k: v for k, v in manifest.items() if k in ModelInfo.model_fields})
    files = {file.name: file.role for file in _files(path, manifest)}
    onnx = {kind: path / name for kind in KINDS for name, role in files.items() if role == f"{kind}.onnx"}
    if not onnx:
        raise EdgekitError("EK401", f"The bundle {path} has no ONNX file, which is what runs here.")
    # Bundles of an edgekit that did not compare speeds name no default.
    order = (str(manifest.get("default")).removesuffix(".onnx"), "int8", "fp32")
    default = next(kind for wanted in order for kind in onnx if kind == wanted)
    return Bundle(path, info, default, onnx, files)


def pack(name: str, paths: Sequence[Path], out: Path) -> Result:
    """A combined bundle in `out`: its parts as they are, each in the folder of its role, and a manifest.

    Raises EK107 when the bundles make no reading chain or `out` is one of them, EK106 and EK410 when it
    cannot be written, and what `open_bundles` raises.
    """
    if not re.fullmatch(_NAME, name):
        raise EdgekitError("EK107", f"--name {name!r}: letters, digits, dot, dash and underscore, please.")
    for path in paths:
        if path.resolve() == out.resolve() or out.resolve() in path.resolve().parents:
            raise EdgekitError("EK107", f"--out {out} would replace {path}, which is to be packed.")
    opened = open_bundles(paths)
    parts = opened.roles()
    with disk_full_guard(out), replace_folder(out) as fresh:
        files: list[File] = []
        for role, bundle in parts.items():
            for file, of in {MANIFEST: "manifest", **bundle.files}.items():
                copy = fresh / role / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.path / file, copy)
                files.append(
                    File(
                        name=f"{role}/{file}",
                        role=f"{role}.{of}",
                        bytes=copy.stat().st_size,
                        sha256=sha256_of(copy),
                    )
                )
        manifest = _Combined(
            name=name,
            edgekit_version=__version__,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            parts=[
                Part(role=role, name=bundle.info.name, task=bundle.info.task, path=role)
                for role, bundle in parts.items()
            ],
            chain=opened.chain,
            files=files,
        )
        (fresh / MANIFEST).write_text(
            json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
    size = sum(file.bytes for file in files)
    told = ", ".join(f"{role} {bundle.info.name}" for role, bundle in parts.items())
    line = f"{out}: {name} of {told}; {len(files)} files, {size / 1e6:.2f} MB"
    return Result([line], manifest.model_dump(mode="json"))
