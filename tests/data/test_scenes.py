from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.data import cutouts, debian, scenes, stock
from edgekit.data.files import is_intact
from edgekit.data.images import read_image
from edgekit.data.prepare import DataSpec, prepare
from edgekit.errors import EdgekitError

VERSIONS = dict.fromkeys((cutouts.CUTOUT_PACKAGE, *cutouts.BACKGROUNDS), "1.0")


def fake_unpack(wanted: Any, scratch: Path, take: Any, log: Any) -> dict[str, str]:
    """Every file of the tables, as a coloured block on a transparent ground, or noise."""
    for package, paths in wanted.items():
        for path in paths:
            rng = np.random.default_rng(len(path))
            if package == cutouts.CUTOUT_PACKAGE:
                image = np.zeros((60, 80, 4), np.uint8)
                image[10:50, 20:70] = (*rng.integers(0, 255, 3), 255)
            else:
                image = rng.integers(0, 255, (90, 120, 3)).astype(np.uint8)
            take(package, path, cv2.imencode(Path(path).suffix, image)[1].tobytes())
    return VERSIONS


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "unpack", fake_unpack)


@pytest.fixture
def fake_stock(packages: None, tmp_path: Path) -> stock.Stock:
    return stock.open_stock(tmp_path / "cache", False, print)


def no_packages(*_: Any) -> dict[str, str]:
    raise EdgekitError("EK403", "Debian packages could not be had: apt-get cannot be started.")


def block() -> np.ndarray[Any, Any]:
    """30 x 20 (width x height) solid pixels."""
    image = np.zeros((20, 30, 4), np.uint8)
    image[...] = (10, 100, 200, 255)
    return image


def test_the_tables_are_sound() -> None:
    assert len(cutouts.COCO_LABELS) == len(set(cutouts.COCO_LABELS)) == 80
    assert set(cutouts.COCO.values()) <= set(cutouts.COCO_LABELS)
    assert not set(cutouts.COCO) & set(cutouts.OTHER)
    assert set(cutouts.COCO) | set(cutouts.OTHER) >= cutouts.LETTERING
    assert len(set(cutouts.OTHER)) == len(cutouts.OTHER)
    unwanted = ("_mirror", "cartoon", "symbols", "shapes", "seasonal")
    assert not [file for file in (*cutouts.COCO, *cutouts.OTHER) if any(word in file for word in unwanted)]


def test_every_class_has_evaluation_and_splits_share_nothing() -> None:
    of = cutouts.cutout_splits()
    assert set(of) == set(cutouts.COCO) | set(cutouts.OTHER)
    evaluated = {
        cutouts.COCO[file] for file, split in of.items() if split == "evaluation" and file in cutouts.COCO
    }
    assert evaluated == set(cutouts.COCO.values())
    assert min(Counter(of.values()).values()) > 50
    assert min(Counter(cutouts.background_splits().values()).values()) > 15
    assert cutouts.round_robin("dbac") == {
        "a": "evaluation",
        "b": "training",
        "c": "calibration",
        "d": "evaluation",
    }


def test_the_extent_is_tight() -> None:
    mask = np.zeros((10, 12), np.bool_)
    assert scenes.extent(mask) is None
    mask[3, 4] = mask[7, 9] = True
    assert scenes.extent(mask) == (4, 3, 6, 5)


def test_a_cutout_is_trimmed_to_what_is_solid(tmp_path: Path) -> None:
    image = np.zeros((50, 60, 4), np.uint8)
    image[5:45, 5:55, 3] = 127  # a shadow, not the thing
    image[10:30, 20:50] = (1, 2, 3, 128)
    (tmp_path / "c.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    assert scenes.load_cutout(tmp_path / "c.png").shape == (20, 30, 4)
    (tmp_path / "d.png").write_bytes(cv2.imencode(".png", image[..., :3])[1].tobytes())
    with pytest.raises(EdgekitError, match=r"d\.png"):
        scenes.load_cutout(tmp_path / "d.png")


@pytest.mark.parametrize("longer", [15, 30, 90])
def test_the_box_of_a_pasted_block_is_exact(longer: int) -> None:
    sprite = scenes.make_sprite(block(), longer, flip=False, gain=1, bias=0)
    canvas = np.full((200, 300, 3), 50, np.float32)
    mask = scenes.paste(canvas, sprite, 40, 60)
    # The sprite has a margin of 2 pixels for its feathered edge.
    assert scenes.extent(mask) == (42, 62, longer, longer * 2 // 3)
    inside = canvas[62 + 4 : 62 + longer * 2 // 3 - 4, 42 + 4 : 42 + longer - 4]
    if inside.size:
        assert np.abs(inside - np.array([10, 100, 200])).max() < 1
    outside = np.ones(mask.shape, np.bool_)
    outside[60 : 60 + sprite.alpha.shape[0], 40 : 40 + sprite.alpha.shape[1]] = False
    assert (canvas[outside] == 50).all()


def test_a_flip_mirrors_and_hidden_colours_do_not_bleed() -> None:
    image = block()
    image[:, :10] = (255, 255, 255, 0)  # white, but transparent
    image[:, 10:20, :3] = 0
    sprite = scenes.make_sprite(image, 90, flip=False, gain=1, bias=0)
    mirrored = scenes.make_sprite(image, 90, flip=True, gain=1, bias=0)
    assert (mirrored.alpha == sprite.alpha[:, ::-1]).all()
    edge = sprite.solid & (np.arange(sprite.alpha.shape[1]) < 34)[None]
    assert edge.any() and sprite.color[edge].max() < 3, "the black part has no white rim"


def test_half_transparent_pixels_keep_their_colour() -> None:
    image = block()
    image[..., 3] = 150
    sprite = scenes.make_sprite(image, 90, flip=False, gain=1, bias=0)
    assert np.abs(sprite.color[10:50, 10:80] - np.array([10, 100, 200])).max() < 1


def test_overlap_is_a_share_of_the_smaller_box() -> None:
    assert scenes.overlap((0, 0, 10, 10), (5, 0, 100, 10)) == 0.5
    assert scenes.overlap((0, 0, 10, 10), (10, 0, 5, 5)) == 0


def test_scenes_obey_their_rules(fake_stock: stock.Stock, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    scenes.compose_detection(fake_stock, "evaluation", 25, 3, tmp_path / "s", lambda *args: seen.append(args))
    coco = json.loads((tmp_path / "s/annotations.json").read_text())
    assert [entry["id"] for entry in coco["categories"]] == list(range(80))
    assert coco["categories"][14]["name"] == "bird"
    assert len(coco["images"]) == 25 and seen[-1][1:] == (25, 25)
    assert read_image(tmp_path / "s" / coco["images"][0]["file_name"]).shape == (640, 640, 3)
    per_image = Counter(entry["image_id"] for entry in coco["annotations"])
    assert (
        set(per_image) == set(range(1, 26))
        and max(per_image.values()) <= 4
        and len(set(per_image.values())) > 2
    )
    for entry in coco["annotations"]:
        x, y, width, height = entry["bbox"]
        assert min(x, y) >= 0 and x + width <= 640 and y + height <= 640
        assert max(width, height) <= 330
    sizes = [max(entry["bbox"][2:]) for entry in coco["annotations"]]
    assert np.percentile(sizes, 10) >= 80, "occlusion may take a little of a few"
    origin = json.loads((tmp_path / "s/origin.json").read_text())
    of = cutouts.cutout_splits()
    assert {of[file] for file in origin["cutouts"]} == {"evaluation"}
    assert set(origin["cutouts"]) <= set(cutouts.COCO), "in evaluation everything has its label"
    assert origin["packages"] == VERSIONS


def test_boxes_are_where_the_pixels_changed(fake_stock: stock.Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a black background, with the things' own pixels as the judge."""
    material = scenes._Material(fake_stock, "evaluation")
    black = np.zeros((640, 640, 3), np.float32)
    monkeypatch.setattr(material, "canvas", lambda *_: black.copy())
    monkeypatch.setattr(scenes, "THINGS", (1, 1))
    for index in range(8):
        canvas, found = scenes._scene(
            material, scenes.generator(0, scenes.KINDS[0], "evaluation", index), False
        )
        bright = canvas.max(axis=2)
        box = scenes.extent(bright >= bright.max() / 2)
        assert box is not None and len(found) == 1
        assert np.abs(np.subtract(box, found[0][1])).max() <= 1


def test_an_occluded_thing_has_the_box_of_what_is_seen(fake_stock: stock.Stock, monkeypatch: Any) -> None:
    monkeypatch.setattr(scenes, "MAX_OVERLAP", 1.0)
    monkeypatch.setattr(scenes, "THINGS", (4, 4))
    pasted: list[Any] = []
    paste = scenes.paste
    monkeypatch.setattr(scenes, "paste", lambda *args: pasted.append(paste(*args)) or pasted[-1])
    material = scenes._Material(fake_stock, "evaluation")
    hidden = 0
    for index in range(20):
        pasted.clear()
        _, found = scenes._scene(material, scenes.generator(0, scenes.KINDS[0], "evaluation", index), False)
        order = np.zeros((640, 640), int)
        for number, mask in enumerate(pasted, 1):
            order[mask] = number
        expected = [scenes.extent(order == number) for number in range(1, len(pasted) + 1)]
        assert [box for _, box in found] == [box for box in expected if box]
        hidden += [scenes.extent(mask) for mask in pasted] != expected
    assert hidden > 3, "the case did occur"


def test_things_hardly_overlap(fake_stock: stock.Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "THINGS", (4, 4))
    boxes: list[Any] = []
    paste = scenes.paste

    def watched(*args: Any) -> Any:
        mask = paste(*args)
        boxes.append(scenes.extent(mask))
        return mask

    monkeypatch.setattr(scenes, "paste", watched)
    material = scenes._Material(fake_stock, "evaluation")
    for index in range(20):
        boxes.clear()
        scenes._scene(material, scenes.generator(0, scenes.KINDS[0], "evaluation", index), False)
        assert max(scenes.overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i]) <= 0.2


def test_the_same_seed_gives_the_same_pixels(packages: None, tmp_path: Path) -> None:
    def make(cache: str, seed: int, count: int = 4, kind: Any = "composed_detection") -> Any:
        return prepare(DataSpec(kind=kind), "calibration", count, seed, tmp_path / cache, False, print)

    first = make("a", 1)
    assert make("b", 1).digest == first.digest
    assert make("a", 2).digest != first.digest
    longer = make("a", 1, 6)
    assert [p.read_bytes() for p in longer.paths[:4]] == [p.read_bytes() for p in first.paths]
    pictures = make("a", 1, kind="composed_classification")
    assert pictures.annotations is None and read_image(pictures.paths[0]).shape == (320, 320, 3)


def test_lettering_is_never_mirrored(fake_stock: stock.Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    flips: dict[bool, set[bool]] = {True: set(), False: set()}
    make = scenes.make_sprite
    material = scenes._Material(fake_stock, "evaluation")
    rng = np.random.default_rng(0)
    for file in ("town/roadsigns/stop.png", "animals/mammals/giraffe.png"):
        monkeypatch.setattr(
            scenes,
            "make_sprite",
            lambda c, s, flip, g, b, file=file: (
                flips[file in cutouts.LETTERING].add(flip) or make(c, s, flip, g, b)
            ),
        )
        for _ in range(30):
            material.sprite(rng, file, (90, 330))
    assert flips == {True: {False}, False: {True, False}}


def test_a_set_is_made_once_and_damage_is_repaired(
    packages: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(offline: bool, logged: list[str]) -> Any:
        spec = DataSpec(kind="composed_detection")
        return prepare(spec, "evaluation", 3, 0, tmp_path, offline, logged.append)

    first = get(False, [])
    assert first.name == "composed scenes" and "tuxpaint-stamps-default 1.0" in first.origin
    monkeypatch.setattr(debian, "unpack", no_packages)
    assert get(True, []) == first
    first.paths[1].write_bytes(b"damaged")
    logged: list[str] = []
    assert get(True, logged) == first and "damaged" in logged[0]
    assert is_intact(first.paths[0].parents[1])


def test_too_many_missing_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(share: float) -> Any:
        def unpack(wanted: Any, *rest: Any) -> dict[str, str]:
            kept = {package: paths[: int(len(paths) * share)] for package, paths in wanted.items()}
            return fake_unpack(kept, *rest)

        return unpack

    monkeypatch.setattr(debian, "unpack", lacking(0.5))
    with pytest.raises(EdgekitError, match="lack") as caught:
        stock.open_stock(tmp_path, False, print)
    assert caught.value.code == "EK403"
    logged: list[str] = []
    monkeypatch.setattr(debian, "unpack", lacking(0.95))
    stock.open_stock(tmp_path, False, logged.append)
    assert any("lack" in line for line in logged)


def test_the_faulty_profile_is_taken_out_and_nothing_else() -> None:
    image = np.random.default_rng(0).integers(0, 255, (5, 5, 4)).astype(np.uint8)
    png = cv2.imencode(".png", image)[1].tobytes()
    chunk = b"\0\0\0\x03iCCPabc\0\0\0\0"
    assert stock.without_profile(png[:33] + chunk + png[33:]) == png
    assert stock.without_profile(b"\xff\xd8 no png") == b"\xff\xd8 no png"


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-1, 0), (None, 0), (1, -1)])
def test_counts_and_seeds_out_of_range(tmp_path: Path, count: int | None, seed: int) -> None:
    with pytest.raises(EdgekitError) as caught:
        prepare(DataSpec(kind="composed_detection"), "evaluation", count, seed, tmp_path, True, print)
    assert caught.value.code == "EK103"


def test_a_folder_goes_with_its_path_and_only_then(tmp_path: Path) -> None:
    for raw in ({"kind": "folder"}, {"kind": "composed_detection", "path": "x"}):
        with pytest.raises(ValueError, match="path"):
            DataSpec.model_validate(raw)
