"""The tab Label: keys, undo, what is hidden, who sees it, on a phone and for everyone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from serving.http.auth import hash_key
from tests.support.axe import barriers
from tests.support.browser import visiting
from tests.support.http_service import ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES
from tests.support.page_model import page_model
from tests.support.pictures import colored, encoded

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LABELLED = "labelled by you"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[httpx.Client]:
    """A service that keeps every picture; without keys everyone on this machine may label."""
    page_model(tmp_path / "model")
    with serving(settings_in(tmp_path, keep_images=1.0, labels_needed=1)) as client:
        yield ready(client)


def answered(client: httpx.Client, *numbers: int) -> list[str]:
    """Have pictures answered; their ids, once they are kept."""
    ids = []
    for number in numbers:
        picture = encoded(colored(number, width=120, height=100))
        ids.append(client.post("/detect", content=picture, params={"faces": "none"}).json()["id"])
    until(lambda: all(client.get(f"/predictions/{id}").json()["picture_kept"] for id in ids))
    return ids


def figure(page: Page, name: str) -> Any:
    """The large number above these words."""
    return page.locator(".figures > div", has_text=name).locator(".value")


def test_a_person_labels_with_keys_and_takes_one_back(browser: Browser, service: httpx.Client) -> None:
    ids = answered(service, 1, 2, 3)
    with visiting(browser, str(service.base_url)) as visitor:
        page = visitor.open()
        page.get_by_role("tab", name="Label").click()
        picture = page.get_by_role("img", name="The picture to label")
        expect(picture).to_be_visible()
        # Nothing tells what the model answered: the buttons are all alike, in the model's order.
        choices = page.get_by_role("group", name="Expressions").get_by_role("button")
        assert choices.all_inner_texts() == [f"{name.title()}\n{n}" for n, name in enumerate(CLASSES, 1)]
        expect(choices.filter(has_text="Angry")).to_have_attribute("aria-keyshortcuts", "1")
        expect(page.get_by_role("button", name="Undo")).to_be_disabled()

        page.keyboard.press("4")
        expect(figure(page, LABELLED)).to_have_text("1")
        page.keyboard.press("n")
        expect(figure(page, LABELLED)).to_have_text("2")
        page.keyboard.press("u")
        expect(figure(page, LABELLED)).to_have_text("1")
        page.get_by_role("button", name="Not a face").click()
        expect(figure(page, LABELLED)).to_have_text("2")
        page.keyboard.press("s")
        expect(page.get_by_text("Nothing is left for you to label")).to_be_visible()
        found = service.get("/labels").json()
        assert found["agreed"] == {"happy": 1, "not-a-face": 1}
        assert (found["labels"], found["skips"]) == (2, 1)

        page.get_by_role("button", name="Undo the last one").click()
        expect(picture).to_be_visible()
        page.keyboard.press("7")
        expect(page.get_by_text("Nothing is left for you to label")).to_be_visible()
        assert service.get("/labels").json()["skips"] == 0
        assert service.get("/labels").json()["agreed"] == {"happy": 1, "not-a-face": 1, "surprise": 1}
        assert {service.delete(f"/labels/{id}/mine").status_code for id in ids} == {204}
        page.get_by_role("button", name="Look again").click()
        expect(picture).to_be_visible()
        # The focus is never lost, also where the button that had it goes or is disabled.
        page.reload()
        page.get_by_role("tab", name="Label").click()
        expect(picture).to_be_visible()
        page.keyboard.press("1")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("button", name="Undo")).to_be_disabled()
        page.keyboard.press("2")
        expect(figure(page, LABELLED)).to_have_text("1")
        # Arrows still move between tabs: showing this one takes no focus from them.
        page.get_by_role("tab", name="Drift").focus()
        page.keyboard.press("ArrowRight")
        expect(picture).to_be_visible()
        expect(page.get_by_role("tab", name="Label")).to_be_focused()


def test_keys_do_nothing_while_the_focus_is_elsewhere(browser: Browser, service: httpx.Client) -> None:
    answered(service, 1)
    with visiting(browser, str(service.base_url)) as visitor:
        page = visitor.open("label")
        expect(page.get_by_role("img", name="The picture to label")).to_be_visible()
        page.get_by_role("tab", name="Drift").focus()
        page.keyboard.press("1")
        page.get_by_role("tab", name="Label").click()
        page.keyboard.press("Control+1")
        page.keyboard.press("x")
        expect(figure(page, LABELLED)).to_have_text("0")
        assert service.get("/labels").json()["labels"] == 0


def test_a_deleted_picture_is_passed_over(browser: Browser, service: httpx.Client) -> None:
    answered(service, 1, 2)
    with visiting(browser, str(service.base_url)) as visitor:
        visitor.expect_refusals(404)
        first, second = (task["id"] for task in service.get("/labels/next").json()["tasks"])
        page = visitor.page

        def deleted(route: Route) -> None:
            """Between the list and the picture."""
            service.delete(f"/predictions/{first}")
            route.continue_()

        page.route(f"**/labels/{first}/picture", deleted)
        visitor.open("label")
        expect(page.get_by_role("img", name="The picture to label")).to_be_visible()
        page.get_by_role("button", name="Sad").click()
        expect(page.get_by_text("Nothing is left for you to label")).to_be_visible()
        assert service.get(f"/labels/{second}/picture").status_code == 200
        assert service.get("/labels").json()["agreed"] == {"sad": 1}


def test_only_those_who_may_label_see_the_tab_and_others_learn_why(browser: Browser, tmp_path: Path) -> None:
    page_model(tmp_path / "model")
    keys = (hash_key("anna", "label", "one"), hash_key("app", "predict", "two"))
    with serving(settings_in(tmp_path, keep_images=1.0, api_keys=keys)) as client:
        address = str(client.base_url)
        with visiting(browser, address) as visitor:
            page = visitor.open("label")
            panel, tab = page.get_by_role("tabpanel", name="Label"), page.get_by_role("tab", name="Label")
            expect(tab).to_be_hidden()
            expect(panel.get_by_role("heading", level=1)).to_have_text("Labelling needs a key")
            assert barriers(page) == []
            for key, seen in (("two", False), ("one", True)):
                page.evaluate("(key) => sessionStorage.setItem('mien.key', key)", key)
                page.reload()
                page.wait_for_selector("html[data-ready]")
                expect(tab).to_be_visible(visible=seen)
                expect(panel.get_by_text("This key may not label")).to_have_count(0 if seen else 1)
            expect(panel).to_contain_text("Nothing is left")
            page.get_by_role("button", name="Forget it").click()
            expect(tab).to_be_hidden()
            panel.get_by_label("API key").fill("one")
            page.keyboard.press("Enter")
            expect(panel).to_contain_text("Nothing is left")
            expect(tab).to_be_visible()


@pytest.mark.parametrize("has_keys", [False, True], ids=["on this machine", "strangers"])
def test_where_no_picture_is_kept_it_says_so_and_only_an_operator_learns_the_setting(
    browser: Browser, tmp_path: Path, has_keys: bool
) -> None:
    page_model(tmp_path / "model")
    keys = (hash_key("anna", "label", "one"),) if has_keys else ()
    with (
        serving(settings_in(tmp_path, api_keys=keys)) as client,
        visiting(browser, str(ready(client).base_url)) as visitor,
    ):
        page = visitor.open()
        expect(page.get_by_role("tab", name="Label")).to_be_hidden()
        way = page.locator("#what-is-kept").get_by_role("link")
        expect(way).to_have_count(0 if has_keys else 1)
        if has_keys:
            visitor.open("label")
        else:
            way.click()
        panel = page.get_by_role("tabpanel", name="Label")
        expect(panel.get_by_role("heading", level=1)).to_have_text("Labelling is off")
        assert ("MIEN_" in page.content()) is not has_keys
        # The keyboard still reaches the tabs, though that of the shown panel is hidden.
        stops = page.locator("[role=tab]:visible").evaluate_all("(all) => all.map((each) => each.tabIndex)")
        assert stops == [0, -1, -1]


@pytest.mark.parametrize("width", [1366, 390])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_everybody_can_use_it_on_every_screen(
    browser: Browser, service: httpx.Client, scheme: str, width: int
) -> None:
    answered(service, 1)
    size = {"width": width, "height": 844}
    with visiting(browser, str(service.base_url), color_scheme=scheme, viewport=size) as visitor:
        page = visitor.open("label")
        expect(page.get_by_role("img", name="The picture to label")).to_be_visible()
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        # Picture and all choices are on the screen at once, and fingers hit them (WCAG 2.2, 2.5.8: 24 px).
        for button in page.get_by_role("group", name="Expressions").get_by_role("button").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 44
            assert box["y"] + box["height"] <= size["height"]
        page.get_by_role("button", name="Skip").click()
        expect(page.get_by_text("Nothing is left for you to label")).to_be_visible()
        assert barriers(page) == []
