"""The report of the smoke study in a real browser: every figure and page is visible, and the console is silent."""

from __future__ import annotations

import base64
import html
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Frame, Locator, Page

from workflow.checkout import RESULTS

pytestmark = pytest.mark.slow

PATIENCE_S = 60
SMALLEST_PIXELS = 12
"""A figure or table with a side below this is not visible."""

COUNT_COLOURS = """async png => {
  const image = new Image();
  image.src = 'data:image/png;base64,' + png;
  await image.decode();
  const sheet = new OffscreenCanvas(image.width, image.height), pen = sheet.getContext('2d');
  pen.drawImage(image, 0, 0);
  return new Set(new Uint32Array(pen.getImageData(0, 0, image.width, image.height).data.buffer)).size;
}"""


def test_every_figure_and_page_of_the_report_is_visible(smoke: Path, browser_page: Page) -> None:
    page = browser_page
    page.goto((smoke / RESULTS / "report.html").as_uri())
    categories = page.evaluate("categories")
    visited = []
    for category, subcategories in sorted(categories.items()):
        for subcategory in subcategories:
            choose(page, category, *([subcategory] if len(subcategories) > 1 else []))
            visited += list(visit(page))
    shown = page.evaluate(
        "Object.entries(results).filter(([_, r]) => /^(image[/]|text[/]html)/.test(r.mime_type)).map(([path]) => path)"
    )
    assert visited and sorted(visited) == sorted(shown)


def test_the_report_opens_with_its_answer_and_a_figure(smoke: Path, browser_page: Page) -> None:
    page = browser_page
    page.goto((smoke / RESULTS / "report.html").as_uri())
    text = page.locator("body").inner_text()
    assert "Static top-k gives every token its k most probable experts" in text and "\\n" not in text
    answer = re.sub(r"<[^>]+>", "", (smoke / RESULTS / "publish/answer.html").read_text()).split()
    words = text.split()
    start = words.index(answer[0])
    assert html.unescape(" ".join(answer[:12])) == " ".join(words[start : start + 12])
    figure = page.locator("svg").filter(has_text="mean experts per token").first
    prose = page.locator("#app .prose").first.bounding_box()
    assert figure.is_visible() and 300 < figure.bounding_box()["width"] <= prose["width"] + 1


def choose(page: Page, *names: str) -> None:
    """Open a category of the menu, and a part of it if it has several."""
    page.locator("nav nav a").first.click()
    for name in names:
        page.locator("nav li").get_by_text(name, exact=True).click()


def visit(page: Page) -> Iterator[str]:
    """Click on every result of the open list that can be looked at, check it, and yield its path.

    Results that come in two variants have a toggle above the list.
    """
    rows, variants = page.locator("nav table tbody tr"), page.locator("nav fieldset label")
    rows.first.wait_for()
    for variant in range(max(variants.count(), 1)):
        if variants.count():
            variants.nth(variant).click()
        for number in range(rows.count()):
            button = rows.nth(number).locator("a").first
            if button.get_attribute("download") is None:
                button.click()
                path = page.evaluate("app.state.resultPath")
                check_visible(page, path)
                yield path


def check_visible(page: Page, path: str) -> None:
    """Fail unless what the report shows has a size and more than two colours."""
    frame = page.locator("#app div.h-screen.overflow-auto")
    view = frame.locator("img, iframe")
    until(lambda: view.count() == 1, path, "is shown")
    if view.evaluate("shown => shown.tagName") == "IMG":
        until(lambda: view.evaluate("image => image.complete && image.naturalWidth > 0"), path, "is loaded")
        box, around = view.bounding_box(), frame.bounding_box()
        assert box["x"] >= around["x"] - 1 and box["y"] >= around["y"] - 1, f"{path} begins outside the view"
    else:
        box = drawn_part(view.element_handle().content_frame(), path).bounding_box()
    assert min(box["width"], box["height"]) >= SMALLEST_PIXELS, f"{path} is too small to see: {box}"
    until(lambda: colours(page, view) > 2, path, "is more than a blank area")


def drawn_part(frame: Frame, path: str) -> Locator:
    """The chart of a page, else its first table, else its whole body."""
    frame.wait_for_load_state()
    if frame.locator("#vis").count():
        until(lambda: frame.locator("canvas, svg.marks").count(), path, "is drawn")
    parts = [frame.locator(selector) for selector in ("canvas, svg.marks", "table", "body")]
    return next(part.first for part in parts if part.count())


def colours(page: Page, view: Locator) -> int:
    """How many colours the visible part of `view` has."""
    return page.evaluate(COUNT_COLOURS, base64.b64encode(view.screenshot()).decode())


def until(holds: Callable[[], object], path: str, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s until {path} {what}"
        time.sleep(0.1)
