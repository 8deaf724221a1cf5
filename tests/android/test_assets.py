"""`edgekit android push`: what goes into an app is a whole bundle, and nothing that no device runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit import cli
from edgekit.android import assets
from edgekit.apps.bundles import open_bundles, pack
from edgekit.bundle import MANIFEST
from edgekit.errors import EdgekitError
from tests.android import demo
from tests.apps import small
from tests.rehash import rehash


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A detector's bundle with what `edgekit compress` writes besides."""
    bundle = small.bundle(tmp_path / "net", "things")
    for name, role in (
        ("things.int8.nb", "int8.nb"),
        ("paddle/model.json", "paddle"),
        ("report.html", "report"),
    ):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_text(name)
        files = json.loads((bundle / MANIFEST).read_text())["files"]
        demo.change(bundle, files=[*files, {"name": name, "role": role, "bytes": len(name), "sha256": ""}])
    rehash(bundle)
    return bundle


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_models_labels_and_golden_vectors_go_along(bundle: Path, tmp_path: Path) -> None:
    assert cli.main(["android", "push", str(bundle), "--into", str(tmp_path / "app")]) == 0
    out = tmp_path / "app/things"
    models = {"things.fp32.onnx", "things.int8.onnx"}
    assert names(out) == {*models, "labels.txt", "golden/0/note.txt", MANIFEST}
    assert set(open_bundles([out]).bundles[0].files) == names(out) - {MANIFEST}


def test_one_kind_and_its_nb(bundle: Path, tmp_path: Path) -> None:
    assets.push(bundle, tmp_path / "app", ["int8"], lite=True)
    out = tmp_path / "app/things"
    assert names(out) == {"things.int8.onnx", "things.int8.nb", "labels.txt", "golden/0/note.txt", MANIFEST}
    assert open_bundles([out]).bundles[0].default == "int8"


def test_a_combined_bundle_stays_one(tmp_path: Path) -> None:
    parts = [small.bundle(tmp_path / name, name) for name in ("det", "cls", "rec")]
    pack("blocks", parts, tmp_path / "whole")
    assets.push(tmp_path / "whole", tmp_path / "app", ["int8"], lite=False)
    opened = open_bundles([tmp_path / "app/blocks"])
    assert set(opened.roles()) == {"det", "cls", "rec"}
    assert [set(bundle.onnx) for bundle in opened.bundles] == [{"int8"}] * 3


def test_a_second_push_replaces_the_first(bundle: Path, tmp_path: Path) -> None:
    assets.push(bundle, tmp_path / "app", [], lite=False)
    assets.push(bundle, tmp_path / "app", ["fp32"], lite=False)
    assert "things.int8.onnx" not in names(tmp_path / "app/things")


def damage(bundle: Path) -> None:
    (bundle / "things.int8.onnx").write_bytes(b"other")


def no_manifest(bundle: Path) -> None:
    (bundle / MANIFEST).unlink()


def odd_name(bundle: Path) -> None:
    demo.change(bundle, name="../elsewhere")


def newer(bundle: Path) -> None:
    demo.change(bundle, schema_version=2)


@pytest.mark.parametrize(
    ("spoil", "code"), [(damage, "EK402"), (no_manifest, "EK401"), (odd_name, "EK409"), (newer, "EK409")]
)
def test_what_no_app_could_run_is_refused(
    bundle: Path, tmp_path: Path, spoil: Callable[[Path], None], code: str
) -> None:
    spoil(bundle)
    with pytest.raises(EdgekitError) as caught:
        assets.push(bundle, tmp_path / "app", [], lite=False)
    assert caught.value.code == code
    assert not (tmp_path / "app").exists() and not (tmp_path / "elsewhere").exists()


def test_files_of_the_users_own_are_left_alone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "app/things").mkdir(parents=True)
    (tmp_path / "app/things/mine.txt").write_text("mine")
    with pytest.raises(EdgekitError, match=r"mine\.txt") as caught:
        assets.push(bundle, tmp_path / "app", [], lite=False)
    assert caught.value.code == "EK106"


def test_a_bundle_is_not_pushed_onto_itself(bundle: Path) -> None:
    moved = Path(shutil.move(bundle, bundle.parent / "things"))
    with pytest.raises(EdgekitError) as caught:
        assets.push(moved, moved.parent, [], lite=False)
    assert caught.value.code == "EK107"
