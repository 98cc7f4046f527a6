"""Open a Snakemake report offline in a headless browser, visit every figure, say what is broken.

    python tests/workflow/check_report.py results/pocket/report.html --screenshots /tmp/shots

Ends with 0 when every figure is visible (or there is no browser to look with, and says so), with 1 and one line
per problem otherwise. The browser is driven through the DevTools protocol over a pipe: nothing to install.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe", "--window-size=1600,1000",
)  # fmt: skip
PATIENCE_S = 60.0
SMALLEST_PIXELS = 12
"""A figure or table with a side below this is not visible."""

# Elements with the ids `results` and `app` pass for the variables of those names until the scripts have run.
IS_OPEN = "document.readyState === 'complete' && typeof app?.setView === 'function'"

LIST_RESULTS = """Object.entries(results).map(([path, r]) => ({path, name: r.name, mime: r.mime_type}))"""

SHOW = """(path => {
  const kind = results[path].mime_type.startsWith('image/') ? 'img' : 'html';
  app.setView({content: kind, contentPath: results[path].data_uri, resultPath: path});
})(%s)"""

LOOK_AT_IMAGE = """(async path => {
  const image = document.querySelector('#app .overflow-auto > .p-3 > img');
  if (!image || image.getAttribute('src') !== results[path].data_uri) return {wait: 'no image'};
  if (!image.complete) return {wait: 'image not loaded'};
  if (image.naturalWidth === 0) return {problem: 'the image is broken'};
  const box = image.getBoundingClientRect(), sheet = document.createElement('canvas');
  sheet.width = 400; sheet.height = 400;
  const pen = sheet.getContext('2d');
  pen.drawImage(image, 0, 0, 400, 400);
  const colours = new Set(new Uint32Array(pen.getImageData(0, 0, 400, 400).data.buffer));
  if (colours.size < 3) return {problem: 'the image is blank'};
  const frame = image.closest('.overflow-auto').getBoundingClientRect();
  if (box.left < frame.left - 1 || box.top < frame.top - 1) return {problem: 'the image begins outside the view'};
  return {width: box.width, height: box.height};
})(%s)"""

LOOK_AT_PAGE = """(() => {
  if (document.readyState !== 'complete') return {wait: 'page not loaded'};
  const drawing = document.querySelector('canvas, svg.marks'), table = document.querySelector('table');
  if (!drawing && document.querySelector('#vis')) return {wait: 'chart not drawn'};
  const part = drawing || table || document.body, box = part.getBoundingClientRect();
  if (part.tagName === 'CANVAS') {
    const data = part.getContext('2d').getImageData(0, 0, part.width, part.height).data.buffer;
    if (new Set(new Uint32Array(data)).size < 3) return {wait: 'the chart is blank'};
  } else if (!part.textContent.trim()) return {problem: 'the page is empty'};
  return {width: box.width, height: box.height};
})()"""


class Page:
    """One page of a browser at the other end of two pipes, DevTools protocol, messages ended by a zero byte."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._buffer, self._sent = b"", 0
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=1600, height=1000, deviceScaleFactor=1, mobile=False
        )

    session: str | None = None

    def call(self, method: str, **params: Any) -> dict:
        """Send a command and return its result; events that arrive meanwhile are kept."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        _write_all(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") != self._sent:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            else:
                return answer["result"]

    def value(self, expression: str, **where: Any) -> Any:
        """Evaluate JavaScript and return its value (promises are awaited)."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **where
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(
                answer["exceptionDetails"].get("exception", {}).get("description", "script failed")
            )
        return answer["result"].get("value")

    def frame_context(self) -> int | None:
        """Execution context of the page's newest inner frame, None while it has none or shows nothing yet."""
        frames = self.call("Page.getFrameTree")["frameTree"].get("childFrames", [])
        if not frames or frames[-1]["frame"]["url"] in ("", "about:blank"):
            return None
        world = self.call("Page.createIsolatedWorld", frameId=frames[-1]["frame"]["id"])
        return world["executionContextId"]

    def screenshot(self, path: Path) -> None:
        """Save what the window shows."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Script errors, and requests that went to a network, since the page was opened."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(
                    "script error: "
                    + details.get("exception", {}).get("description", details["text"]).split("\n")[0]
                )
            elif event.get("method") == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if url.startswith(("http:", "https:", "ws:", "wss:")):
                    found.append(f"asks the network for {url[:120]}")
        return sorted(set(found))

    def _receive(self, deadline: float, method: str) -> dict:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"{method}: the browser did not answer within {PATIENCE_S:.0f} s")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise RuntimeError(f"{method}: the browser ended")
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


def find_browser() -> str | None:
    """Path of the first Chromium-like browser on PATH."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


@contextmanager
def open_page(browser: str) -> Iterator[Page]:
    """A page of a fresh browser that is ended afterwards; the protocol speaks on descriptors 3 and 4."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    wiring = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["/bin/bash", "-c", wiring, browser, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            command, pass_fds=(to_read, from_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            os.close(to_read)
            os.close(from_write)
            yield Page(from_read, to_write)
        finally:
            process.terminate()
            process.wait(timeout=20)
            os.close(from_read)
            os.close(to_write)


def check(report: Path, *, browser: str, screenshots: Path) -> tuple[int, list[str]]:
    """Visit every figure and page of the report; return how many and what is wrong with them."""
    screenshots.mkdir(parents=True, exist_ok=True)
    with open_page(browser) as page:
        page.call("Page.navigate", url=report.resolve().as_uri())
        _until(lambda: page.value(IS_OPEN) or None)
        page.screenshot(screenshots / "00_front.png")
        shown = [entry for entry in page.value(LIST_RESULTS) if _is_shown(entry["mime"])]
        problems = []
        for number, entry in enumerate(shown, start=1):
            print(f"{number} of {len(shown)}: {entry['path']}", flush=True)
            problem = _visit(page, entry)
            problems += [f"{entry['path']}: {problem}"] if problem else []
            page.screenshot(
                screenshots / f"{number:02d}_{re.sub(r'[^A-Za-z0-9.]+', '_', entry['path'])[-60:]}.png"
            )
        return len(shown), problems + page.complaints()


def _visit(page: Page, entry: dict) -> str | None:
    """Show one result in the report; return what is wrong with it, None if it is visible."""
    path = json.dumps(entry["path"])
    page.value(SHOW % path)
    try:
        seen = _until(lambda: _look(page, entry["mime"], path))
    except TimeoutError as error:
        return str(error)
    if "problem" in seen:
        return seen["problem"]
    if min(seen["width"], seen["height"]) < SMALLEST_PIXELS:
        return f"only {seen['width']:.0f} x {seen['height']:.0f} pixels are visible"
    return None


def _look(page: Page, mime: str, path: str) -> dict | None:
    if mime.startswith("image/"):
        return page.value(LOOK_AT_IMAGE % path)
    context = page.frame_context()
    return {"wait": "no frame"} if context is None else page.value(LOOK_AT_PAGE, contextId=context)


def _is_shown(mime: str | None) -> bool:
    return bool(mime) and (mime.startswith("image/") or mime == "text/html")


def _until(look: Any) -> Any:
    """Ask again until the answer is not `None` and does not say `wait`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        seen = look()
        if seen is not None and not (isinstance(seen, dict) and "wait" in seen):
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(seen["wait"] if isinstance(seen, dict) else "the report did not open")
        time.sleep(0.1)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def main() -> int:
    """Check the report named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--screenshots", type=Path, default=None, help="folder for a picture of every figure")
    options = parser.parse_args()
    if not options.report.is_file():
        parser.error(f"{options.report}: no such report; make it with `make report`")
    browser = find_browser()
    if browser is None:
        print(f"skipped: none of {', '.join(BROWSERS)} is on PATH, so nobody can look at {options.report}")
        return 0
    screenshots = options.screenshots or Path(tempfile.mkdtemp(prefix="report-"))
    number, problems = check(options.report, browser=browser, screenshots=screenshots)
    for problem in problems or ([] if number else ["the report shows no figure"]):
        print(f"broken: {problem}")
    print(f"{number} figures and pages visited, {len(problems)} problems; pictures in {screenshots}")
    return 1 if problems or not number else 0


if __name__ == "__main__":
    sys.exit(main())
