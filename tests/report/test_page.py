"""The report in a real browser: on a phone and a desk, in light and dark, and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.report.write import write_html
from tests.report import chromium
from tests.report.examples import FULL

pytestmark = [pytest.mark.slow, pytest.mark.network]

SIZES = {"phone": (390, 844), "desk": (1280, 800)}
SECTIONS = (
    "summary", "promises", "unexecuted", "steps", "pictures", "backends", "tried", "channels", "quantization",
    "costs", "made",
)  # fmt: skip

# What lies beyond the right edge without lying in a box of its own that scrolls.
OVERFLOW = """
[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && (box.right > document.documentElement.clientWidth + 0.5 || box.left < -0.5)
    && !e.closest('.scroll') && !e.parentElement.closest('svg');
}).map(e => e.tagName + ' ' + e.id + ' ' + e.className)
  .concat(document.documentElement.scrollWidth > document.documentElement.clientWidth ? ['all'] : [])
"""
# Text whose colour is too near its background's (WCAG 2: 4.5, and 3 for large text).
PALE = """
(() => {
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parts(c).map(v => (v /= 255) <= 0.04045 ? v / 12.92
    : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if ((parts(c)[3] ?? 1) > 0) return c; } return 'rgb(255, 255, 255)'; };
  const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  return [...document.querySelectorAll('body *')].filter(e => own(e) && e.getBoundingClientRect().width
    && !e.closest('svg.seen') && e.tagName !== 'title').map(e => {
    const style = getComputedStyle(e), ink = e.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x), size = parseFloat(style.fontSize);
    return [(a + 0.05) / (b + 0.05), size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5, e];
  }).filter(([ratio, least]) => ratio < least)
    .map(([ratio, , e]) => e.textContent.slice(0, 40) + ' ' + ratio.toFixed(1));
})()
"""
ON_SCREEN = "[...document.querySelectorAll('#verdict, .card')].map(e => e.getBoundingClientRect().bottom)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Chromium]:
    with chromium.started(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_html(FULL, file)
    return file


def faults(page: chromium.Page, file: Path) -> list[str]:
    """What is wrong with a page, in words."""
    asked = [url for url in page.requests() if not url.startswith("data:")]
    found = [f"console: {message['params']}" for message in page.messages()]
    found += [f"asks for {url}" for url in asked if url != file.resolve().as_uri()]
    found += [f"overflow: {what}" for what in page.value(OVERFLOW)]
    found += [f"pale: {what}" for what in page.value(PALE)]
    heights = page.value("[...document.querySelectorAll('section')].map(e => [e.id, e.offsetHeight])")
    there = {name for name, height in heights if height > 20}
    return found + [f"no section {name}" for name in SECTIONS if name not in there]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wrong_with_the_page(
    browser: chromium.Chromium, full: Path, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    page = browser.page(full, width, height, scheme)
    assert faults(page, full) == []
    assert page.value(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
    # The answers are all on the first screen.
    bottoms = page.value(ON_SCREEN)
    assert len(bottoms) == 4 and max(bottoms) <= height
    # Pictures are really shown: their pixels are there.
    assert page.value("[...document.querySelectorAll('image')].map(e => e.getBBox().width)") == [48, 48]


def test_a_measured_report_is_as_good(browser: chromium.Chromium, world: Any) -> None:
    file = world.bundle / "report.html"
    for width, height in SIZES.values():
        found = faults(browser.page(file, width, height, "light"), file)
        # The classifier was not pruned.
        assert found == ["no section channels"]
    assert file.stat().st_size < 3e6


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("</main>", "<script>console.error('x')</script></main>", "console"),
        ("</main>", "<img src='https://example.invalid/a.png'></main>", "console"),
        ("</main>", "<pre>" + "x" * 400 + "</pre></main>", "overflow"),
        ('<div class="scroll"', "<div", "overflow"),
        ('<section id="tried">', "<section>", "no section tried"),
        ("--text: #1b1f24", "--text: #aaaaaa", "pale"),
    ],
)
def test_what_is_wrong_is_found(
    browser: chromium.Chromium, full: Path, tmp_path: Path, before: str, after: str, wanted: str
) -> None:
    source = full.read_text(encoding="utf-8")
    assert before in source
    file = tmp_path / "broken.html"
    # Without the rule that nothing is loaded or run, for the one that runs something.
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', source)
    assert policy is not None
    source = source.replace(policy[0], "") if "console.error" in after else source
    file.write_text(source.replace(before, after), encoding="utf-8")
    found = faults(browser.page(file, 390, 844, "light"), file)
    assert found and any(fault.startswith(wanted) for fault in found), found


def test_it_prints_on_paper(browser: chromium.Chromium, full: Path) -> None:
    paper = browser.page(full, 1280, 800, "dark").paper()
    assert paper.startswith(b"%PDF") and 2 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 20
