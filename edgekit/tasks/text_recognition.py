"""Answers of a recogniser of text lines, and how well they agree with another model's or the truth.

The network answers with the probabilities of all characters at each of a few dozen steps along the line,
trained by CTC (Graves et al., "Connectionist temporal classification", 2006). Decoding is that of PaddleOCR's
CTCLabelDecode: the best class of each step, repeats and blanks dropped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.folder import TextRecognitionPost
from edgekit.significance import Outcome, Ratio

BLANK = 0  # CTC's class for "no new character"
_EMPTY = 0.001  # how much a step counts that is no letter's


@dataclass(frozen=True)
class Reading:
    """One line's text; `score` 0..1 is the mean probability of its characters, 0 for an empty text."""

    text: str
    score: float


def characters(labels: Sequence[str], spec: TextRecognitionPost) -> list[str]:
    """The character of each class; the blank's is never looked up."""
    return ["", *labels, *([" "] if spec.space else [])]


def check_classes(labels: Sequence[str], spec: TextRecognitionPost, classes: int) -> None:
    """Raises EK408 when the dictionary is not that of a network with so many classes."""
    wanted = len(characters(labels, spec))
    if wanted != classes:
        space = ", the space" if spec.space else ""
        raise EdgekitError(
            "EK408",
            f"The dictionary does not fit: the network answers {classes} classes, expected {wanted} for a "
            f"dictionary of {len(labels)} characters (these{space} and CTC's blank). Name the dictionary "
            "that it was trained with as `labels`, or set postprocess.space.",
        )


def decode(
    probabilities: NDArray[np.floating[Any]], labels: Sequence[str], spec: TextRecognitionPost
) -> Reading:
    """Probabilities [steps, classes] -> text. Raises EK408 when the dictionary does not fit."""
    check_classes(labels, spec, probabilities.shape[1])
    best = probabilities.argmax(axis=1)
    kept = best != BLANK
    kept[1:] &= best[1:] != best[:-1]
    if not kept.any():
        return Reading("", 0.0)
    alphabet = characters(labels, spec)
    score = float(probabilities.max(axis=1)[kept].mean())
    return Reading("".join(alphabet[k] for k in best[kept]), score)


def importance(steps: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """[N, steps, 1] of logits or probabilities [N, steps, classes]: 1 where a character is read and on either
    side of it, little elsewhere."""
    read = steps.argmax(axis=2) != BLANK
    near = read.copy()
    near[:, 1:] |= read[:, :-1]
    near[:, :-1] |= read[:, 1:]
    return np.where(near, 1, _EMPTY).astype(np.float32)[..., None]


def normalised(text: str) -> str:
    """What texts are compared by: PP-OCR prints full-width punctuation and drops spaces at its will.

    Unicode's NFKC, which makes full-width characters ordinary ones, without white space.
    """
    return "".join(unicodedata.normalize("NFKC", text).split())


def edits(first: str, second: str) -> int:
    """Levenshtein's distance: how many characters must be put in, taken out or replaced."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        corner, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (a != b))
    return row[-1]


def compared(truth: Sequence[str], got: Sequence[str]) -> tuple[float | None, float | None]:
    """The share of equal texts, and the character error rate: all edits over all characters of the truth.

    None without a line, or without a character.
    """
    count = sum(map(len, truth))
    same = [a == b for a, b in zip(truth, got, strict=True)]
    wrong = sum(edits(a, b) for a, b in zip(truth, got, strict=True))
    return (sum(same) / len(same) if same else None), (wrong / count if count else None)


def agreement(reference: Sequence[Reading], got: Sequence[Reading]) -> dict[str, float | int | None]:
    """agreement_exact and agreement_cer against the reference model's texts, as they are."""
    exact, cer = compared([item.text for item in reference], [item.text for item in got])
    return {"agreement_exact": exact, "agreement_cer": cer}


def scores(truth: Sequence[str], got: Sequence[Reading]) -> dict[str, float | int | None]:
    """exact (share of lines), cer and cer_n (characters) against the truth, both `normalised`."""
    wanted = [normalised(text) for text in truth]
    exact, cer = compared(wanted, [normalised(item.text) for item in got])
    return {"exact": exact, "cer": cer, "cer_n": sum(map(len, wanted))}


def agreement_outcomes(reference: Sequence[Reading], got: Sequence[Reading]) -> dict[str, Outcome]:
    """What each line contributes to the figures of `agreement`."""
    exact, cer = _outcomes([item.text for item in reference], [item.text for item in got])
    return {"agreement_exact": exact, "agreement_cer": cer}


def outcomes_on_labels(labels: Path, names: Sequence[str], got: Sequence[Reading]) -> dict[str, Outcome]:
    """What each line contributes to the figures of `scores_on_labels`, which also says what is raised."""
    truth = [normalised(text) for text in _texts(labels, names)]
    exact, cer = _outcomes(truth, [normalised(item.text) for item in got])
    return {"exact": exact, "cer": cer}


def _outcomes(truth: Sequence[str], got: Sequence[str]) -> tuple[Ratio, Ratio]:
    pairs = list(zip(truth, got, strict=True))
    same = np.asarray([a == b for a, b in pairs], float)
    wrong = np.asarray([edits(a, b) for a, b in pairs], float)
    return Ratio(same, np.ones(len(pairs))), Ratio(wrong, np.asarray([len(a) for a in truth], float))


def read_labels(path: Path) -> dict[str, str]:
    """PaddleOCR's labels for recognition, `picture<TAB>text` a line: file name without folder -> text.

    Raises EK401 and EK408.
    """
    labels: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise EdgekitError("EK401", f"The labels {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise EdgekitError("EK408", f"{path} is not text in UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise EdgekitError(
                "EK408",
                f"{path}, line {number}, has {len(columns)} column(s): PaddleOCR's labels for recognition "
                "are lines of 'picture<TAB>text'.",
            )
        labels[PurePosixPath(columns[0]).name] = columns[1]
    return labels


def scores_on_labels(
    labels: Path, names: Sequence[str], got: Sequence[Reading]
) -> dict[str, float | int | None]:
    """`scores` against a label file; pictures are found by file name (the folder does not matter).

    Raises EK401 and EK408.
    """
    return scores(_texts(labels, names), got)


def _texts(labels: Path, names: Sequence[str]) -> list[str]:
    known = read_labels(labels)
    unknown = [name for name in names if Path(name).name not in known]
    if unknown:
        raise EdgekitError(
            "EK408", f"{labels} has no line for {len(unknown)} of the pictures: {', '.join(unknown[:5])}."
        )
    return [known[Path(name).name] for name in names]
