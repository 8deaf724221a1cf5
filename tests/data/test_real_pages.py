"""Pages from the real packages; apart from the other tests, whose stand-ins last for a whole file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.data import corpus, fonts
from edgekit.data.prepare import DataSpec, prepare


@pytest.mark.network
@pytest.mark.slow
def test_real_fonts_have_every_letter_of_the_corpus(tmp_path: Path) -> None:
    """70 MB at the first time; with EDGEKIT_CACHE only then."""
    stock = fonts.open_fonts(Path(os.environ.get("EDGEKIT_CACHE") or tmp_path), False, print)
    read = {name: corpus.read(name) for name in corpus.Corpus.__dataclass_fields__}
    mixed = [line for line in read["mixed"] if line.isascii()]
    chinese = "".join((*read["mixed"], *read["chinese"], *read["chinese_labels"], "0123456789年月日"))
    latin = "".join((*mixed, *read["english"], *read["english_labels"], "0123456789"))
    for font in fonts.FONTS:
        face = fonts.load(stock.file(font), font.face, 40)
        missing = fonts.ink(face, "\U0010fffe").alpha
        for letter in set(chinese if font.chinese else latin) - set(" {}"):
            assert not np.array_equal(fonts.ink(face, letter).alpha, missing), (font.name, letter)


@pytest.mark.network
@pytest.mark.slow
def test_real_pages(tmp_path: Path) -> None:
    real = Path(os.environ.get("EDGEKIT_CACHE") or tmp_path)
    got = prepare(DataSpec(kind="rendered_pages"), "evaluation", 4, 11, real, False, print)
    assert "NotoSerifCJK-Regular" in got.origin and len(got.paths) == 4
