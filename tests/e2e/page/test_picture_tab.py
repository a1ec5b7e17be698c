"""A photo in, its faces out: as a visitor sees it."""

from __future__ import annotations

import json
import re
import urllib.request
from contextlib import AbstractContextManager
from itertools import combinations
from typing import Any, Protocol

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.axe import barriers
from tests.support.browser import Visit
from tests.support.http_service import picture_of
from tests.support.onnx_models import CLASSES
from tests.support.page_model import group, rows_of_faces
from tests.support.pictures import drawn_face, encoded

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}

NAME = "(each) => each.innerText || each.querySelector('img').alt"


class Visiting(Protocol):
    def __call__(self, **options: Any) -> AbstractContextManager[Visit]: ...


def cards(page: Page) -> list[str]:
    return page.locator(".answer .emotion").all_inner_texts()


Sides = tuple[float, float, float, float]


def boxes_of(elements: Locator) -> list[Sides]:
    """Left, top, right and bottom of each element, px."""
    found = elements.evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect())"
        ".map((each) => [each.left, each.top, each.right, each.bottom])"
    )
    return [tuple(sides) for sides in found]


def overlapping(places: list[Sides]) -> list[tuple[Sides, Sides]]:
    """Pairs that share more than a hair's breadth."""
    return [
        (one, other)
        for one, other in combinations(places, 2)
        if min(one[2], other[2]) - max(one[0], other[0]) > 0.1
        and min(one[3], other[3]) - max(one[1], other[1]) > 0.1
    ]


def outside(places: list[Sides], stage: Sides) -> list[Sides]:
    """Those that are not whole within the stage."""
    left, top, right, bottom = stage
    return [
        each
        for each in places
        if each[0] < left - 0.1 or each[1] < top - 0.1 or each[2] > right + 0.1 or each[3] > bottom + 0.1
    ]


def heat_of(page: Page) -> float:
    """Opacity of the heatmap, 0–1."""
    return float(page.locator(".heat").evaluate("(each) => getComputedStyle(each).opacity"))


def test_a_photo_gets_a_box_a_bar_for_each_emotion_the_heat_and_the_time(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        visitor.send(encoded(drawn_face(200)))
        visitor.state("answered")
        boxes = page.get_by_role("button", name=re.compile("^Face 1: "))
        expect(boxes).to_have_count(1)
        rows = page.locator(".answer .bar")
        assert sorted(rows.locator(".name").all_inner_texts()) == sorted(name.title() for name in CLASSES)
        shares = [float(text.strip(" >%\u202f")) for text in rows.locator(".value").all_inner_texts()]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(100, abs=0.5)
        expect(page.get_by_text(re.compile(r"^Answered in [\d.,]+\s(ms|s)$"))).to_be_visible()
        expect(page.locator("#announcer")).to_contain_text("1 face: ")
        slider = page.get_by_label("Where it looked")
        slider.fill("100")
        assert heat_of(page) == 1
        slider.fill("0")
        assert heat_of(page) == 0


def test_of_several_faces_each_has_its_box_and_its_card(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        visitor.send(group())
        visitor.state("answered")
        boxes = page.locator(".box")
        expect(boxes).to_have_count(3)
        assert len(cards(page)) == 3
        # The largest comes first, and it stands on the left.
        lefts = [box["x"] for index in range(3) if (box := boxes.nth(index).bounding_box())]
        assert lefts == sorted(lefts)
        expect(boxes.nth(0)).to_have_attribute("aria-pressed", "true")
        boxes.nth(2).focus()
        page.keyboard.press("Enter")
        opened = page.locator(".answer.open")
        expect(opened).to_have_attribute("aria-label", "Face 3")
        expect(opened.locator(".bar")).to_have_count(len(CLASSES))


def test_each_face_is_corrected_on_its_own_card(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        visitor.send(group())
        visitor.state("answered")
        cards_of = page.locator(".answer")
        for face, emotion in ((2, "Fear"), (0, "Sad"), (2, "Disgust")):
            page.locator(".box").nth(face).click()
            card = cards_of.nth(face)
            change = card.get_by_role("button", name="Change")
            if change.count():
                change.click()
            question = card.get_by_role("group")
            expect(question).to_have_accessible_name(f"Is that what face {face + 1} shows?")
            question.get_by_role("button", name="That’s wrong").click()
            card.get_by_role("button", name=emotion, exact=True).click()
            expect(card.locator(".thanks")).to_contain_text(f"face {face + 1} is noted as {emotion.lower()}")
            expect(card.locator(".noted")).to_contain_text(emotion.lower())
        page.locator(".box").nth(1).click()
        cards_of.nth(1).get_by_role("button", name="That’s right").click()
        expect(cards_of.nth(1).locator(".thanks")).to_contain_text("face 2 is noted as right")
        right = cards(page)[1].lower()
        # The closed cards still say what was noted.
        expect(page.locator(".noted:visible")).to_have_text(
            ["You said sad", f"You said {right}", "You said disgust"]
        )
        page.get_by_role("button", name="Where this answer comes from").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("feedback on face 3")
        address = dialog.get_by_role("link", name="All of it, as JSON").get_attribute("href")
        with urllib.request.urlopen(f"{visitor.address}/{address}") as answer:  # noqa: S310 # the test's own service
            stored = json.load(answer)
        assert stored["feedback"] == "sad"
        assert [face["feedback"] for face in stored["other_faces"]] == [right, "disgust"]
        dialog.get_by_role("button", name="Close").click()
        for width in (1366, 390):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert barriers(page) == []


@pytest.mark.parametrize("width", [1366, 390])
@pytest.mark.parametrize(("count", "side", "gap", "columns"), [(9, 120, 12, 3), (24, 60, 2, 6)])
def test_of_many_faces_each_has_its_number_and_no_label_lies_on_another(
    visit: Visiting, width: int, count: int, side: int, gap: int, columns: int
) -> None:
    with visit(viewport={"width": width, "height": 900}) as visitor:
        page = visitor.open()
        visitor.send(rows_of_faces(count, columns=columns, side=side, gap=gap))
        visitor.state("answered")
        expect(page.locator(".box")).to_have_count(count)
        numbers = [str(number) for number in range(1, count + 1)]
        assert page.locator(".answer .number").all_inner_texts() == numbers
        tags = page.locator(".boxes .tag:visible")
        assert tags.locator("i").all_inner_texts() == numbers
        # Another face is chosen: its label gets the most room.
        page.locator(".box").nth(count - 1).click()
        for _ in range(2):
            places = boxes_of(tags)
            assert overlapping(places) == []
            assert outside(places, boxes_of(page.locator(".frame"))[0]) == []
            expect(tags.nth(count - 1)).to_contain_text("%")
            page.set_viewport_size({"width": width + 60, "height": 900})
        assert barriers(page) == []


def test_the_gray_of_the_photo_is_explained_beside_the_slider(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        visitor.send(encoded(drawn_face(200)))
        visitor.state("answered")
        slider = page.get_by_label("Where it looked")
        explanation = page.locator(f"#{slider.get_attribute('aria-describedby')}")
        expect(explanation).to_be_visible()
        expect(explanation).to_contain_text("gray")
        [below] = boxes_of(explanation)
        [above] = boxes_of(slider)
        assert 0 <= below[1] - above[3] < 40


def test_what_a_person_says_is_stored_with_the_answer(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        visitor.send(picture_of(3))
        visitor.state("answered")
        expect(page.locator(".side .note")).to_contain_text("No face was found.")
        page.get_by_role("button", name="That’s wrong").click()
        page.get_by_role("button", name="Fear", exact=True).click()
        expect(page.locator(".thanks")).to_contain_text("noted as fear")
        page.get_by_role("button", name="Where this answer comes from").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Happy")
        expect(dialog).to_contain_text("feedback")
        expect(dialog).to_contain_text("5" * 64)
        address = dialog.get_by_role("link", name="All of it, as JSON").get_attribute("href")
        with urllib.request.urlopen(f"{visitor.address}/{address}") as answer:  # noqa: S310 # the test's own service
            assert json.load(answer)["feedback"] == "fear"
        page.set_viewport_size({"width": 390, "height": 844})
        assert dialog.evaluate("(each) => each.scrollWidth - each.clientWidth") <= 0
        assert barriers(page) == []
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_be_hidden()


def test_a_photo_can_be_pasted_and_dropped(visit: Visiting) -> None:
    give = """([bytes, kind]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
      const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
        : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }"""
    with visit() as visitor:
        page = visitor.open()
        for kind, index in (("paste", 0), ("drop", 5)):
            page.evaluate(give, [list(picture_of(index)), kind])
            expect(page.locator(".answer .emotion")).to_have_text(CLASSES[index].title())


def test_a_drawn_face_of_the_pages_own_can_be_tried(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        expect(page.locator("#demo")).to_contain_text("only ever seen drawn faces")
        page.get_by_role("button", name="A drawn face: together").click()
        visitor.state("answered")
        assert len(cards(page)) == 4


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (b"no picture at all", "That is not a picture"),
        (encoded(drawn_face(64))[:400], "That picture cannot be read"),
        (b"", "That picture cannot be read"),
    ],
    ids=["text", "broken", "empty"],
)
def test_a_bad_file_is_reported_in_words_and_another_can_follow(
    visit: Visiting, data: bytes, title: str
) -> None:
    with visit() as visitor:
        visitor.expect_refusals(415, 422)
        page = visitor.open()
        visitor.send(data)
        visitor.state("failed")
        expect(page.get_by_role("alert")).to_contain_text(title)
        assert barriers(page) == []
        visitor.send(picture_of(2))
        visitor.state("answered")
        assert cards(page) == [CLASSES[2].title()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_and_everybody_can_use_it(visit: Visiting, scheme: str) -> None:
    with visit(color_scheme=scheme, **PHONE) as visitor:
        page = visitor.open()
        for data in (None, group((150, 130))):
            if data:
                visitor.send(data)
                visitor.state("answered")
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            assert barriers(page) == []
        heights = page.locator("button:visible, input[type=range]:visible").evaluate_all(
            "(all) => all.map((each) => each.getBoundingClientRect().height)"
        )
        # WCAG 2.2, 2.5.8.
        assert min(heights) >= 24


def test_the_keyboard_alone_is_enough(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
        seen = []
        for _ in range(5):
            page.keyboard.press("Tab")
            seen.append(page.locator(":focus").evaluate(NAME).strip())
        assert seen == [
            "mien", "Look", "Choose a photo", "Use the camera", "A drawn face: happy",
        ]  # fmt: skip
