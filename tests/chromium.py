"""A real browser without a window, for tests of pages: Chromium, by its DevTools protocol over two pipes.

The protocol is described at https://chromedevtools.github.io/devtools-protocol/; messages end with a zero byte.
"""

import base64
import fcntl
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_SECONDS: Final = 120.0
#: The browser reads commands from 3 and writes to 4; numbers that the test's own process may have in use.
_START: Final = "import os, sys; a = sys.argv; os.dup2(int(a[1]), 3); os.dup2(int(a[2]), 4); os.execvp(a[3], a[3:])"
_OPTIONS: Final = (
    "--headless",
    "--no-sandbox",  # tests may run as root, for whom there is no sandbox
    "--disable-gpu",
    "--hide-scrollbars",  # they take a part of the window
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)

_SIZES = """
[...document.querySelectorAll('figure svg')].map(svg => {
  const place = svg.getBoundingClientRect();
  const lines = [...svg.querySelectorAll('path')].filter(path => path.getBBox().width > 0);
  return [place.width, place.height, lines.length, svg.querySelectorAll('text').length];
})
"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def installed() -> str | None:
    """The path of a browser that is installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass
class View:
    """A page that a browser has opened.

    Attributes:
        complaints: What its console has: errors and warnings, of the page's and the browser's.
        requested: URLs that it asked for.
    """

    browser: "Chromium"
    session: str
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.browser.call("Runtime.evaluate", self, expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        answer = self.browser.call("Page.captureScreenshot", self, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def hear(self, event: dict[str, Any]) -> None:
        """Keeps what an event says."""
        said = event["params"]
        match event["method"]:
            case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                self.complaints.append(said["entry"]["text"])
            case "Runtime.exceptionThrown":
                details = said["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self.complaints.append(" ".join(str(value.get("value")) for value in said["args"]))
            case "Network.requestWillBeSent":
                self.requested.append(said["request"]["url"])


class Chromium:
    """A running browser; a context manager that ends it."""

    def __init__(self, program: str, folder: Path) -> None:
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        command = [sys.executable, "-c", _START, *map(str, theirs), program, *_OPTIONS, f"--user-data-dir={folder}"]
        try:
            self._process = subprocess.Popen(
                command, pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
        finally:
            for end in (theirs_in, theirs_out, *theirs):
                os.close(end)
        self._unread = b""
        self._number = 0
        self._views: dict[str, View] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._write)  # which ends it
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()
        os.close(self._read)

    def open(self, page: Path, *, width: int, height: int = 900) -> View:
        """Opens a page in a window of that many pixels, and waits until it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        view = self._views[session] = View(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", view)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", view, **size)
        self.call("Page.navigate", view, url=page.resolve().as_uri())
        self._wait_for("Page.loadEventFired", session)
        # The last complaints may still be under way; what is asked after them is answered after them.
        view.evaluate("0")
        return view

    def call(self, method: str, view: View | None = None, **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._number += 1
        number = self._number
        command = {"id": number, "method": method, "params": parameters}
        if view:
            command["sessionId"] = view.session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + _SECONDS
        while (message := self._message(deadline)).get("id") != number:
            pass
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _wait_for(self, method: str, session: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while True:
            message = self._message(deadline)
            if (message.get("method"), message.get("sessionId")) == (method, session):
                return

    def _message(self, deadline: float) -> dict[str, Any]:
        """The next message; events have been kept then."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            while b"\0" not in self._unread:
                assert selector.select(deadline - time.monotonic()), "the browser does not answer"
                read = os.read(self._read, 1 << 20)
                assert read, "the browser ended"
                self._unread += read
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        view = self._views.get(message.get("sessionId", ""))
        if view and "method" in message:
            view.hear(message)
        return message


def faults(view: View, page: Path, plots: int) -> list[str]:
    """What is wrong with a page that has been opened; empty where nothing is."""
    sizes = view.evaluate(_SIZES)
    found = [f"it complains: {complaint}" for complaint in view.complaints]
    found += [f"it asks for {url}" for url in view.requested if url not in (page.as_uri(), "data:,")]
    if len(sizes) != plots:
        found.append(f"it has {len(sizes)} plots of {plots}")
    for width, height, lines, texts in sizes:
        if width < 100 or height < 50 or lines == 0 or texts == 0:
            found.append(f"a plot of {width} by {height} has {lines} lines and {texts} texts")
    if view.evaluate(_OVERFLOW) > 0:
        found.append("it is wider than the window")
    return found
