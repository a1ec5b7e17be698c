"""What the page says when the service cannot answer, or not yet, or not without a key."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, expect

from serving.http.auth import hash_key
from tests.support.axe import barriers
from tests.support.browser import ELSEWHERE, visiting
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES
from tests.support.page_model import page_model
from tests.support.pictures import encoded

PICTURE = picture_of(1)


def test_without_a_model_it_says_so_tries_again_and_answers_when_there_is_one(
    browser: Browser, tmp_path: Path
) -> None:
    with serving(settings_in(tmp_path)) as client, visiting(browser, str(client.base_url)) as visitor:
        visitor.expect_refusals(503)
        page = visitor.open()
        expect(page.locator("#notices")).to_contain_text("No model is live yet.")
        expect(page.locator("#live-model")).to_have_text("no model")
        visitor.send(PICTURE)
        expect(page.get_by_role("alert")).to_contain_text("No model is ready yet")
        expect(page.get_by_text(re.compile(r"^Trying again in \d s\.$"))).to_be_visible()
        assert barriers(page) == []
        page_model(tmp_path / "model", sample=False)
        ready(client)
        # By itself, without any input.
        visitor.state("answered")
        expect(page.locator(".answer .emotion")).to_have_text(CLASSES[1].title())
        expect(page.locator("#notices")).to_be_empty()


def test_a_busy_service_is_left_alone_when_the_visitor_wants_so(browser: Browser, tmp_path: Path) -> None:
    page_model(tmp_path / "model")
    # Less than any picture has: as though others were sending that much.
    with serving(settings_in(tmp_path, max_held_bytes=10)) as client:
        ready(client)
        with visiting(browser, str(client.base_url)) as visitor:
            visitor.expect_refusals(503)
            page = visitor.open()
            visitor.send(PICTURE)
            expect(page.get_by_role("alert")).to_contain_text("Busy right now")
            page.get_by_role("button", name="Stop trying").click()
            visitor.state("failed")
            expect(page.get_by_text("Trying again in")).to_have_count(0)
            with page.expect_response("**/explain") as answer:
                page.get_by_role("button", name="Try again").click()
            assert answer.value.status == 503


def test_a_key_is_asked_for_kept_in_the_tab_and_sent_with_everything(
    browser: Browser, tmp_path: Path
) -> None:
    page_model(tmp_path / "model")
    with serving(settings_in(tmp_path, api_keys=(hash_key("page", "predict", "s3cret"),))) as client:
        ready(client)
        with visiting(browser, str(client.base_url)) as visitor:
            visitor.expect_refusals(401)
            page = visitor.open()
            visitor.send(PICTURE)
            page.get_by_label("API key").fill("wrong")
            page.get_by_role("button", name="Use it").click()
            expect(page.get_by_role("alert")).to_contain_text("not known")
            assert barriers(page) == []
            page.get_by_label("API key").fill("s3cret")
            page.keyboard.press("Enter")
            visitor.state("answered")
            kept = "[Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
            assert page.evaluate(kept) == [["s3cret"], [], ""]
            page.get_by_role("tab", name="Model").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Test model, from a path")
            page.get_by_role("tab", name="Look").click()
            # A WebSocket has no headers that a page could set.
            page.get_by_role("button", name="Camera").click()
            expect(page.locator(".trace .strongest")).to_have_count(1)
            page.get_by_role("button", name="Stop the camera").click()
            page.get_by_role("button", name="Forget it").click()
            page.get_by_role("tab", name="Model").click()
            expect(page.get_by_label("API key")).to_be_visible()


def test_under_another_name_it_says_why_requests_are_refused(browser: Browser, tmp_path: Path) -> None:
    page_model(tmp_path / "model")
    with serving(settings_in(tmp_path)) as client:
        port = ready(client).base_url.port
        with visiting(browser, f"http://{ELSEWHERE}:{port}") as visitor:
            visitor.expect_refusals(403)
            page = visitor.open()
            expect(page.locator("#notices")).to_contain_text("Not answered from here.")
            visitor.send(PICTURE)
            expect(page.get_by_role("alert")).to_contain_text("No keys are configured")
            page.get_by_role("button", name="Camera").click()
            expect(page.get_by_role("alert")).to_contain_text("A camera needs a secure page")


def test_what_is_too_large_can_be_sent_smaller(browser: Browser, tmp_path: Path) -> None:
    page_model(tmp_path / "model")
    limits = {"max_bytes": 60_000, "max_pixels": 200_000}
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    with serving(settings_in(tmp_path, **limits)) as client:
        ready(client)
        with visiting(browser, str(client.base_url)) as visitor:
            visitor.expect_refusals(413)
            page = visitor.open()
            visitor.send(encoded(noise))
            expect(page.get_by_role("alert")).to_contain_text("A picture may have 60 kB; this one has 361 kB")
            visitor.send(encoded(np.full((500, 900, 3), 128, np.uint8)))
            expect(page.get_by_role("alert")).to_contain_text("too many pixels")
            page.get_by_role("button", name="Send a smaller copy").click()
            visitor.state("answered")
            expect(page.locator(".answer .emotion")).to_have_text("Happy")


def test_it_says_what_is_kept_of_a_picture(browser: Browser, tmp_path: Path) -> None:
    page_model(tmp_path / "model")
    kept = {"keep_images": 0.25, "keep_images_days": 7, "retention_days": 45}
    with (
        serving(settings_in(tmp_path, **kept)) as client,
        visiting(browser, str(client.base_url)) as visitor,
    ):
        text = visitor.open().locator("#what-is-kept")
        expect(text).to_contain_text(re.compile(r"25\s% of the pictures are kept for 7 days"))
        expect(text).to_contain_text("may look at them to label them")
        expect(text).to_contain_text("kept for 45 days")
