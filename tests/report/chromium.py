"""A real Chromium, headless, spoken to in its own protocol over two pipes: no driver, no further package.

The system's is taken where there is one. Elsewhere Debian's is fetched with what it needs and the system
lacks, into edgekit's cache: no root is needed, and nothing is installed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekit.cachedir import cache_dir
from edgekit.data import debian
from edgekit.data.files import build_once

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
SYSTEM_STATUS = 'Dir::State::status "/var/lib/dpkg/status";'  # what is installed need not be fetched
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
TIMEOUT = 90  # seconds for an answer
# Chromium reads its commands from file descriptor 3 and answers on 4.
START = "import os, sys; i, o, *c = sys.argv[1:]; os.dup2(int(i), 3); os.dup2(int(o), 4); os.execv(c[0], c)"


def command() -> tuple[str, dict[str, str]]:
    """Chromium's path and what it needs in its environment. Raises EK403 when it cannot be had."""
    for name in NAMES:
        if found := shutil.which(name):
            return found, {}
    return fetched(cache_dir() / "chromium")


def fetched(root: Path) -> tuple[str, dict[str, str]]:
    build_once(root, _fetch, print)
    libraries = sorted({str(path.parent) for path in root.rglob("lib*.so*")})
    return str(root / "usr/lib/chromium/chromium-headless-shell"), {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "FONTCONFIG_FILE": str(root / "fonts.conf"),
    }


def _fetch(folder: Path) -> None:
    scratch = folder / "apt"
    for name in ("state/lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True)
    config = scratch / "apt.conf"
    config.write_text(debian.CONFIG.format(root=scratch) + SYSTEM_STATUS)
    apt = ["apt-get", "-q", "-y", "-c", str(config)]
    for rest in (["update"], ["install", "--download-only", "--no-install-recommends", *PACKAGES]):
        subprocess.run([*apt, *rest], check=True, stdout=subprocess.PIPE, timeout=900)
    for deb in (scratch / "cache/archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", deb, folder], check=True, timeout=300)
    shutil.rmtree(scratch)
    (folder / "fonts.conf").write_text(
        '<?xml version="1.0"?><fontconfig><dir prefix="relative">usr/share/fonts</dir>'
        '<dir>/usr/share/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>\n'
    )


class Chromium:
    """One browser; `page` opens a page of its own."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers, self.buffer, self.number = commands, answers, b"", 0
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.commands, data) :]
        while (got := self._read()).get("id") != self.number:
            self.events.append(got)
        assert "error" not in got, (method, got["error"])
        result: dict[str, Any] = got["result"]
        return result

    def wait(self, method: str, session: str) -> None:
        while not any(e.get("method") == method and e.get("sessionId") == session for e in self.events):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"Chromium has not answered for {TIMEOUT} s"
            data = os.read(self.answers, 1 << 20)
            assert data, "Chromium has ended"
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def page(self, file: Path, width: int, height: int, scheme: str) -> Page:
        """A page from disk at this size, with `scheme` light or dark, after it has loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable", session)
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            session, width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.ask(
            "Emulation.setEmulatedMedia",
            session, features=[{"name": "prefers-color-scheme", "value": scheme}],
        )  # fmt: skip
        self.ask("Page.navigate", session, url=file.resolve().as_uri())
        self.wait("Page.loadEventFired", session)
        return Page(self, session)


class Page:
    def __init__(self, browser: Chromium, session: str) -> None:
        self.browser, self.session = browser, session

    def value(self, expression: str) -> Any:
        got = self.browser.ask(
            "Runtime.evaluate", self.session, expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def messages(self) -> list[dict[str, Any]]:
        """All that the page has printed to its console, warnings and refused loads included."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self._events() if event["method"] in kinds]

    def requests(self) -> list[str]:
        """The addresses of all that was asked for, the page itself first."""
        return [
            event["params"]["request"]["url"]
            for event in self._events()
            if event["method"] == "Network.requestWillBeSent"
        ]

    def _events(self) -> list[dict[str, Any]]:
        return [event for event in self.browser.events if event.get("sessionId") == self.session]

    def picture(self, out: Path, whole: bool = False) -> None:
        data = self.browser.ask("Page.captureScreenshot", self.session, captureBeyondViewport=whole)["data"]
        out.write_bytes(base64.b64decode(data))

    def paper(self) -> bytes:
        """The page as PDF, A4."""
        data = self.browser.ask("Page.printToPDF", self.session, paperWidth=8.27, paperHeight=11.69)["data"]
        return base64.b64decode(data)


@contextmanager
def started(profile: Path) -> Iterator[Chromium]:
    """`profile`: a fresh folder for the browser's own files."""
    program, environment = command()
    to_it, commands = os.pipe()
    answers, from_it = os.pipe()
    with open(profile / "stderr.txt", "wb") as words:
        child = subprocess.Popen(
            [sys.executable, "-c", START, str(to_it), str(from_it), program, *FLAGS,
             f"--user-data-dir={profile / 'profile'}"],
            pass_fds=(to_it, from_it), stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            env={**os.environ, **environment, "XDG_CACHE_HOME": str(profile)},
        )  # fmt: skip
    os.close(to_it)
    os.close(from_it)
    browser = Chromium(commands, answers)
    try:
        yield browser
        browser.ask("Browser.close")
        child.wait(30)
    finally:
        os.close(commands)
        os.close(answers)
        if child.poll() is None:
            child.kill()
            child.wait()
