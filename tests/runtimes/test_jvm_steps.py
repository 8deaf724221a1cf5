"""Each step of the Java runtime against the same step in Python, on random input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from edgekit.data.images import decode_image
from edgekit.folder import ModelInfo
from edgekit.tasks import evaluate, text_detection, text_lines
from edgekit.tasks.preprocessing import INTERPOLATION, preprocess
from tests.runtimes.jvm import Jvm, built
from tests.runtimes.made import maps, picture, write_manifest

pytestmark = pytest.mark.slow  # it builds the runtime

SIZES = [
    (97, 131, 64, 80), (40, 33, 96, 70), (96, 64, 48, 32), (90, 60, 30, 20), (50, 200, 75, 100),
    (3, 1, 48, 7), (64, 48, 64, 96), (61, 83, 61, 40), (1, 1, 5, 3),
]  # fmt: skip


@pytest.fixture(scope="session")
def jvm() -> Jvm:
    return built()


def write_png(path: Path, image: Any) -> Path:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def same(path: Path, wanted: Any) -> None:
    np.testing.assert_array_equal(np.fromfile(path, "<f4").reshape(wanted.shape), wanted)


def test_resizing_is_opencvs_value_for_value(jvm: Jvm, tmp_path: Path) -> None:
    cases = [(kind, *sizes) for kind in INTERPOLATION for sizes in SIZES]
    steps = []
    for k, (kind, height, width, high, wide) in enumerate(cases):
        png = write_png(tmp_path / f"{k}.png", picture(height, height, width))
        steps.append(["resize", png, kind, high, wide, tmp_path / f"{k}.out"])
    jvm.steps(tmp_path, steps)
    for k, (kind, height, width, high, wide) in enumerate(cases):
        image = picture(height, height, width)
        same(tmp_path / f"{k}.out", cv2.resize(image, (wide, high), interpolation=INTERPOLATION[kind]))


def test_pre_processing_is_pythons_value_for_value(jvm: Jvm, tmp_path: Path) -> None:
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("exact", {}),
        ("exact", {"channels": "bgr", "scale": 1.0}),
        ("short", {"crop": [64, 61]}),
        ("line", {}),
        ("page", {"channels": "bgr"}),
    ]
    sizes = [(100, 141), (64, 80), (77, 70), (31, 500), (500, 31)]
    steps, wanted = [], []
    for kind, (resize, more) in enumerate(kinds):
        info = write_manifest(tmp_path / f"{kind}.json", "classification", resize, **more)
        for size in sizes:
            k = len(wanted)
            image = picture(k, *size)
            png = write_png(tmp_path / f"{k}.png", image)
            steps.append(["preprocess", tmp_path / f"{kind}.json", png, tmp_path / f"{k}.out"])
            wanted.append(preprocess(image, info.preprocess))
    jvm.steps(tmp_path, steps)
    for k, tensor in enumerate(wanted):
        same(tmp_path / f"{k}.out", tensor)


def test_jpeg_is_decoded_as_by_opencv(jvm: Jvm, tmp_path: Path) -> None:
    files = []
    for quality in (30, 75, 95):
        for sampling in ("4:4:4", "4:2:0"):
            for orientation in range(1, 9):
                exif = Image.Exif()
                exif[0x0112] = orientation
                files.append(tmp_path / f"{len(files)}.jpg")
                Image.fromarray(picture(3, 61, 83)).save(
                    files[-1], quality=quality, subsampling=sampling, exif=exif
                )
    files.append(tmp_path / "grey.jpg")
    Image.fromarray(picture(3, 61, 83)).convert("L").save(files[-1])
    jvm.steps(tmp_path, [["decode", file, file.with_suffix(".out")] for file in files])
    for file in files:
        same(file.with_suffix(".out"), decode_image(file.read_bytes(), file.name))


def test_every_kind_of_png_is_decoded_as_in_python(jvm: Jvm, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    files = []
    for mode in ("L", "LA", "P", "RGB", "RGBA", "1", "I;16", "turned", "see-through palette"):
        image = Image.fromarray(picture(5, 33, 47))
        more: dict[str, Any] = {}
        if mode == "I;16":
            image = Image.fromarray(random.integers(0, 65536, (33, 47)).astype(np.uint16))
        elif mode in ("LA", "RGBA"):
            image = image.convert("L" if mode == "LA" else "RGB")
            image.putalpha(Image.fromarray(random.integers(0, 256, (33, 47)).astype(np.uint8)))
        elif mode == "turned":
            more["exif"] = Image.Exif()
            more["exif"][0x0112] = 6
        elif mode == "see-through palette":
            image = image.convert("P")
            more["transparency"] = bytes(range(256))
        else:
            image = image.convert(mode)
        files.append(tmp_path / f"{len(files)}.png")
        image.save(files[-1], **more)
    jvm.steps(tmp_path, [["decode", file, file.with_suffix(".out")] for file in files])
    for file in files:
        same(file.with_suffix(".out"), decode_image(file.read_bytes(), file.name))


def answered(
    jvm: Jvm, folder: Path, info: ModelInfo, sizes: tuple[int, int, int, int], **outputs: Any
) -> list[tuple[Any, Any]]:
    """Java's answers and Python's for raw outputs [n, ...] of n pictures."""
    for name, value in outputs.items():
        np.save(folder / f"{name}.npy", value)
    words = [f"{name}={folder / name}.npy" for name in outputs]
    jvm.steps(folder, [["answers", folder / "manifest.json", *sizes, folder / "out.json", *words]])
    found = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    pairs = []
    for k, got in enumerate(found):
        one = {name: value[k : k + 1] for name, value in outputs.items()}
        wanted = evaluate.answer_json(info, evaluate.answers(info, one, (sizes[2], sizes[3])))
        pairs.append((got, wanted))
    return pairs


def test_regions_of_text_are_pythons_corner_for_corner(jvm: Jvm, tmp_path: Path) -> None:
    info = write_manifest(tmp_path / "manifest.json", "text_detection")
    height, width = 96, 128
    size = (height * 17 // 10, width * 23 // 10)
    pairs = answered(
        jvm, tmp_path, info, (height, width, *size), m=maps(800, height, width, seed=11)[:, None]
    )
    assert sum(len(wanted["regions"]) for _, wanted in pairs) > 1500
    for got, wanted in pairs:
        assert [item["points"] for item in got["regions"]] == [item["points"] for item in wanted["regions"]]
        scores = [[item["score"] for item in each["regions"]] for each in (got, wanted)]
        np.testing.assert_allclose(*scores, atol=1e-6)


def test_detections_are_pythons(jvm: Jvm, tmp_path: Path) -> None:
    info = write_manifest(tmp_path / "manifest.json", "detection")
    random = np.random.default_rng(5)
    count, anchors = 12, 8 * 10 + 4 * 5  # of 64 x 80 at strides 8 and 16
    corner, side = random.uniform(0, 8, (count, anchors, 2)), random.uniform(0, 4, (count, anchors, 2))
    boxes = np.concatenate([corner, corner + side], axis=2).astype(np.float32)
    scores = random.uniform(0, 1, (count, 3, anchors)).astype(np.float32)
    # Few scores, and few digits: many ties.
    scores[::2] *= 0.2
    scores = np.stack([each.round(k % 3 + 1) for k, each in enumerate(scores)])
    for got, wanted in answered(jvm, tmp_path, info, (64, 80, 333, 517), b=boxes, s=scores):
        assert len(wanted["detections"]) > 5
        assert got == wanted


def test_classes_are_pythons(jvm: Jvm, tmp_path: Path) -> None:
    info = write_manifest(tmp_path / "manifest.json", "classification", labels=5)
    rows = np.random.default_rng(0).uniform(0, 1, (50, 5)).astype(np.float32).round(1)
    rows[0] = [0.25, 0.25, 0.1, 0.3, 0.1]
    pairs = answered(jvm, tmp_path, info, (64, 80, 64, 80), p=rows)
    assert all(got == wanted for got, wanted in pairs)
    assert [item["class"] for item in pairs[0][0]["top"]] == [3, 0, 1]


@pytest.mark.parametrize("length", [5, 30, 500])
def test_readings_are_pythons_to_the_last_bit(jvm: Jvm, tmp_path: Path, length: int) -> None:
    info = write_manifest(tmp_path / "manifest.json", "text_recognition", "line", labels=4)
    steps = np.random.default_rng(length).uniform(0, 1, (20, length, 6)).astype(np.float32)
    steps[:, ::3, 0] += 0.5
    steps[0, :, 0] = 2  # blanks only
    pairs = answered(jvm, tmp_path, info, (48, 160, 20, 80), p=steps)
    assert pairs[0][0] == {"text": "", "score": 0.0}
    assert all(got == wanted for got, wanted in pairs)
    assert {len(wanted["text"]) > 0 for _, wanted in pairs[1:]} == {True}


def quads(count: int, height: int, width: int, seed: int) -> Any:
    """Whole-pixel quads as a text detector finds them, some far out of shape, some beyond the picture."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        centre, size = random.uniform((0, 0), (width, height)), random.uniform((20, 6), (200, 40))
        # Lines from top to bottom, too; corners in the order of a detector.
        angle = random.uniform(-20, 20) + 90 * int(random.integers(0, 4) == 0)
        corners = cv2.boxPoints((centre, size, angle)) + random.uniform(-3, 3, (4, 2))
        quad, _ = text_detection.smallest_rectangle(corners.astype(np.float32))
        found.append(np.rint(quad + random.uniform(-4, 4, (4, 2))).clip(0, (width, height)))
    kept = [quad for quad in found if min(text_lines.sides(quad.astype(np.float32))) >= 4]
    return np.asarray(kept, np.float32)


def test_lines_are_cut_out_as_by_python_value_for_value(jvm: Jvm, tmp_path: Path) -> None:
    image = picture(3, 240, 320)
    found = quads(60, 240, 320, seed=1)
    np.save(tmp_path / "quads.npy", found)
    png = write_png(tmp_path / "page.png", image)
    jvm.steps(tmp_path, [["cut", png, tmp_path / "quads.npy", tmp_path / "line"]])
    assert len(found) > 50
    shapes = [text_lines.sides(quad) for quad in found]
    assert {height >= 1.5 * width for height, width in shapes} == {True, False}
    for k, quad in enumerate(found):
        same(tmp_path / f"line{k}", text_lines.cut_out(image, quad, 1.5))


def test_the_reading_order_is_pythons(jvm: Jvm, tmp_path: Path) -> None:
    pages = [quads(40, 600, 800, seed) for seed in range(8)]
    for k, page in enumerate(pages):
        np.save(tmp_path / f"{k}.npy", page)
    jvm.steps(tmp_path, [["order", tmp_path / f"{k}.npy", tmp_path / f"{k}.json"] for k in range(8)])
    for k, page in enumerate(pages):
        got = np.asarray(json.loads((tmp_path / f"{k}.json").read_text()))
        np.testing.assert_array_equal(got, page[text_lines.reading_order(page)])
