"""The camera: frames over a WebSocket, their faces, and what happens when either goes away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Browser, Page, WebSocket, expect

from tests.support.axe import barriers
from tests.support.browser import WAIT_MS, Visit, visiting
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES
from tests.support.page_model import page_model

POINTS = "(path) => path.getAttribute('d').split(/[ML]/).length - 1"


class Visiting(Protocol):
    def __call__(self, **options: Any) -> AbstractContextManager[Visit]: ...


def watched(page: Page) -> None:
    """Start the camera and wait for its first answers."""
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator(".trace .strongest")).to_have_count(1)


def waited(page: Page, holds: Callable[[], bool]) -> None:
    """Let the browser tell of itself until something is true."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not holds():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_every_frame_is_looked_at_and_leaves_a_point_of_each_line(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        watched(page)
        expect(page.locator(".boxes li:not([hidden]) .box")).to_have_count(1)
        assert page.locator(".now .emotion").inner_text().lower() in CLASSES
        expect(page.locator(".trace path")).to_have_count(len(CLASSES))
        expect(page.locator(".trace .strongest path")).to_have_attribute("d", re.compile("L.*L.*L"))
        counts = page.locator(".trace path").evaluate_all(f"(paths) => paths.map({POINTS})")
        assert len(set(counts)) == 1
        chart = page.locator(".trace svg")
        expect(chart).to_have_attribute("aria-label", re.compile("^Emotions over the last 30 seconds. Now: "))
        expect(page.locator(".rate")).to_contain_text("1 face")
        assert barriers(page) == []


def test_a_still_is_looked_at_closely_and_the_camera_goes_off(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        watched(page)
        page.evaluate("window.track = document.querySelector('video').srcObject.getTracks()[0]")
        page.get_by_role("button", name="Take a picture").click()
        visitor.state("answered")
        expect(page.locator(".answer .bar")).to_have_count(len(CLASSES))
        assert page.evaluate("window.track.readyState") == "ended"


def test_another_tab_or_a_click_stops_the_camera(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        for leave in ("tab", "button"):
            with page.expect_websocket() as opened:
                watched(page)
            socket = opened.value
            page.evaluate("window.track = document.querySelector('video').srcObject.getTracks()[0]")
            with socket.expect_event("close"):
                name = "Model" if leave == "tab" else "Stop the camera"
                page.get_by_role(leave, name=name).click()
            assert page.evaluate("window.track.readyState") == "ended"
            page.get_by_role("tab", name="Look").click()
            visitor.state("empty")


def test_a_dropped_photo_takes_the_cameras_place(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        watched(page)
        page.evaluate("window.track = document.querySelector('video').srcObject.getTracks()[0]")
        visitor.send(picture_of(4))
        visitor.state("answered")
        expect(page.locator(".answer .emotion")).to_have_text("Neutral")
        assert page.evaluate("window.track.readyState") == "ended"


def test_a_hidden_tab_sends_nothing_and_continues_afterwards(browser: Browser, tmp_path: Path) -> None:
    hidden = """(gone) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => gone });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page_model(tmp_path / "model")
    with (
        serving(settings_in(tmp_path, stream_idle_s=1)) as client,
        visiting(browser, str(ready(client).base_url)) as visitor,
    ):
        page = visitor.open()
        sockets: list[WebSocket] = []
        page.on("websocket", lambda socket: sockets.append(socket))
        watched(page)
        page.evaluate(hidden, True)
        waited(page, lambda: sockets[-1].is_closed())
        before = len(sockets)
        page.evaluate(hidden, False)
        waited(page, lambda: len(sockets) > before)
        sockets[-1].wait_for_event("framereceived")
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_camera_that_is_not_allowed_is_reported_in_words(visit: Visiting) -> None:
    with visit() as visitor:
        visitor.page.add_init_script(
            "navigator.mediaDevices.getUserMedia = () => "
            "Promise.reject(new DOMException('denied', 'NotAllowedError'))"
        )
        page = visitor.open()
        page.get_by_role("button", name="Use the camera").click()
        expect(page.get_by_role("alert")).to_contain_text("The camera is not allowed")
        page.get_by_role("button", name="Back").click()
        visitor.state("empty")


def test_too_many_cameras_wait_for_a_place(browser: Browser, tmp_path: Path) -> None:
    page_model(tmp_path / "model")
    with serving(settings_in(tmp_path, stream_connections=1)) as client:
        ready(client)
        address = str(client.base_url)
        with visiting(browser, address) as first, visiting(browser, address) as second:
            watched(first.open())
            page = second.open()
            page.get_by_role("button", name="Use the camera").click()
            expect(page.get_by_role("alert")).to_contain_text("All camera streams")
            first.page.get_by_role("button", name="Stop the camera").click()
            # By itself, when there is a place.
            expect(page.locator(".trace .strongest")).to_have_count(1)
            expect(page.get_by_role("alert")).to_have_count(0)
