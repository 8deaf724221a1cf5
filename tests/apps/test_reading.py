from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.apps.bundles import Chain, open_bundles
from edgekit.apps.reading import Line, Reader, differences, open_reader, read
from edgekit.tasks.text_detection import Regions
from edgekit.tasks.text_recognition import Reading
from tests.apps.small import bundle, line, page, put, recogniser


def reader(*folders: Path, kind: Any = None) -> Reader:
    return open_reader(open_bundles(folders), kind)


def whole(parts: dict[str, Path]) -> Reader:
    return reader(*(parts[name] for name in ("det", "cls", "rec")))


def texts(found: list[Line]) -> list[str]:
    return [item.text for item in found]


def test_a_page_is_read_in_order_with_what_is_turned(parts: dict[str, Path]) -> None:
    picture = page()
    put(picture, line("abc"), 20, 30)
    put(picture, line("cab")[::-1, ::-1], 180, 32)  # upside down
    put(picture, np.rot90(line("bca"), -1), 30, 100)  # from top to bottom
    put(picture, np.rot90(line("acb")), 150, 100)  # from bottom to top
    found = read(picture, whole(parts))
    assert [(item.text, item.turned) for item in found] == [
        ("abc", False), ("cab", True), ("bca", False), ("acb", True),
    ]  # fmt: skip
    first = found[0]
    # The blocks lie at 20 30 .. 100 46; a region is larger by a margin, but not by a line's height.
    assert (first.quad[0] < (20, 30)).all() and (first.quad[0] > (0, 10)).all()
    assert (first.quad[2] > (100, 46)).all() and (first.quad[2] < (120, 66)).all()
    assert 0.9 < first.score <= 1


def test_without_a_classifier_nothing_is_turned(parts: dict[str, Path]) -> None:
    picture = page()
    put(picture, line("cab")[::-1, ::-1], 100, 100)
    found = read(picture, reader(parts["det"], parts["rec"]))
    assert [(item.text, item.turned) for item in found] == [("bac", False)]


def test_a_picture_of_another_size_keeps_its_places(parts: dict[str, Path]) -> None:
    picture = page(640, 960)
    put(picture, line("ab", 48), 600, 500)
    (found,) = read(picture, whole(parts))
    assert found.text == "ab"
    assert np.abs(found.quad.mean(axis=0) - (672, 524)).max() < 4


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (30, 20), (320, 320)])
@pytest.mark.parametrize("grey", [0, 255])
def test_pictures_without_text(parts: dict[str, Path], size: tuple[int, int], grey: int) -> None:
    assert read(np.full((*size, 3), grey, np.uint8), whole(parts)) == []


def fake(scores: list[float], up: list[float], quads: Any) -> tuple[Reader, list[Any]]:
    """A chain that answers what it is told to, and the pictures that its recogniser saw."""
    seen: list[Any] = []
    ups = iter(up)

    def recognise(image: Any) -> Reading:
        seen.append(image)
        return Reading("x", scores[len(seen) - 1])

    regions = Regions(np.asarray(quads, np.float32), np.ones(len(quads), np.float32))
    return Reader(lambda _: regions, lambda _: next(ups), recognise, Chain()), seen


def box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def test_thresholds() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    boxes = [box(0, 20 * k, 40, 10) for k in range(4)] + [box(60, 0, 3, 30), box(60, 50, 30, 3)]
    chain, seen = fake([0.9, 0.5, 0.49, 0.9], [0.2, 0.9, 0.91, 1.0], boxes)
    found = read(noise, chain)
    assert [item.quad[0].tolist() for item in found] == [[0, 0], [0, 20], [0, 60]], "0.5 is enough"
    assert [item.turned for item in found] == [False, False, True], "0.9 is not sure"
    assert len(seen) == 4, "what is three pixels wide or high is no line"
    for k, picture in enumerate(seen):
        part = noise[20 * k : 20 * k + 10, :40]
        wanted = part if k < 2 else part[::-1, ::-1]
        assert np.array_equal(picture, wanted)


def item(text: str, x: float) -> Line:
    return Line(text, 0.9, np.asarray(box(x, 0, 40, 10), np.float32), False)


def test_differences_are_found_by_place() -> None:
    first = [item("one", 0), item("two", 100), item("three", 200), item("four", 300)]
    second = [item("four", 301), item("ONE", 2), item("two", 101), item("five", 400)]
    assert [(a and a.text, b and b.text) for a, b in differences(first, second)] == [
        ("one", "ONE"), ("three", None), (None, "five"),
    ]  # fmt: skip
    assert differences(first, first) == [] and differences([], []) == []
    assert len(differences(first, [])) == 4 and len(differences([], first)) == 4


def test_float_and_int8_are_different_files(parts: dict[str, Path], tmp_path: Path) -> None:
    other = bundle(tmp_path / "rec", "rec", int8=recogniser("acb"), default="fp32.onnx")
    picture = page()
    put(picture, line("abc"), 100, 100)
    chain = (parts["det"], other)
    assert texts(read(picture, reader(*chain))) == ["abc"], "the default of this part is float"
    assert texts(read(picture, reader(*chain, kind="fp32"))) == ["abc"]
    assert texts(read(picture, reader(*chain, kind="int8"))) == ["acb"]
