"""A bundle as an app carries it: what runs on a device and its golden vectors, without the rest."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.apps.bundles import KINDS, Kind, open_bundles
from edgekit.bundle import MANIFEST, replace_folder
from edgekit.data.files import disk_full_guard, sha256_of
from edgekit.errors import EdgekitError
from edgekit.result import Result

_REPOSITORY = Path(__file__).parents[2]
DEMO = _REPOSITORY / "android_demo"
BUNDLES = Path("bundles")  # in the app's assets
DEMO_BUNDLES = DEMO / "app/src/main/assets" / BUNDLES
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def push(bundle: Path, into: Path | None, kinds: Sequence[Kind], lite: bool) -> Result:
    """A copy of a bundle in the folder `into/NAME`, by default among the demo's assets.

    `kinds`: whose ONNX it keeps, and with `lite` whose `.nb`. The manifest lists what is there, so the copy
    is a whole bundle. Raises EK106 and EK410 (it cannot be written), EK107 (it has no such file), EK502
    (no source checkout), and what `open_bundles` raises.
    """
    opened = open_bundles([bundle])
    for one in opened.bundles:
        if not set(kinds or KINDS) & set(one.onnx):
            raise EdgekitError("EK107", f"{one.path} has no {' or '.join(kinds)} ONNX file.")
    manifest = _read(bundle)
    name = manifest["name"]
    if not re.fullmatch(_NAME, name):
        raise EdgekitError(
            "EK409", f"{bundle / MANIFEST} names the bundle {name!r}, which is no folder's name."
        )
    if into is None:
        require_demo()
        into = DEMO_BUNDLES
    out = into / name
    if out.resolve() == bundle.resolve():
        raise EdgekitError("EK107", f"{out} is the bundle itself: give another folder with --into.")
    wanted = kinds or KINDS
    with disk_full_guard(out), replace_folder(out) as fresh:
        if "parts" in manifest:
            for part in manifest["parts"]:
                _copy(bundle / part["path"], fresh / part["path"], wanted, lite)
            _write(fresh, {**manifest, "files": [_hashed(fresh, file) for file in _kept(fresh, manifest)]})
        else:
            _copy(bundle, fresh, wanted, lite)
    paths = [path for path in sorted(out.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in paths)
    line = f"{out}: {len(paths)} files, {size / 1e6:.2f} MB"
    return Result([line], {"name": name, "path": str(out), "files": len(paths), "bytes": size})


def require_demo() -> None:
    """Raises EK502 where there is no source of the app."""
    if not (DEMO / "app").is_dir():
        raise EdgekitError(
            "EK502", "The app's source is android_demo/, which a source checkout has and a wheel has not."
        )


def _copy(bundle: Path, out: Path, kinds: Sequence[Kind], lite: bool) -> None:
    """One model's bundle. Golden float outputs stay: the self-test asks of int8 what int8 costs."""
    manifest = _read(bundle)
    roles = {"labels", "golden", *(f"{kind}.onnx" for kind in kinds)}
    roles |= {f"{kind}.nb" for kind in kinds if lite}
    files = [file for file in manifest["files"] if file["role"] in roles]
    for file in files:
        (out / file["name"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / file["name"], out / file["name"])
    # The report has the measured figures; an app reads what the runtime reads.
    left_out = ("metrics", "intervals", "stages", "gates", "data", "not_executed")
    _write(out, {**{key: value for key, value in manifest.items() if key not in left_out}, "files": files})


def _kept(out: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [file for file in manifest["files"] if (out / file["name"]).is_file()]


def _hashed(out: Path, file: dict[str, Any]) -> dict[str, Any]:
    """The manifests of parts are other than they were."""
    path = out / file["name"]
    return {**file, "bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _read(bundle: Path) -> dict[str, Any]:
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    assert isinstance(manifest, dict)  # `open_bundles` has read it
    return manifest


def _write(out: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (out / MANIFEST).write_text(text, encoding="utf-8")
