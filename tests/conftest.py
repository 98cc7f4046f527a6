"""What holds for all tests."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

# A shell's background jobs ignore the interrupt, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """End a worker of pytest-xdist without destroying its modules: DuckDB's binding would list pages of leaked objects.

    The worker has sent its results by then.
    """
    if hasattr(config, "workerinput"):
        atexit.register(os._exit, 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that makes the smoke study first, so that no process waits for it; the others that read it come last."""
    items.sort(key=lambda item: item.path.name != "test_smoke.py")


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser_page() -> Iterator[Page]:
    """A page of a browser without network; an error of its console, and a request to a host, fail the test."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH; apt-get install chromium")
    problems: list[str] = []
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        opened = browser.new_page(viewport={"width": 1600, "height": 1000})
        opened.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        opened.on("console", lambda said: said.type == "error" and problems.append(f"console: {said.text}"))
        opened.on("request", lambda sent: sent.url.startswith(("http", "ws")) and problems.append(sent.url))
        yield opened
        browser.close()
    assert problems == []
