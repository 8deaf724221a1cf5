"""`edgekit ocr`: the text on pictures, in reading order, printed, drawn and as data."""

from __future__ import annotations

from typing import Any

from edgekit.apps import drawing
from edgekit.apps.asked import Asked, entry, head
from edgekit.apps.bundles import open_bundles
from edgekit.apps.drawing import Mark
from edgekit.apps.reading import Line, Reader, differences, open_reader, read
from edgekit.data.images import Image, read_image
from edgekit.result import Result
from edgekit.tasks.shown import told
from edgekit.tasks.text_recognition import normalised

Found = dict[str, list[Line]]  # by what read it
Differences = list[tuple[Line | None, Line | None]]


def ocr(asked: Asked) -> Result:
    """Raises EK107, EK401, EK402, EK403, EK406, EK408, EK409 and EK501."""
    opened = open_bundles(asked.bundles)
    parts = opened.roles()
    files: dict[str, dict[str, str]] = {
        kind or "default": {role: part.file(kind)[1].name for role, part in parts.items()}
        for kind in asked.kinds
    }
    titles = {kind: ", ".join(names.values()) for kind, names in files.items()}
    readers: dict[str, Reader] = {kind or "default": open_reader(opened, kind) for kind in asked.kinds}
    lines: list[str] = []
    pictures: list[dict[str, Any]] = []
    total = alike = in_spaces = 0
    for index, path in enumerate(asked.pictures):
        image = read_image(path)
        found: Found = {kind: read(image, reader) for kind, reader in readers.items()}
        for kind, texts in found.items():
            lines += [head(path, image, titles[kind]), *_told(texts)]
        data = {**entry(path, image), **{kind: [line.as_json() for line in found[kind]] for kind in found}}
        unlike: Differences = []
        if asked.compare:
            unlike = differences(found["fp32"], found["int8"])
            places = len(found["fp32"]) + sum(first is None for first, _ in unlike)
            total, alike = total + places, alike + places - len(unlike)
            in_spaces += sum(_differs_in_spaces(*pair) for pair in unlike)
            lines += _told_differences(found, unlike)
            data["differences"] = [
                {"fp32": first and first.text, "int8": second and second.text} for first, second in unlike
            ]
        pictures.append(data)
        if (out := asked.drawing(index)) is not None:
            drawing.save(_drawn(asked, image, titles, found, unlike), out)
            lines.append(f"drawn: {out}")
    values: dict[str, Any] = {"models": files, "pictures": pictures}
    if asked.compare:
        values["agreement"] = {"lines": total, "alike": alike, "differ_in_spaces": in_spaces}
        lines.append(
            f"int8 reads {alike} of {total} lines as fp32 does; {in_spaces} more differ in spaces only"
        )
    return Result(lines, values)


def _differs_in_spaces(first: Line | None, second: Line | None) -> bool:
    """PP-OCR drops spaces and takes full-width punctuation for ordinary one at its will."""
    return first is not None and second is not None and normalised(first.text) == normalised(second.text)


def _told(texts: list[Line]) -> list[str]:
    wide = len(str(len(texts)))
    return [
        f"  {number:{wide}}  {line.score:.3f}  {line.text}  [{told(line.quad)}]"
        + ("  (upside down)" if line.turned else "")
        for number, line in enumerate(texts, 1)
    ] or ["  no text found"]


def _told_differences(found: Found, unlike: Differences) -> list[str]:
    def name(kind: str, line: Line | None) -> str:
        if line is None:
            return f"{kind} no line"
        # By identity: an array in a dataclass has no truth value to compare by.
        number = next(k for k, other in enumerate(found[kind], 1) if other is line)
        return f"{kind} line {number} {line.text!r}"

    return [f"  differs: {name('fp32', first)}, {name('int8', second)}" for first, second in unlike]


def _drawn(asked: Asked, image: Image, titles: dict[str, str], found: Found, unlike: Differences) -> Image:
    """For each chain the picture with numbered outlines, and a sheet with the texts; differences are red."""
    face = asked.face([line.text for texts in found.values() for line in texts])
    red = {id(line) for pair in unlike for line in pair if line is not None}
    seen, sheets = [], []
    for kind, texts in found.items():
        view, marks = drawing.scaled(image, [Mark(line.quad, line.text, id(line) in red) for line in texts])
        seen.append(drawing.titled(drawing.outlined(view, marks, face, numbered=True), [titles[kind]], face))
        sheets.append(drawing.written((view.shape[0], view.shape[1]), marks, face))
    if len(seen) == 1:
        return drawing.beside([seen[0], drawing.titled(sheets[0], [""], face)])
    return drawing.stacked([drawing.beside(seen), drawing.beside(sheets)])
