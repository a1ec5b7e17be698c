"""The way of `POST /detect` through the code: few modules, all in the guide; each part is entered once."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import cv2
import numpy as np
import pytest

from serving.http.app import create_app
from tests.support.http_service import PATIENCE_S, settings_in
from tests.support.pictures import drawn_face
from tests.support.serving_models import model_folder

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = f"{ROOT}/serving/"
MOST_MODULES = 20
REQUESTS = 3
ONCE = ("Access.admit", "detect", "Detector.detect", "Batcher.run", "json_response")
"""Entrances of admission, route, detector, batcher and response."""


class Recording:
    """Records calls of this repository's functions, in all threads that start after it was installed."""

    def __init__(self) -> None:
        self.calls: list[CodeType] | None = None
        self._frames: set[FrameType] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if self.calls is None or event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        # A coroutine that goes on after a wait is reported again, with the same frame.
        if frame not in self._frames and _is_of_a_request(frame):
            self._frames.add(frame)
            self.calls.append(code)


def _is_of_a_request(frame: FrameType | None) -> bool:
    """Whether a call is made for a request, and not by what runs beside: polling, gauges, writing rows."""
    if threading.current_thread().name.startswith("batch"):
        return True
    while frame is not None:
        if frame.f_code is _status.__code__:
            return True
        frame = frame.f_back
    return False


def picture() -> bytes:
    """A JPEG file with one face."""
    pixels = np.full((400, 600, 3), 128, np.uint8)
    pixels[100:300, 300:500] = drawn_face(200)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def recorded(folder: Path) -> list[list[CodeType]]:
    """The calls during each of several requests, with the application's own threads."""
    model_folder(folder / "model")
    recording = Recording()
    threading.setprofile(recording)
    try:
        return asyncio.run(_requests(folder, recording))
    finally:
        threading.setprofile(None)
        sys.setprofile(None)


async def _requests(folder: Path, recording: Recording) -> list[list[CodeType]]:
    app = create_app(settings_in(folder, poll_s=60.0))
    async with app.router.lifespan_context(app) as given:
        state: dict[str, Any] = {**(given or {})}
        async with asyncio.timeout(PATIENCE_S):
            while await _status(app, state, "GET", "/readyz") != 200:
                await asyncio.sleep(0.05)
        assert await _status(app, state, "POST", "/detect", picture()) == 200
        found = []
        sys.setprofile(recording)
        for _ in range(REQUESTS):
            calls: list[CodeType] = []
            recording.calls = calls
            assert await _status(app, state, "POST", "/detect", picture()) == 200
            # The worker thread marks itself as idle after it has handed over the answer.
            await asyncio.sleep(0.1)
            recording.calls = None
            found.append(calls)
    return found


async def _status(app: Any, state: dict[str, Any], method: str, path: str, body: bytes = b"") -> int:
    """Send one request as an ASGI server does."""
    headers = [(b"host", b"localhost"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": headers, "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 5000), "state": {**state},
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[list[CodeType]]:
    return recorded(tmp_path_factory.mktemp("way"))


def modules(calls: list[CodeType]) -> set[str]:
    """The modules whose functions were called."""
    return {code.co_filename.removeprefix(f"{ROOT}/") for code in calls}


def test_few_modules_take_part_and_the_guide_lists_them(requests: list[list[CodeType]]) -> None:
    way = {name for calls in requests for name in modules(calls)}
    assert len(way) <= MOST_MODULES, sorted(way)
    guide = (ROOT / "docs/code.md").read_text().partition("## The way of a request")[2].partition("\n## ")[0]
    listed = re.findall(r"`(serving/[\w/]+\.py)`", guide)
    assert set(listed) == way


def test_a_request_enters_each_part_once(requests: list[list[CodeType]]) -> None:
    for calls in requests:
        entered = [code.co_qualname for code in calls if code.co_qualname in ONCE]
        assert entered == list(ONCE)
