"""Take the pictures of the page that the guides show, from a running service; about 90 s.

    python -m serving &
    python -m docs.screenshots                          # or: … http://localhost:9000
    MIEN_KEEP_IMAGES=1 python -m serving &              # another one, for the tab that labels kept pictures
    python -m docs.screenshots --label

Writes docs/images/page*.png. The service should follow a model of the drawn sample and have a database of its
own, new: it is sent the sample's test pictures, darker than they are, so that the page on drift has something
to show.
Needs Debian's package chromium. MLflow's and Prefect's pages: docs/consoles.py.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, expect, sync_playwright

from docs.example_faces import FOLDER as FACES
from docs.example_faces import head, lay

IMAGES = Path(__file__).resolve().parent / "images"
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
ACTOR = 40
"""In front of the camera: a person of the sample whom the face detector finds with every expression."""
PLAY = ("happy", "sad", "surprise", "angry")
_SWELL = (0.1, 0.4, 0.7, 1.0, 1.0, 0.7, 0.4)
"""Intensities of one expression, one after the other."""
_DARKER = 0.8
# Chromium plays such a file at 30 frames per second, over and over.
_REPEATED = 20
_WATCHED_MS = 24_000
_DRIFT_WAIT_S = 120.0


def film(path: Path) -> Path:
    """What the camera sees: one person whose face changes, as Motion JPEG."""
    with path.open("wb") as file:
        for label in PLAY:
            for intensity in _SWELL:
                picture = np.full((480, 640, 3), (150, 166, 172), np.float32)
                lay(picture, head(label, ACTOR, intensity=intensity), left=85, top=12)
                frame = np.clip(picture[..., ::-1], 0, 255).astype(np.uint8)
                file.write(cv2.imencode(".jpg", frame)[1].tobytes() * _REPEATED)
    return path


def look(browser: Browser, address: str, name: str, *, face: str, **options: Any) -> None:
    """A photo with its answer."""
    page = opened(browser, address, **options)
    page.set_input_files("input[type=file]", FACES / f"{face}.jpg")
    page.wait_for_selector("[data-state=answered]")
    taken(page, name)


def camera(browser: Browser, address: str) -> None:
    """Half a minute before the camera."""
    page = opened(browser, address, viewport={"width": 1280, "height": 1060})
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_selector(".trace .strongest")
    page.wait_for_timeout(_WATCHED_MS)
    # Not in the middle between two expressions.
    expect(page.locator(".now .strongest .value")).to_have_text(re.compile("^9"), timeout=_WATCHED_MS)
    taken(page, "page-camera")


def tab(browser: Browser, address: str, name: str, **options: Any) -> None:
    """A tab other than the first."""
    page = opened(browser, f"{address}/#{name}", **options)
    page.wait_for_selector(f"#{name} h1")
    taken(page, f"page-{name}")


def opened(browser: Browser, address: str, **options: Any) -> Page:
    """The page in a window of its own."""
    options.setdefault("viewport", {"width": 1280, "height": 900})
    page = browser.new_context(**options).new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    return page


def taken(page: Page, name: str) -> None:
    """Take the picture and shut the window."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(600)
    page.screenshot(path=IMAGES / f"{name}.png")
    page.context.close()


def wait_for_drift(address: str) -> None:
    """Send the sample's test pictures in a dim light, and wait for a verdict on them."""
    from pipelines.core.manifest import read_manifest

    folder = Path("prepared")
    rows = read_manifest(folder / "manifest.parquet", ["path", "split"])
    for path in rows["path"][rows["split"] == "test"]:
        picture = cv2.imread(str(folder / str(path))) * _DARKER
        data = cv2.imencode(".png", picture.astype(np.uint8))[1].tobytes()
        urllib.request.urlopen(f"{address}/detect", data=data).close()  # noqa: S310 # an address that was given
    deadline = time.monotonic() + _DRIFT_WAIT_S
    while fetched(f"{address}/drift")["verdict"] == "unknown" and time.monotonic() < deadline:
        time.sleep(2)


def fetched(address: str) -> Any:
    """JSON of an endpoint."""
    with urllib.request.urlopen(address) as answer:  # noqa: S310 # an address that was given
        return json.load(answer)


def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description="Take the pictures of the page.")
    parser.add_argument("address", nargs="?", default="http://localhost:8000", help="of the service")
    parser.add_argument("--label", action="store_true", help="only the tab that labels kept pictures")
    arguments = parser.parse_args()
    address = arguments.address.rstrip("/")
    executable = shutil.which("chromium")
    if executable is None:
        raise SystemExit("error: Chromium is missing; install Debian's package chromium")
    wait_for_drift(address)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        seen = f"--use-file-for-fake-video-capture={film(Path(folder) / 'camera.mjpeg')}"
        browser = playwright.chromium.launch(executable_path=executable, args=[*_FLAGS, seen])
        if arguments.label:
            tab(browser, address, "label", viewport={"width": 1280, "height": 1000})
            return
        look(browser, address, "page", face="together", viewport={"width": 1280, "height": 960})
        look(browser, address, "page-dark", face="surprise", color_scheme="dark")
        look(browser, address, "page-phone", face="happy", **PHONE)
        camera(browser, address)
        tab(browser, address, "model", viewport={"width": 1280, "height": 1250})
        tab(browser, address, "drift", viewport={"width": 1280, "height": 1250})
        browser.close()


if __name__ == "__main__":
    main()
