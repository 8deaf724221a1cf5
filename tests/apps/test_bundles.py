from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.apps.bundles import open_bundles, pack
from edgekit.errors import EdgekitError
from tests.apps.small import bundle

Parts = dict[str, Path]


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def change(folder: Path, **values: Any) -> None:
    (folder / "manifest.json").write_text(json.dumps({**manifest(folder), **values}))


@pytest.fixture
def combined(parts: Parts, tmp_path: Path) -> Path:
    pack("chain", [parts["rec"], parts["det"], parts["cls"]], tmp_path / "chain")
    return tmp_path / "chain"


def test_a_combined_bundle_holds_its_parts_as_they_are(parts: Parts, combined: Path) -> None:
    said = manifest(combined)
    assert {part["role"]: (part["name"], part["task"], part["path"]) for part in said["parts"]} == {
        "det": ("det", "text_detection", "det"),
        "cls": ("cls", "classification", "cls"),
        "rec": ("rec", "text_recognition", "rec"),
    }
    assert said["name"] == "chain" and said["chain"]["turned"] == 0.9
    listed = {file["name"]: file for file in said["files"]}
    there = {path.relative_to(combined).as_posix() for path in combined.rglob("*") if path.is_file()}
    assert there == {"manifest.json", *listed}
    for name, file in listed.items():
        data = (combined / name).read_bytes()
        assert (file["sha256"], file["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
        role, _, original = name.partition("/")
        assert data == (parts[role] / original).read_bytes()
    assert listed["rec/rec.int8.onnx"]["role"] == "rec.int8.onnx"
    assert listed["det/golden/0/note.txt"]["role"] == "det.golden"
    found = open_bundles([combined]).roles()
    assert list(found) == ["det", "cls", "rec"]
    assert found["rec"].file(None) == ("int8", combined / "rec/rec.int8.onnx")
    assert found["rec"].info.labels == ["a", "b", "c"]
    assert list(open_bundles([combined / "det", combined / "rec"]).roles()) == ["det", "rec"], "also alone"


def test_what_the_combined_manifest_says_of_the_chain_counts(combined: Path) -> None:
    change(combined, chain={"vertical": 2.0, "turned": 0.5, "least": 0.25, "smallest": 9})
    assert open_bundles([combined]).chain.least == 0.25


def test_packed_again_it_replaces_itself_and_nothing_else(parts: Parts, combined: Path) -> None:
    pack("two", [parts["det"], parts["rec"]], combined)
    assert sorted(path.name for path in combined.iterdir()) == ["det", "manifest.json", "rec"]
    (combined / "rec" / "mine.txt").write_text("mine")
    with pytest.raises(EdgekitError, match=r"rec/mine\.txt") as caught:
        pack("two", [parts["det"], parts["rec"]], combined)
    assert caught.value.code == "EK106"
    assert [path.name for path in combined.parent.iterdir()] == ["chain"], "nothing beside it is left"


def test_a_bundle_is_not_replaced_by_what_it_is_packed_into(parts: Parts, combined: Path) -> None:
    for given in ([combined], [combined / "det", parts["rec"]]):
        with pytest.raises(EdgekitError, match="would replace") as caught:
            pack("again", given, combined)
        assert caught.value.code == "EK107"


def damaged(folder: Path) -> None:
    file = folder / "golden/0/note.txt"
    file.write_bytes(file.read_bytes()[::-1])


def gone(folder: Path) -> None:
    (folder / "rec.int8.onnx").unlink()


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def newer(folder: Path) -> None:
    change(folder, schema_version=2)


def unsafe(folder: Path) -> None:
    shutil.copy(folder / "labels.txt", folder.parent / "secret")
    file = next(file for file in manifest(folder)["files"] if file["role"] == "labels")
    change(folder, files=[{**file, "name": "../secret"}])


def no_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def a_list(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def no_files(folder: Path) -> None:
    change(folder, files=None)


def no_task(folder: Path) -> None:
    change(folder, task="sorting")


def no_onnx(folder: Path) -> None:
    change(folder, files=[file for file in manifest(folder)["files"] if "onnx" not in file["role"]])


SPOILT = [
    (damaged, "EK402", "golden/0/note.txt is damaged"),
    (gone, "EK401", "rec.int8.onnx"),
    (no_manifest, "EK401", "is not a bundle"),
    (newer, "EK409", "schema 2"),
    (unsafe, "EK409", "unsafe path '../secret'"),
    (no_json, "EK409", "cannot be used"),
    (a_list, "EK409", "cannot be used"),
    (no_files, "EK409", "cannot be used"),
    (no_task, "EK409", "task"),
    (no_onnx, "EK401", "no ONNX"),
]


@pytest.mark.parametrize(("spoil", "code", "words"), SPOILT)
def test_a_spoilt_bundle(tmp_path: Path, spoil: Callable[[Path], None], code: str, words: str) -> None:
    folder = bundle(tmp_path / "rec", "rec")
    spoil(folder)
    with pytest.raises(EdgekitError, match=words) as caught:
        open_bundles([folder])
    assert caught.value.code == code and str(folder) in caught.value.message


@pytest.mark.parametrize(("spoil", "code", "words"), SPOILT[:2])
def test_a_spoilt_part(combined: Path, spoil: Callable[[Path], None], code: str, words: str) -> None:
    spoil(combined / "rec")
    with pytest.raises(EdgekitError, match=words) as caught:
        open_bundles([combined])
    assert caught.value.code == code


def test_a_part_cannot_lie_elsewhere(combined: Path) -> None:
    said = manifest(combined)
    change(combined, parts=[{**part, "path": f"../{part['path']}"} for part in said["parts"]])
    with pytest.raises(EdgekitError, match="unsafe path") as caught:
        open_bundles([combined])
    assert caught.value.code == "EK409"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["det"], "needs a bundle for text_recognition:"),
        (["cls"], "needs a bundle for text_detection and one for text_recognition:"),
        (["det", "rec", "det"], "are for det"),
        (["det", "rec", "things"], r"things \(detection\) has no part"),
    ],
)
def test_bundles_that_make_no_chain(
    parts: Parts, tmp_path: Path, run: Any, names: list[str], words: str
) -> None:
    with pytest.raises(EdgekitError, match=words) as caught:
        pack("x", [parts[name] for name in names], tmp_path / "out")
    assert caught.value.code == "EK107" and not (tmp_path / "out").exists()


def test_a_classifier_of_other_things_is_none_of_lines(parts: Parts, tmp_path: Path) -> None:
    pages = bundle(tmp_path / "pages", "cls", labels=["0", "90", "180", "270"])
    with pytest.raises(EdgekitError, match="labels 0 and 180"):
        open_bundles([parts["det"], parts["rec"], pages]).roles()


def test_pack_from_the_shell(parts: Parts, run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("bundle", "pack", "--name", "chain", parts["det"], parts["rec"], "--out", out, "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out) == manifest(out)
    done = run("bundle", "pack", "--name", "a/b", parts["det"], parts["rec"])
    assert done.code == 2 and "--name 'a/b'" in done.error()
    damaged(out / "det")
    done = run("bundle", "pack", "--name", "x", out, "--out", tmp_path / "x")
    assert done.code == 4 and "error EK402" in done.error() and not (tmp_path / "x").exists()
