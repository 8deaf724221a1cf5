"""`edgekit detect`, `classify` and `ocr` from the shell, on networks whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from edgekit.apps import drawing
from edgekit.errors import EdgekitError
from tests.apps.small import bundle, line, page, put, recogniser, save

Parts = dict[str, Path]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = page()
    put(image, line("abc"), 40, 60)
    put(image, line("ca"), 40, 200)
    return save(tmp_path / "page.png", image)


def test_ocr(parts: Parts, run: Any, tmp_path: Path, picture: Path) -> None:
    chain = [f"--bundle={parts[name]}" for name in ("det", "cls", "rec")]
    done = run("ocr", picture, *chain, "--out", tmp_path / "drawn.png", "--json", tmp_path / "o.json")
    assert done.code == 0, done.err
    told = done.out.splitlines()
    assert told[0] == f"{picture} (320 x 320), det.int8.onnx, cls.int8.onnx, rec.int8.onnx:"
    assert [row.split()[2] for row in told[1:3]] == ["abc", "ca"]
    (said,) = json.loads((tmp_path / "o.json").read_text())["pictures"]
    assert [item["text"] for item in said["default"]] == ["abc", "ca"]
    assert [item["turned"] for item in said["default"]] == [False, False]
    drawn = cv2.imread(str(tmp_path / "drawn.png"))
    assert drawn.shape[1] > 2 * drawing.SHORTEST, "the picture and the texts beside it"
    assert (drawn[:, : drawing.SHORTEST] == drawing.PLAIN[::-1]).all(axis=2).any(), "outlines"
    right = drawn[40:, drawing.SHORTEST + 8 :]
    assert (right < 100).any() and (right[:100] == 255).all(), "text only where there was some"


def test_a_combined_bundle_reads_as_its_parts_do(
    parts: Parts, run: Any, tmp_path: Path, picture: Path
) -> None:
    whole = tmp_path / "whole"
    assert (
        run("bundle", "pack", "--name", "w", *(parts[n] for n in ("det", "cls", "rec")), "--out", whole).code
        == 0
    )
    first = run("ocr", picture, "--bundle", whole)
    chain = [f"--bundle={parts[name]}" for name in ("det", "cls", "rec")]
    assert first.code == 0 and first.out == run("ocr", picture, *chain).out
    # Its parts serve the other commands, too.
    assert run("detect", picture, "--bundle", whole).out.count("text") == 2
    (whole / "cls" / "labels.txt").write_text("other")
    done = run("ocr", picture, "--bundle", whole)
    assert done.code == 4 and "error EK402" in done.error() and "cls/labels.txt" in done.error()


def test_ocr_compared(parts: Parts, run: Any, tmp_path: Path, picture: Path) -> None:
    other = bundle(tmp_path / "other", "rec", int8=recogniser("bac"))  # takes red for green and back
    out = tmp_path / "both.png"
    chain = ["--bundle", parts["det"], "--bundle", other]
    done = run("ocr", picture, *chain, "--compare", "--out", out, "--json", tmp_path / "o.json")
    assert done.code == 0, done.err
    assert "  differs: fp32 line 1 'abc', int8 line 1 'bac'" in done.out.splitlines()
    assert "int8 reads 0 of 2 lines as fp32 does" in done.out
    said = json.loads((tmp_path / "o.json").read_text())
    assert said["agreement"] == {"lines": 2, "alike": 0, "differ_in_spaces": 0}
    assert said["pictures"][0]["differences"] == [
        {"fp32": "abc", "int8": "bac"},
        {"fp32": "ca", "int8": "cb"},
    ]
    red = (cv2.imread(str(out)) == drawing.DIFFERS[::-1]).all(axis=2)
    half = red.shape[1] // 2
    assert red[:, :half].any() and red[:, half:].any()
    done = run("ocr", picture, "--bundle", parts["det"], "--bundle", parts["rec"], "--compare", "--out", out)
    assert "int8 reads 2 of 2 lines as fp32 does" in done.out and "differs" not in done.out
    assert not (cv2.imread(str(out)) == drawing.DIFFERS[::-1]).all(axis=2).any()


def test_detect(parts: Parts, run: Any, tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png", page(200, 400))
    out = tmp_path / "drawn.png"
    done = run("detect", photo, "--bundle", parts["things"], "--model", "fp32", "--out", out, "--json", "-")
    assert done.code == 0, done.err
    (said,) = json.loads(done.out)["pictures"]
    # The input is 100 x 100, the picture 400 wide and 200 high; the faint dog is not told.
    assert said["fp32"] == {
        "detections": [{"class": 0, "label": "cat", "score": pytest.approx(0.9), "box": [40, 40, 240, 80]}]
    }
    assert (said["width"], said["height"]) == (400, 200)
    drawn = cv2.imread(str(out))
    assert drawn.shape[1] == drawing.SHORTEST + 8, "one picture"
    green = np.argwhere((drawn[40:] == drawing.PLAIN[::-1]).all(axis=2))
    assert np.abs(green[:, 1].max() - 240 * 700 / 400) < 4
    assert "  0.900  cat  [40,40 240,80]" in run("detect", photo, "--bundle", parts["things"]).out
    compared = run("detect", photo, "--bundle", parts["things"], "--compare", "--out", out)
    assert "int8 against fp32: agreement_ap=1 " in compared.out
    assert cv2.imread(str(out)).shape[1] == 2 * (drawing.SHORTEST + 8)


def test_classify_several_pictures(parts: Parts, run: Any, tmp_path: Path) -> None:
    pictures = [
        save(tmp_path / name, image)
        for name, image in (("up.png", line("abc")), ("down.png", line("abc")[::-1, ::-1]))
    ]
    done = run("classify", *pictures, "--bundle", parts["cls"], "--out", tmp_path / "drawn.png")
    assert done.code == 0, done.err
    rows = [row.split() for row in done.out.splitlines() if row.startswith("  ")]
    assert [row[1] for row in rows] == ["0", "180", "180", "0"] and float(rows[0][0]) > 0.9
    assert sorted(path.name for path in tmp_path.glob("drawn*")) == ["drawn-1.png", "drawn-2.png"]


def test_nothing_there_is_an_answer(parts: Parts, run: Any, tmp_path: Path) -> None:
    empty = save(tmp_path / "white.png", page())
    done = run("ocr", empty, "--bundle", parts["det"], "--bundle", parts["rec"], "--out", tmp_path / "o.png")
    assert done.code == 0 and "  no text found" in done.out and (tmp_path / "o.png").is_file()
    done = run("detect", empty, "--bundle", parts["det"])
    assert done.code == 0 and "  nothing found" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("ocr", "PAGE", "--bundle=DET", "--bundle=REC", "--compare", "--model=int8"), 2, "EK107: --compare"),
        (("ocr", "PAGE", "--bundle=DET", "--bundle=REC", "--out=o.txt"), 2, "EK107: --out o.txt"),
        (("ocr", "PAGE", "--bundle=DET", "--bundle=REC", "--out", "PAGE"), 2, "EK107: --out would replace"),
        (("ocr", "PAGE", "--bundle=DET"), 2, "EK107: Reading text needs"),
        (("detect", "PAGE", "--bundle=REC"), 2, "EK107: Needed is one bundle"),
        (("classify", "PAGE", "--bundle=DET"), 2, "EK107: Needed is one bundle"),
        (("ocr", "none.png", "--bundle=DET", "--bundle=REC"), 4, "EK406: none.png cannot be read"),
        (("ocr", "PAGE", "--bundle=nowhere"), 4, "EK401: nowhere is not a bundle"),
    ],
)
def test_what_is_refused(
    parts: Parts, run: Any, picture: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    places = {
        "PAGE": str(picture),
        "--bundle=DET": f"--bundle={parts['det']}",
        "--bundle=REC": f"--bundle={parts['rec']}",
    }
    done = run(*(places.get(word, word) for word in arguments))
    assert done.code == code and words in done.error()


@pytest.mark.parametrize("huge", [False, True])
def test_a_file_that_cannot_be_read(parts: Parts, run: Any, tmp_path: Path, huge: bool) -> None:
    """Empty, or with more pixels than memory should be given to."""
    (tmp_path / "empty.png").write_bytes(b"")
    if huge:
        Image.new("1", (30_000, 30_000)).save(tmp_path / "empty.png")
    for command, name in (("ocr", "det"), ("detect", "things"), ("classify", "cls")):
        more = ["--bundle", parts["rec"]] if command == "ocr" else []
        done = run(command, tmp_path / "empty.png", "--bundle", parts[name], *more)
        assert done.code == 4 and "error EK406" in done.error() and "empty.png" in done.error()
        assert ("30,000 a side and 100 million" in done.error()) == huge


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
def test_a_hair(parts: Parts, run: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    """Drawn, printed, and no more."""
    hair = save(tmp_path / "hair.png", np.zeros((*size, 3), np.uint8))
    for command, name in (("ocr", "det"), ("detect", "things"), ("classify", "cls")):
        more = ["--bundle", parts["rec"]] if command == "ocr" else []
        out = tmp_path / f"{command}.png"
        done = run(command, hair, "--bundle", parts[name], *more, "--compare", "--out", out)
        assert done.code == 0 and out.is_file(), done.err


def test_a_dictionary_of_another_length(parts: Parts, run: Any, tmp_path: Path, picture: Path) -> None:
    short = bundle(tmp_path / "short", "rec", labels=["a", "b"])
    done = run("ocr", picture, "--bundle", parts["det"], "--bundle", short)
    assert done.code == 4 and "error EK408" in done.error()
    assert "answers 4 classes, expected 3 for a dictionary of 2 characters" in done.error()


def test_a_model_that_cannot_be_loaded(parts: Parts, run: Any, tmp_path: Path, picture: Path) -> None:
    broken = bundle(tmp_path / "broken", "rec", int8=b"no network")
    done = run("ocr", picture, "--bundle", parts["det"], "--bundle", broken)
    assert done.code == 5 and "error EK501" in done.error()
    assert run("ocr", picture, "--bundle", parts["det"], "--bundle", broken, "--model", "fp32").code == 0


def test_chinese_needs_a_font_that_is_not_always_there(tmp_path: Path) -> None:
    assert drawing.face_for(["Größe"], tmp_path, True, print)(20).getname()[0] == "DejaVu Sans"
    with pytest.raises(EdgekitError) as caught:
        drawing.face_for(["ab", "文"], tmp_path, True, print)
    assert caught.value.code == "EK403"
