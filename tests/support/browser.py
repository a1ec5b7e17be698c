"""A real browser for the page: Debian's Chromium, driven by Playwright, and what it complains of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, Request, expect, sync_playwright

from tests.support.pictures import drawn_face

WAIT_MS = 60_000
"""For anything to appear: the machine may be busy."""
ELSEWHERE = "mien.test"
"""Leads to this machine, and is none of its own names."""
_FLAGS = (
    # Nothing of the browser's own may go to the network, and a container has no user namespaces.
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    # A name that is not this machine's, for what is only given to local pages.
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
_CAMERA = (320, 240)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A headless Chromium whose camera shows a drawn face; `folder` is for the camera's file."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail("Chromium is missing; install Debian's package chromium: apt-get install chromium")
    camera = f"--use-file-for-fake-video-capture={write_camera(folder / 'camera.y4m')}"
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*_FLAGS, camera])
        try:
            yield browser
        finally:
            browser.close()


def write_camera(path: Path) -> Path:
    """What the camera sees: a drawn face, as an uncompressed video of two frames."""
    width, height = _CAMERA
    picture = np.full((height, width, 3), (150, 170, 190), np.uint8)
    picture[20:220, 60:260] = drawn_face(200)
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes()
    head = f"YUV4MPEG2 W{width} H{height} F15:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(head + 2 * (b"FRAME\n" + planes))
    return path


class Visit:
    """One visitor with one page, and everything that went wrong behind what they see."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        """Open a window.

        Args:
            browser: to open it in.
            address: of the service.
            options: of Playwright's `new_context`.
        """
        self.address = address
        options.setdefault("viewport", {"width": 1280, "height": 900})
        self._context = browser.new_context(**options)
        self._context.set_default_timeout(WAIT_MS)
        self.page: Page = self._context.new_page()
        self.complaints: list[str] = []
        self._refused: set[int] = set()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._request)

    def expect_refusals(self, *statuses: int) -> None:
        """These answers are part of the test: the browser's own note of them is not an error."""
        self._refused.update(statuses)

    def open(self, tab: str = "") -> Page:
        """Load the page, with a tab in its address or without, and wait until its parts are joined."""
        self.page.goto(f"{self.address}/{tab and '#'}{tab}")
        self.page.wait_for_selector("html[data-ready]")
        return self.page

    def send(self, data: bytes, *, name: str = "photo.png", kind: str = "image/png") -> None:
        """Choose a file."""
        file: FilePayload = {"name": name, "mimeType": kind, "buffer": data}
        self.page.set_input_files("input[type=file]", file)

    def state(self, state: str) -> None:
        """Wait until the first tab is in this state."""
        self.page.wait_for_selector(f".look[data-state={state}]")

    def close(self) -> None:
        """Shut the window; nothing may have gone wrong behind it."""
        self._context.close()
        assert self.complaints == []

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if any(f"status of {status}" in message.text for status in self._refused):
            return
        self.complaints.append(f"{message.type}: {message.text} {message.location}")

    def _request(self, request: Request) -> None:
        own = (self.address + "/", self.address.replace("http", "ws") + "/", "data:", "blob:")
        if not request.url.startswith(own):
            self.complaints.append(f"a request to {request.url}")


@contextmanager
def visiting(browser: Browser, address: str, **options: Any) -> Iterator[Visit]:
    """A visit that must leave no complaints."""
    visit = Visit(browser, address, **options)
    try:
        yield visit
    except BaseException:
        # What the page complained of is most often why.
        print("\n".join(visit.complaints))
        visit.complaints.clear()
        visit.close()
        raise
    visit.close()
