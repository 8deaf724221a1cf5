"""The kinds of pictures that a recipe can ask for. Its schema reads this: nothing heavy is imported here."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "composed_detection",
    "composed_classification",
    "rendered_pages",
    "rendered_lines",
    "turned_pages",
    "turned_lines",
    "folder",
]
