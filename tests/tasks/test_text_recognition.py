from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.folder import ModelInfo, TextRecognitionPost
from edgekit.tasks import evaluate
from edgekit.tasks.text_recognition import (
    Reading,
    compared,
    decode,
    edits,
    importance,
    normalised,
    read_labels,
    scores,
    scores_on_labels,
)

LETTERS = ["a", "b", "中"]
SPEC = TextRecognitionPost(probabilities="p")


def steps(*best: tuple[int, float], classes: int = 5) -> Any:
    """[steps, classes]: at each step one class with a probability, the rest shared by the others."""
    rows = np.zeros((len(best), classes), np.float32)
    for row, (k, p) in zip(rows, best, strict=True):
        row[:] = (1 - p) / (classes - 1)
        row[k] = p
    return rows


def test_the_best_path_by_hand() -> None:
    # a a - a b - (space) (space) 中 -
    path = (
        (1, 0.9),
        (1, 0.5),
        (0, 0.8),
        (1, 0.7),
        (2, 0.6),
        (0, 0.99),
        (4, 0.4),
        (4, 0.9),
        (3, 0.8),
        (0, 0.3),
    )
    got = decode(steps(*path), LETTERS, SPEC)
    assert got.text == "aab 中", "repeats are one character, unless a blank lies between them"
    # The first step of each run counts, as in PaddleOCR.
    assert got.score == pytest.approx((0.9 + 0.7 + 0.6 + 0.4 + 0.8) / 5)


def test_nothing_but_blanks() -> None:
    assert decode(steps((0, 0.9), (0, 0.9)), LETTERS, SPEC) == Reading("", 0.0)


def test_without_the_space() -> None:
    spec = TextRecognitionPost(probabilities="p", space=False)
    assert decode(steps((3, 0.9), classes=4), LETTERS, spec).text == "中"


def test_a_dictionary_of_the_wrong_length_says_expected_and_found() -> None:
    with pytest.raises(
        EdgekitError, match=r"5 classes, expected 4 for a dictionary of 2 characters"
    ) as caught:
        decode(steps((1, 0.9)), LETTERS[:2], SPEC)
    assert caught.value.code == "EK408"


def by_definition(first: str, second: str) -> int:
    """Levenshtein's recursion as it is written down."""

    @lru_cache(None)
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        if first[i - 1] == second[j - 1]:
            return distance(i - 1, j - 1)
        return 1 + min(distance(i - 1, j), distance(i, j - 1), distance(i - 1, j - 1))

    return distance(len(first), len(second))


@given(st.text("ab中", max_size=9), st.text("ab中", max_size=9))
def test_edits(first: str, second: str) -> None:
    assert edits(first, second) == by_definition(first, second)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("flaw", "lawn", 2), ("中文", "中文", 0)],
)
def test_edits_by_hand(first: str, second: str, wanted: int) -> None:
    assert edits(first, second) == wanted


def test_rates_are_over_all_characters() -> None:
    # 1 of 2 lines; 1 edit of 4 + 1 characters, not the mean of 0 and 1.
    assert compared(["abcd", "x"], ["abcd", "y"]) == (0.5, 0.2)
    assert compared([], []) == (None, None)
    assert compared([""], ["ab"]) == (0.0, None)


def test_steps_without_letters_hardly_count() -> None:
    path = [(0, 0.9)] * 3 + [(2, 0.6), (0, 0.9), (0, 0.9), (0, 0.9), (1, 0.5)]
    found = importance(np.stack([steps(*path), steps(*[(0, 0.9)] * 8)]))
    assert found.shape == (2, 8, 1) and found.dtype == np.float32
    assert found[0, :, 0].round(2).tolist() == [0, 0, 1, 1, 1, 0, 1, 1]
    assert 0 < found.min() < 0.01, "a line without letters can still be judged"


def test_what_is_normalised() -> None:
    assert normalised("电话：(010) ８８\u3000½ ") == "电话:(010)881⁄2"
    found = scores(["Tel: 1 2"], [Reading("Tel：12", 0.9)])
    assert found == {"exact": 1.0, "cer": 0.0, "cer_n": 6}


def test_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffimages/a.jpg\t中 文\r\n\nb.png\t x\n".encode())
    assert read_labels(file) == {"a.jpg": "中 文", "b.png": " x"}
    got = [Reading("x", 0.5), Reading("中文", 0.5)]
    assert scores_on_labels(file, ["b.png", "other/a.jpg"], got)["exact"] == 1.0
    with pytest.raises(EdgekitError, match=r"no line for 1 of the pictures: c\.jpg") as caught:
        scores_on_labels(file, ["c.jpg"], got[:1])
    assert caught.value.code == "EK408"


@pytest.mark.parametrize("text", ["a.jpg x\n", "a.jpg\tx\ty\n"])
def test_labels_with_the_wrong_columns(tmp_path: Path, text: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(f"first.jpg\tright\n{text}")
    with pytest.raises(EdgekitError, match=r"line 2, has .* column.*picture<TAB>text") as caught:
        read_labels(file)
    assert caught.value.code == "EK408"


def test_labels_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError) as caught:
        read_labels(tmp_path / "none.txt")
    assert caught.value.code == "EK401"
    (tmp_path / "binary.txt").write_bytes(b"a.jpg\t\xff\xfe\n")
    with pytest.raises(EdgekitError, match="UTF-8") as caught:
        read_labels(tmp_path / "binary.txt")
    assert caught.value.code == "EK408"


def test_from_outputs_to_json_and_metrics(tmp_path: Path) -> None:
    resize = {"kind": "line", "height": 48, "width": 320, "widest": 640, "interpolation": "linear"}
    info = ModelInfo.model_validate(
        {
            "name": "m", "task": "text_recognition", "inputs": [], "outputs": [], "labels": LETTERS,
            "postprocess": {"kind": "text_recognition", "probabilities": "p"},
            "preprocess": {"resize": resize, "mean": (0, 0, 0), "std": (1, 1, 1)},
        }
    )  # fmt: skip
    first = evaluate.answers(info, {"p": steps((1, 0.75), (2, 0.75))[None]}, (48, 100))
    second = evaluate.answers(info, {"p": steps((1, 0.75), (0, 0.75), (3, 0.75))[None]}, (48, 100))
    assert evaluate.answer_json(info, second) == {"text": "a中", "score": 0.75}
    assert evaluate.compare(info, [first, first], [first, second]) == {
        "agreement_exact": 0.5, "agreement_cer": 0.25, "n": 2,
    }  # fmt: skip
    file = tmp_path / "labels.txt"
    file.write_text("x.jpg\tab\ny.jpg\ta中\n", encoding="utf-8")
    assert evaluate.truth(info, file, ["y.jpg", "x.jpg"], [second, second]) == {
        "exact": 0.5, "cer": 0.25, "cer_n": 4,
    }  # fmt: skip
    assert evaluate.compare(info, [], []) == {"agreement_exact": None, "agreement_cer": None, "n": 0}
