"""Each step of the C++ runtime against the same step in Python, on random input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.data.images import decode_image
from edgekit.folder import ModelInfo, Preprocess
from edgekit.tasks import evaluate, text_detection
from edgekit.tasks.preprocessing import INTERPOLATION, preprocess
from tests.runtimes.conftest import Programs
from tests.runtimes.made import POSTS, maps, picture, write_manifest

pytestmark = pytest.mark.slow  # it compiles the runtime


def read_png(folder: Path, image: Any) -> Path:
    (folder / "picture.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder / "picture.png"


@pytest.mark.parametrize("kind", INTERPOLATION)
@pytest.mark.parametrize(
    "sizes",
    [
        (97, 131, 64, 80),
        (40, 33, 96, 70),
        (96, 64, 48, 32),
        (90, 60, 30, 20),
        (50, 200, 75, 100),
        (3, 1, 48, 7),
    ],
    ids=lambda s: "x".join(map(str, s)),
)
def test_resizing_is_opencvs_value_for_value(
    programs: Programs, tmp_path: Path, kind: str, sizes: tuple[int, int, int, int]
) -> None:
    height, width, high, wide = sizes
    image = picture(height, height, width)
    programs.step("resize", read_png(tmp_path, image), kind, high, wide, tmp_path / "out.npy")
    got = np.load(tmp_path / "out.npy")
    wanted = cv2.resize(image, (wide, high), interpolation=INTERPOLATION[kind])
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0", "4:2:2"])
@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_jpeg_is_decoded_as_by_opencv(
    programs: Programs, tmp_path: Path, quality: int, sampling: str, orientation: int
) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(3, 61, 83)).save(
        tmp_path / "p.jpg", quality=quality, subsampling=sampling, exif=exif
    )
    programs.step("decode", tmp_path / "p.jpg", tmp_path / "out.npy")
    wanted = decode_image((tmp_path / "p.jpg").read_bytes(), "p.jpg")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), wanted)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1", "I;16", "CMYK"])
def test_every_kind_of_picture_is_decoded_as_in_python(programs: Programs, tmp_path: Path, mode: str) -> None:
    from PIL import Image

    image = Image.fromarray(picture(5, 33, 47))
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (33, 47)).astype(np.uint16))
    elif mode in ("LA", "RGBA"):
        alpha = Image.fromarray(np.random.default_rng(0).integers(0, 256, (33, 47)).astype(np.uint8))
        image = image.convert("L" if mode == "LA" else "RGB")
        image.putalpha(alpha)
    else:
        image = image.convert(mode)
    path = tmp_path / ("p.jpg" if mode == "CMYK" else "p.png")
    image.save(path)
    programs.step("decode", path, tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), decode_image(path.read_bytes(), "p"))


@pytest.mark.parametrize(
    ("resize", "more"),
    [
        ("exact", {}),
        ("exact", {"channels": "bgr", "scale": 1.0}),
        ("short", {"crop": [64, 61]}),
        ("line", {}),
    ],
)
@pytest.mark.parametrize("size", [(100, 141), (64, 80), (77, 70), (31, 500)])
def test_pre_processing_is_pythons_value_for_value(
    programs: Programs, tmp_path: Path, resize: str, more: dict[str, Any], size: tuple[int, int]
) -> None:
    info = write_manifest(tmp_path / "manifest.json", "classification", resize, **more)
    image = picture(1, *size)
    programs.step("preprocess", tmp_path / "manifest.json", read_png(tmp_path, image), tmp_path / "out.npy")
    wanted = preprocess(image, Preprocess.model_validate(info.preprocess))[None]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), wanted)


def test_regions_of_text_are_pythons_corner_for_corner(programs: Programs, tmp_path: Path) -> None:
    info = write_manifest(tmp_path / "manifest.json", "text_detection")
    height, width = 96, 128
    pages = maps(600, height, width, seed=7)
    np.save(tmp_path / "maps.npy", pages)
    programs.step("regions", tmp_path / "manifest.json", tmp_path / "maps.npy", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    size = (height * 17 // 10, width * 23 // 10)
    regions = unlike = 0
    for page, got in zip(pages, found, strict=True):
        wanted = text_detection.postprocess(page, info.postprocess, size)  # type: ignore[arg-type]
        assert len(got) == len(wanted.quads)
        regions += len(got)
        quads = np.asarray([item["points"] for item in got], np.float32).reshape(-1, 4, 2)
        # A corner may fall between two pixels, and of equally small rectangles either may be taken.
        unlike += int((quads != wanted.quads).any(axis=(1, 2)).sum())
        np.testing.assert_allclose([item["score"] for item in got], wanted.scores, atol=1e-5)
    assert regions > 1000
    assert unlike == 0


def answered(
    programs: Programs, folder: Path, info: ModelInfo, sizes: tuple[int, int, int, int], **outputs: Any
) -> tuple[Any, Any]:
    """C++'s answer and Python's."""
    for name, value in outputs.items():
        np.save(folder / f"{name}.npy", value)
    words = [f"{name}={folder / name}.npy" for name in outputs]
    programs.step("answer", folder / "manifest.json", *sizes, *words, folder / "out.json")
    wanted = evaluate.answer_json(info, evaluate.answers(info, outputs, (sizes[2], sizes[3])))
    return json.loads((folder / "out.json").read_text()), wanted


@pytest.mark.parametrize("seed", range(6))
def test_detections_are_pythons(programs: Programs, tmp_path: Path, seed: int) -> None:
    info = write_manifest(tmp_path / "manifest.json", "detection")
    random = np.random.default_rng(seed)
    anchors = 8 * 10 + 4 * 5  # of 64 x 80 at strides 8 and 16
    corner, side = random.uniform(0, 8, (1, anchors, 2)), random.uniform(0, 4, (1, anchors, 2))
    boxes = np.concatenate([corner, corner + side], axis=2).astype(np.float32)
    scores = random.uniform(0, 0.2 if seed % 2 else 1, (1, 3, anchors)).astype(np.float32).round(seed % 3 + 1)
    got, wanted = answered(programs, tmp_path, info, (64, 80, 333, 517), b=boxes, s=scores)
    assert len(wanted["detections"]) > 5
    assert got == wanted


def test_classes_are_pythons(programs: Programs, tmp_path: Path) -> None:
    info = write_manifest(tmp_path / "manifest.json", "classification", labels=5)
    probabilities = np.asarray([[0.25, 0.25, 0.1, 0.3, 0.1]], np.float32)
    got, wanted = answered(programs, tmp_path, info, (64, 80, 64, 80), p=probabilities)
    assert got == wanted
    assert [item["class"] for item in got["top"]] == [3, 0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_readings_are_pythons(programs: Programs, tmp_path: Path, seed: int) -> None:
    info = write_manifest(tmp_path / "manifest.json", "text_recognition", "line", labels=4)
    steps = np.random.default_rng(seed).uniform(0, 1, (1, 30, 6)).astype(np.float32)
    steps[:, ::3, 0] += 0.5
    got, wanted = answered(programs, tmp_path, info, (48, 160, 20, 80), p=steps)
    assert got["text"] == wanted["text"] != ""
    assert got["score"] == pytest.approx(wanted["score"], abs=1e-6)


@pytest.mark.parametrize("task", POSTS)
def test_mutants_of_a_bundle_never_crash(sanitized: Programs, tmp_path: Path, task: str) -> None:
    random = np.random.default_rng(0)
    outputs = {
        "classification": {"p": random.uniform(0, 1, (1, 3))},
        "detection": {"b": random.uniform(0, 8, (1, 3380, 4)), "s": random.uniform(0, 0.05, (1, 3, 3380))},
        "text_detection": {"m": maps(1, 64, 80, seed=2)[None]},
        "text_recognition": {"p": random.uniform(0, 1, (1, 30, 5))},
    }[task]
    write_manifest(tmp_path / "manifest.json", task, outputs="".join(outputs))
    golden = tmp_path / "golden/0"
    golden.mkdir(parents=True)
    read_png(golden, picture(1, 40, 48))
    np.save(golden / "input.npy", random.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32))
    for name, value in outputs.items():
        np.save(golden / f"fp32.onnx.{name}.npy", value.astype(np.float32))
    done = sanitized.run("edgekit-fuzz", tmp_path, 2500, 0, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    tally = {what: int(number) for what, number in (row.split(": ") for row in done.stdout.splitlines())}
    # Both ways out were taken: it is not that everything is refused at the door.
    assert tally["manifest EK409"] > 500
    assert min(tally[f"{what} taken"] for what in ("manifest", "pre-processing", "post-processing")) > 50
