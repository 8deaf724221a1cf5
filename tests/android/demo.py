"""The demo's own tests under Robolectric: what pom.xml needs is prepared, and Maven runs them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit.android import apk, assets, runtime
from edgekit.apps.bundles import pack
from tests.apps import small
from tests.runtimes.jvm import SOURCE

COLOURS = SOURCE / "src/test/resources/bundle"  # with golden vectors


def prepare(target: Path, real: Sequence[Path]) -> None:
    """Manifest, resources and bundles in `target`: tiny ones, real ones, and some that no app can run."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    made, inside = target / "made", target / "assets"
    bundles = [small.bundle(made / "things", "things"), COLOURS]
    parts = [small.bundle(made / name, name) for name in ("det", "cls", "rec")]
    pack("blocks", parts, made / "blocks")
    apk.gather([*bundles, made / "blocks", *real], (), False, inside)
    damage(inside / assets.BUNDLES)
    pages(target / "pages")
    apk.link(inside, target, print)


def damage(bundles: Path) -> None:
    """A folder without a manifest, a bundle of a newer schema, one with a wrong golden vector, a .nb."""
    (bundles / "nothing").mkdir()
    (bundles / "nothing/readme.txt").write_text("no bundle\n")
    for name in ("newer", "spoilt", "lite"):
        shutil.copytree(bundles / "colours", bundles / name)
    change(bundles / "newer", schema_version=99)
    vector = bundles / "spoilt/golden/1/fp32.onnx.probabilities.npy"
    np.save(vector, np.load(vector) * np.float32(1.02))
    # As Paddle Lite's files begin; what follows no stand-in reads.
    (bundles / "lite/colours.fp32.nb").write_bytes(b"\2\0v2.13-rc" + bytes(40))
    listed = json.loads((bundles / "lite/manifest.json").read_text())["files"]
    change(bundles / "lite", files=[*listed, {"name": "colours.fp32.nb", "role": "fp32.nb", "bytes": 50}])
    for name in ("spoilt", "lite"):
        rehash(bundles / name)


def change(bundle: Path, **values: object) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **values}))


def rehash(bundle: Path) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    for file in files:
        file["sha256"] = hashlib.sha256((bundle / file["name"]).read_bytes()).hexdigest()
    change(bundle, files=files)


def pages(folder: Path) -> None:
    """Pictures that the tests open."""
    folder.mkdir()
    page = small.page()
    small.put(page, small.line("abc"), 20, 30)
    small.put(page, small.line("cab")[::-1, ::-1], 180, 32)
    small.put(page, small.line("bca"), 30, 200)
    small.save(folder / "page.png", page)


def run(real: Sequence[Path] = ()) -> Path:
    """Run the tests; gives the folder with the screens they drew."""
    prepare(assets.DEMO / "target/android", real)
    screens = assets.DEMO / "target/screens"
    shutil.rmtree(screens, ignore_errors=True)  # of an earlier run
    done = subprocess.run(
        ["mvn", "-q", "-B", "test", f"-Druntime.jar={runtime.jar(print)}"],
        cwd=assets.DEMO, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    return screens
