"""Reading with PP-OCRv3 at int8: rendered receipts, whose texts are known, and a photograph of a sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.apps.bundles import KINDS, open_bundles, pack
from edgekit.apps.reading import Line, Reader, differences, open_reader, read
from edgekit.cachedir import cache_dir
from edgekit.data import corpus, debian, layouts
from edgekit.data.files import build_once, write_bytes
from edgekit.data.fonts import fonts_of, open_fonts
from edgekit.data.images import Image, read_image
from edgekit.tasks.text_recognition import normalised
from tests import real
from tests.conftest import run_cli

pytestmark = [pytest.mark.network, pytest.mark.slow]

RECEIPTS = 8
SIGN = "usr/share/doc/opencv-doc/examples/text/scenetext01.jpg"
SIGN_SAYS = ["NOTICE", "DOUBLE", "PARKING", "PROHIBITED", "ATALLTIMES"]
SPACED = [*SIGN_SAYS[:-1], "AT ALL TIMES"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The combined bundle, of bundles calibrated nearly as their recipes say, but hardly evaluated."""
    root = tmp_path_factory.mktemp("real")
    parts = []
    for name in ("ppocrv3_det", "ppocr_mobile_v2_cls", "ppocrv3_rec"):
        out = root / name
        sets = real.options(calibration=24 if name == "ppocrv3_det" else None)  # pages are large
        done = run_cli(
            "compress", "--recipe", name, *sets, "--out", out,
            cache=cache_dir(), cwd=root, timeout=1800,
        )  # fmt: skip
        assert done.code == 0, done.err
        parts.append(out)
    pack("ppocrv3", parts, root / "ppocrv3")
    return root / "ppocrv3"


@pytest.fixture(scope="module")
def readers(whole: Path) -> dict[str, Reader]:
    opened = open_bundles([whole])
    return {kind: open_reader(opened, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def sign() -> Path:
    """A photograph out of Debian's opencv-doc."""

    def make(folder: Path) -> None:
        def take(_: str, path: str, data: bytes) -> None:
            write_bytes(folder / Path(path).name, data)

        debian.unpack({"opencv-doc": [SIGN]}, cache_dir() / "data", take, print)

    return build_once(cache_dir() / "data" / "photograph-of-a-sign", make, print) / Path(SIGN).name


def receipt(seed: int) -> tuple[Image, list[str]]:
    """A receipt on a white table, in the fonts and words of evaluation, and the texts on it."""
    fonts = open_fonts(cache_dir(), False, print)
    rng = np.random.Generator(np.random.PCG64(seed))
    desk = layouts.Desk(
        rng, corpus.corpus("evaluation"), fonts, fonts_of("evaluation", True), fonts_of("evaluation", False)
    )
    sheet = layouts.receipt(desk)
    image = np.pad(sheet.color, ((40, 40), (60, 60), (0, 0)), constant_values=255)
    return np.rint(image).clip(0, 255).astype(np.uint8), [line.text for line in sheet.lines]


def unlike(found: dict[str, list[Line]]) -> list[Any]:
    """What int8 reads differently, but for spaces, which PP-OCR drops at its will."""
    return [
        (a and a.text, b and b.text)
        for a, b in differences(found["fp32"], found["int8"])
        if a is None or b is None or normalised(a.text) != normalised(b.text)
    ]


def test_receipts(readers: dict[str, Reader]) -> None:
    total, right, differing = 0, dict.fromkeys(readers, 0), []
    for seed in range(RECEIPTS):
        image, texts = receipt(seed)
        found = {kind: read(image, reader) for kind, reader in readers.items()}
        total += len(texts)
        differing += unlike(found)
        known = {normalised(text) for text in texts}
        for kind, lines in found.items():
            right[kind] += sum(normalised(line.text) in known for line in lines)
    assert total > 150
    assert right["fp32"] >= 0.95 * total and right["int8"] >= 0.95 * total
    assert len(differing) <= 0.05 * total, differing


def test_a_photograph(whole: Path, readers: dict[str, Reader], sign: Path, tmp_path: Path) -> None:
    image = read_image(sign)
    found = {kind: read(image, reader) for kind, reader in readers.items()}
    for lines in found.values():
        assert [normalised(line.text) for line in lines] == SIGN_SAYS
        assert not any(line.turned for line in lines)
    # Upside down the last line is the first one, and each is turned before it is read.
    for reader in readers.values():
        lines = read(np.ascontiguousarray(image[::-1, ::-1]), reader)
        # Of two specks of a dozen pixels they are not sure what it says there.
        lines = [line for line in lines if line.score > 0.7]
        assert [normalised(line.text) for line in lines] == SIGN_SAYS[::-1]
        assert all(line.turned for line in lines)
    out = tmp_path / "both.png"
    done = run_cli("ocr", sign, "--bundle", whole, "--compare", "--out", out, cache=cache_dir(), cwd=tmp_path)
    # Float loses the spaces of the last line. int8 may find them: it reads as float does, or what is there.
    read_as = {kind: [line.text for line in lines] for kind, lines in found.items()}
    for wanted, got, there in zip(read_as["fp32"], read_as["int8"], SPACED, strict=True):
        assert got in (wanted, there)
    same = sum(a == b for a, b in zip(read_as["fp32"], read_as["int8"], strict=True))
    assert same >= 4
    assert done.code == 0 and f"int8 reads {same} of 5 lines as fp32 does" in done.out
    assert cv2.imread(str(out)) is not None


def test_chinese_is_drawn(whole: Path, tmp_path: Path) -> None:
    """A sheet with the texts that another chain can read again."""
    image, texts = next(
        found for seed in range(RECEIPTS) if any(map(is_chinese, (found := receipt(seed))[1]))
    )
    (tmp_path / "receipt.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    out = tmp_path / "drawn.png"
    done = run_cli("ocr", "receipt.png", "--bundle", whole, "--out", out, cache=cache_dir(), cwd=tmp_path)
    assert done.code == 0, done.err
    drawn = read_image(out)
    opened = open_bundles([whole])
    again = read(np.ascontiguousarray(drawn[:, drawn.shape[1] // 2 :]), open_reader(opened, "fp32"))
    chinese = {text for text in texts if is_chinese(text)}
    got = {normalised(line.text) for line in again}
    assert len({text for text in chinese if normalised(text) in got}) >= 0.9 * len(chinese)


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)
