"""Headless Chromium as somebody who looks at a page, clicks, chooses and drags, by its debugging protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
ALONE = ["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"]
PATIENCE = 60.0  # seconds, on a busy machine


class Page:
    """One page; what is asked of it is answered at once, or waited for."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.number = socket, 0

    def call(self, method: str, **settings: Any) -> dict[str, Any]:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": settings}))
        while True:
            said = json.loads(self.socket.recv(timeout=PATIENCE))
            if said.get("id") == self.number:
                return said.get("result", {})

    def value(self, script: str) -> Any:
        """Of an expression."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        return self.value("document.body ? document.body.innerText : ''") or ""

    def until(self, what: Callable[[], Any]) -> Any:
        """Its first value that is true."""
        end = time.monotonic() + PATIENCE
        while not (found := what()):
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)
        return found

    def click(self, selector: str, words: str) -> None:
        """What has these words, when it is there."""
        one = f"x => (x.innerText || x.value).trim() == {words!r}"
        found = f"[...document.querySelectorAll({selector!r})].find({one})"
        self.until(lambda: self.value(f"(() => {{const x = {found}; if (x) x.click(); return !!x}})()"))

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """With the left button."""
        places = [("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)]
        for kind, (x, y) in places:
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)


@contextmanager
def opened(address: str, folder: Path) -> Iterator[Page]:
    """A page in a browser of its own; skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    from websockets.sync.client import connect  # viser's

    own = [f"--user-data-dir={folder}", "--window-size=900,600"]
    with subprocess.Popen(
        [program, *QUIET, *ALONE, *own, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            place, end = folder / "DevToolsActivePort", time.monotonic() + PATIENCE
            while not (place.exists() and place.read_text().strip()):
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.1)
            port = place.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                pages = [each for each in json.load(answer) if each["type"] == "page"]
            with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
                page = Page(socket)
                page.call("Page.navigate", url=address)
                yield page
        finally:
            process.kill()
