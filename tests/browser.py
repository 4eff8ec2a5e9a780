"""A real browser without a window, for tests of pages: Chromium, over the pipe it is driven by, which needs no package."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", "--no-first-run")


@dataclass
class Browser:
    """One page of a browser; ``errors`` are lines of its console, ``requests`` the addresses it asked for."""

    ask: int
    answers: Iterator[dict[str, Any]]
    session: str = ""
    number: int = 0
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.ask, json.dumps(message).encode() + b"\0")
        return self._until(lambda answer: answer.get("id") == self.number)["result"]

    def look(self, page: Path, width: int, scheme: str, media: str = "screen") -> None:
        """Open a page at a width in pixels and in a colour scheme."""
        self.errors.clear()
        self.requests.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=wanted)
        self.call("Page.navigate", url=page.as_uri())
        self._until(lambda answer: answer.get("method") == "Page.loadEventFired")

    def value(self, script: str) -> Any:
        """What a line of JavaScript says of the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def picture(self) -> bytes:
        """All of the page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    def _until(self, wanted: Any) -> dict[str, Any]:
        for answer in self.answers:
            method, parameters = answer.get("method"), answer.get("params", {})
            if method == "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            elif method == "Runtime.exceptionThrown":
                self.errors.append(str(parameters))
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                self.errors.append(parameters["entry"]["text"])
            elif method == "Runtime.consoleAPICalled":
                self.errors.append(str(parameters["args"]))
            assert "error" not in answer, answer
            if wanted(answer):
                return answer
        raise AssertionError("the browser ended")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in a folder."""
    assert CHROMIUM
    (read_by_it, ask), (hear, written_by_it) = os.pipe(), os.pipe()

    def place() -> None:  # it reads from 3 and writes to 4
        kept = os.dup(read_by_it), os.dup(written_by_it)
        os.dup2(kept[0], 3)
        os.dup2(kept[1], 4)

    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    process = subprocess.Popen(command, preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(read_by_it)
    os.close(written_by_it)
    try:
        opened = Browser(ask, _messages(hear))
        targets = opened.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        opened.session = opened.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            opened.call(f"{domain}.enable")
        yield opened
    finally:
        process.kill()
        process.wait()
        os.close(ask)
        os.close(hear)


def _messages(hear: int) -> Iterator[dict[str, Any]]:
    waiting = b""
    while part := os.read(hear, 1 << 20):
        *whole, waiting = (waiting + part).split(b"\0")
        yield from map(json.loads, whole)
