from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from edgekit.data.images import decode_image, folder_set, halves, image_ids, image_set, read_coco, read_image
from edgekit.errors import EdgekitError


def picture(path: Path, image: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((4, 6, 3), 90, np.uint8) if image is None else image
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def coco(path: Path, names: list[str], **change: Any) -> Path:
    box = {"id": 1, "image_id": 1, "category_id": 0, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0}
    images = [{"id": i + 1, "file_name": name, "width": 6, "height": 4} for i, name in enumerate(names)]
    data = {"images": images, "annotations": [box], "categories": [{"id": 0, "name": "x"}], **change}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def code(error: Any) -> str:
    assert isinstance(error.value, EdgekitError)
    return error.value.code


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, :8] = (0, 0, 255)  # left half red
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    ifd = struct.pack("<HHHIHH", 1, 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"  # orientation 6: turn clockwise
    exif = b"Exif\0\0II*\0\x08\0\0\0" + ifd
    path = tmp_path / "ünï.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    turned = read_image(path)
    assert turned.shape == (16, 8, 3)
    assert turned[2, 4, 2] > 200 and turned[13, 4, 2] < 50, "the left half is now on top"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("WEBP", "RGBA")]
)
def test_all_orientations_in_all_files_are_those_of_pillow(kind: str, mode: str, orientation: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    image = Image.fromarray(cv2.resize(noise, (40, 24), interpolation=cv2.INTER_CUBIC)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 40).astype(np.uint8), (24, 1))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue()))).convert("RGBA")
    white = Image.new("RGBA", wanted.size, "white")
    white.alpha_composite(wanted)
    got = decode_image(file.getvalue(), "x")
    bgr = np.asarray(white.convert("RGB"))[:, :, ::-1]
    np.testing.assert_allclose(got.astype(int), bgr, atol=1)


def test_cmyk_is_converted() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    image = Image.fromarray(cv2.resize(noise, (40, 24), interpolation=cv2.INTER_CUBIC))
    file = io.BytesIO()
    image.convert("CMYK").save(file, "JPEG", quality=100)
    got = decode_image(file.getvalue(), "x")
    assert np.abs(got[:, :, ::-1].astype(int) - np.asarray(image)).max() <= 4  # JPEG's loss


def header_of_a_png(width: int, height: int) -> bytes:
    """A file of 45 bytes that claims to hold so many pixels, one bit each."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    end = b"IEND"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (body, end)
    )


@pytest.mark.parametrize("size", [(30_000, 30_000), (1, 30_001), (30_001, 1), (10_001, 10_000)])
def test_a_picture_that_is_too_large_is_not_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(EdgekitError, match=r"big\.png.*30,000 a side and 100 million") as error:
        decode_image(header_of_a_png(*size), "big.png")
    assert code(error) == "EK406"


def test_a_picture_at_the_limit_is_read() -> None:
    long = cv2.imencode(".png", np.full((1, 30_000), 7, np.uint8))[1].tobytes()
    assert decode_image(long, "long.png").shape == (1, 30_000, 3)


def test_grey_sixteen_bits_and_alpha_become_bgr_on_white(tmp_path: Path) -> None:
    grey = read_image(picture(tmp_path / "g.png", np.full((3, 5), 77, np.uint8)))
    assert grey.shape == (3, 5, 3) and (grey == 77).all()
    deep = read_image(picture(tmp_path / "d.png", np.full((3, 5, 3), 0x8000, np.uint16)))
    assert deep.dtype == np.uint8 and (deep == 0x80).all()
    clear = np.zeros((1, 3, 4), np.uint8)
    clear[0, 1] = clear[0, 2] = (10, 20, 30, 255)
    clear[0, 2, 3] = 51  # a fifth of the colour, four fifths of white
    assert read_image(picture(tmp_path / "a.png", clear)).tolist() == [
        [[255, 255, 255], [10, 20, 30], [206, 208, 210]]
    ]


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0broken"])
def test_what_is_no_picture_is_ek406_with_its_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(EdgekitError, match=r"x\.jpg") as error:
        read_image(tmp_path / "x.jpg")
    assert code(error) == "EK406"


@given(st.sets(st.text("abcdefgh123", min_size=1, max_size=6), min_size=2, max_size=40))
def test_halves_are_disjoint_complete_and_never_empty(names: set[str]) -> None:
    root = Path("/data")
    paths = sorted(root / name for name in names)
    parts = halves(paths, root)
    assert parts["calibration"] and parts["evaluation"]
    assert sorted(parts["calibration"] + parts["evaluation"]) == paths
    assert not set(parts["calibration"]) & set(parts["evaluation"])
    assert halves(paths[::-1], root) == parts


@settings(deadline=None)  # a busy machine is no fault
@given(st.sets(st.integers(0, 10**6), min_size=20, max_size=40))
def test_another_picture_moves_none_from_one_half_to_the_other(numbers: set[int]) -> None:
    paths = [Path(f"/d/{number}.jpg") for number in numbers]
    before, after = halves(paths[1:], Path("/d")), halves(paths, Path("/d"))
    if all(before.values()) and len(before["calibration"]) > 1 and len(before["evaluation"]) > 1:
        assert set(before["evaluation"]) <= set(after["evaluation"])
        assert set(before["calibration"]) <= set(after["calibration"])


def test_a_flat_folder_is_split_and_counted(tmp_path: Path) -> None:
    for i in range(30):
        picture(tmp_path / f"sub{i % 2}/{i}.{['jpg', 'PNG', 'webp'][i % 3].lower()}")
    (tmp_path / "notes.txt").write_text("x")
    picture(tmp_path / "._0.jpg")
    evaluation, calibration = (
        folder_set(tmp_path, "evaluation", None),
        folder_set(tmp_path, "calibration", None),
    )
    assert not set(evaluation.paths) & set(calibration.paths)
    assert len(evaluation.paths) + len(calibration.paths) == 30
    assert folder_set(tmp_path, "training", None).paths == calibration.paths
    few = folder_set(tmp_path, "evaluation", 3)
    assert len(few.paths) == 3 and set(few.paths) < set(evaluation.paths) and few.digest != evaluation.digest
    assert "without annotations" in few.origin


def test_subfolders_are_used_as_they_are(tmp_path: Path) -> None:
    a, b = picture(tmp_path / "calibration/a.jpg"), picture(tmp_path / "evaluation/b.jpg")
    assert folder_set(tmp_path, "calibration", None).paths == (a,)
    assert folder_set(tmp_path, "training", None).paths == (a,)
    assert folder_set(tmp_path, "evaluation", None).paths == (b,)
    c = picture(tmp_path / "training/c.jpg")
    assert folder_set(tmp_path, "training", None).paths == (c,)


def test_folders_that_cannot_serve(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError) as error:
        folder_set(tmp_path / "none", "evaluation", None)
    assert code(error) == "EK401"
    with pytest.raises(EdgekitError, match=r"\*\.jpeg") as error:
        folder_set(tmp_path, "evaluation", None)
    assert code(error) == "EK407"
    picture(tmp_path / "a.jpg")
    with pytest.raises(EdgekitError, match="one picture") as error:
        folder_set(tmp_path, "evaluation", None)
    assert code(error) == "EK407"
    picture(tmp_path / "evaluation/b.jpg")
    with pytest.raises(EdgekitError, match="no calibration/") as error:
        folder_set(tmp_path, "evaluation", None)
    assert code(error) == "EK407"


def test_annotations_are_found_beside_and_inside_the_split_folders(tmp_path: Path) -> None:
    picture(tmp_path / "calibration/a.jpg")
    picture(tmp_path / "evaluation/b.jpg")
    coco(tmp_path / "annotations/instances_train.json", ["zzz.jpg"])
    right = coco(tmp_path / "annotations/instances_val.json", ["b.jpg"])
    assert folder_set(tmp_path, "evaluation", None).annotations == right
    assert folder_set(tmp_path, "calibration", None).annotations is None
    inside = coco(tmp_path / "evaluation/annotations.json", ["b.jpg"])
    assert folder_set(tmp_path, "evaluation", None).annotations == inside


@pytest.mark.parametrize(
    "break_it",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('{"images": []}'),
        lambda path: coco(path, ["other.jpg"]),
        lambda path: coco(path, ["b.jpg"], categories=[]),
        lambda path: coco(path, ["b.jpg"], images=[{"id": 9, "file_name": "b.jpg"}]),
        lambda path: coco(
            path, ["b.jpg"], annotations=[{"image_id": 1, "category_id": 0, "bbox": [1, 2, 3]}]
        ),
        lambda path: coco(
            path, ["b.jpg"], annotations=[{"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, -1]}]
        ),
    ],
)
def test_annotations_that_do_not_fit_are_ek408(tmp_path: Path, break_it: Any) -> None:
    picture(tmp_path / "calibration/a.jpg")
    picture(tmp_path / "evaluation/b.jpg")
    break_it(tmp_path / "annotations.json")
    with pytest.raises(EdgekitError, match=r"annotations\.json") as error:
        folder_set(tmp_path, "evaluation", None)
    assert code(error) == "EK408"


def test_image_ids_by_the_longest_common_end(tmp_path: Path) -> None:
    paths = [tmp_path / "x/a.jpg", tmp_path / "y/a.jpg", tmp_path / "b.jpg"]
    file = coco(tmp_path / "c.json", ["y/a.jpg", "x/a.jpg", "else/b.jpg"])
    assert image_ids(read_coco(file), paths, file) == {paths[1]: 1, paths[0]: 2, paths[2]: 3}
    with pytest.raises(EdgekitError, match="fits 2 pictures") as error:
        image_ids(read_coco(coco(file, ["a.jpg"])), paths, file)
    assert code(error) == "EK408"


def test_the_digest_follows_names_contents_and_annotations(tmp_path: Path) -> None:
    a = picture(tmp_path / "p/a.png")
    file = coco(tmp_path / "p/c.json", ["a.png"])
    plain = image_set("n", tmp_path / "p", [a], None, "o").digest
    b = picture(tmp_path / "q/a.png")
    assert image_set("other", tmp_path / "q", [b], None, "").digest == plain, "the place does not matter"
    assert image_set("n", tmp_path / "p", [a], file, "o").digest != plain
    assert image_set("n", tmp_path, [a], None, "o").digest != plain
    picture(a, np.zeros((2, 2, 3), np.uint8))
    assert image_set("n", tmp_path / "p", [a], None, "o").digest != plain


@pytest.mark.parametrize(
    ("task", "name", "text"),
    [
        ("text_recognition", "rec_gt.txt", "crop_img/b c.jpg\t中 文\n"),
        ("text_detection", "Label.txt", "b c.jpg\t[]\n"),
        ("classification", "val_list.txt", "val/b c.jpg 1\n"),
    ],
)
def test_labels_of_the_task_are_found(tmp_path: Path, task: Any, name: str, text: str) -> None:
    picture(tmp_path / "evaluation/b c.jpg")
    picture(tmp_path / "calibration/a.jpg")
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = folder_set(tmp_path, "evaluation", None, task)
    assert found.annotations == tmp_path / name
    assert folder_set(tmp_path, "calibration", None, task).annotations is None
    assert folder_set(tmp_path, "evaluation", None).annotations is None, "COCO's names are others"
    (tmp_path / name).write_text(text.replace("b c", "zzz"), encoding="utf-8")
    with pytest.raises(EdgekitError, match=r"names none of the 1 evaluation pictures.*first column") as error:
        folder_set(tmp_path, "evaluation", None, task)
    assert code(error) == "EK408"
    (tmp_path / name).write_bytes(b"\xff\xfe")
    with pytest.raises(EdgekitError, match="UTF-8"):
        folder_set(tmp_path, "evaluation", None, task)
