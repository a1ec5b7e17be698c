"""The second and the third tab: the model and drift, also without a model or a drift result."""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from serving.drift.catalog import possible
from serving.drift.result import (
    ColumnDrift,
    DriftResult,
    Estimated,
    Measured,
    Quality,
    ReferenceFacts,
    WindowFacts,
)
from serving.drift.store import DriftStore
from tests.support.axe import barriers
from tests.support.browser import Visit
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import sha256_of

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TOO_WIDE = """(all) => all.filter((each) => each.scrollWidth > each.clientWidth + 1)
  .map((each) => each.innerText.slice(0, 80))"""
POSSIBLE = {
    "Confidence": (0.5, 1.0), "Doubt (entropy)": (0.0, 0.5), "Contrast": (0.0, 0.5),
    "Network features (direction 1)": (-2, 2),
}  # fmt: skip
"""What the axes of `drifted` may show: one deviation each way, as far as a column's values can go."""


class Visiting(Protocol):
    def __call__(self, **options: Any) -> AbstractContextManager[Visit]: ...


def drifted(sha256: str) -> DriftResult:
    """As the process that computes it leaves it: one column has moved, one has not."""
    now = time.time()
    reference, window = dict.fromkeys(CLASSES, 1 / 7), dict.fromkeys(CLASSES, 0.0) | {"happy": 1.0}
    columns: tuple[ColumnDrift, ...] = (
        ColumnDrift(
            name="predicted", method="Jensen-Shannon distance", score=0.8, threshold=0.04, drifted=True,
            reference=reference, window=window,
        ),
        ColumnDrift(
            name="brightness", method="Wasserstein distance", score=0.1, threshold=0.3, drifted=False,
            reference={"mean": 0.4, "deviation": 0.1}, window={"mean": 0.42, "deviation": 0.09},
        ),
        # One deviation from the mean is beyond what a probability, an entropy and a contrast can be.
        ColumnDrift(
            name="confidence", method="Wasserstein distance", score=0.5, threshold=0.3, drifted=True,
            reference={"mean": 0.95, "deviation": 0.2}, window={"mean": 0.7, "deviation": 0.2},
        ),
        ColumnDrift(
            name="entropy", method="Wasserstein distance", score=0.1, threshold=0.3, drifted=False,
            reference={"mean": 0.1, "deviation": 0.4}, window={"mean": 0.2, "deviation": 0.1},
        ),
        ColumnDrift(
            name="contrast", method="Wasserstein distance", score=0.1, threshold=0.3, drifted=False,
            reference={"mean": 0.05, "deviation": 0.1}, window={"mean": 0.45, "deviation": 0.1},
        ),
        ColumnDrift(
            name="embedding_1", method="Wasserstein distance", score=0.1, threshold=0.3, drifted=False,
            reference={"mean": 0.0, "deviation": 2.0}, window={"mean": 0.1, "deviation": 1.5},
        ),
    )  # fmt: skip
    columns = tuple(replace(column, possible=possible(column.name)) for column in columns)
    estimated = Estimated(mean_confidence=0.7, atc=0.72)
    measured = Measured(
        rows=280, accuracy=0.81, accuracy_low=0.76, accuracy_high=0.85, macro_f1=0.8, confusion={}
    )
    return DriftResult(
        verdict="drift", reason="predicted: farther from the reference than chance explains", time=now,
        model_version="local", model_sha256=sha256, columns=columns, left_out={"face_size": "no such column"},
        window=WindowFacts(
            rows=300, total=300, sampled=False, since=now - 3600, until=now, pictures_per_person=5
        ),
        reference=ReferenceFacts(rows=280, people=40),
        quality=Quality(reference=measured, feedback=None, estimated=estimated),
    )  # fmt: skip


def beyond_the_axis(card: Locator) -> list[str]:
    """Marks of a chart that lie beyond the ends of its axis."""
    found: list[str] = card.evaluate("""(card) => {
      const [low, high] = [...card.querySelectorAll("text.end")].map((each) => each.x.baseVal[0].value);
      const places = [...card.querySelectorAll("svg line")].flatMap((each) => [each.x1, each.x2]);
      return places.map((each) => each.baseVal.value).filter((x) => x < low - 0.01 || x > high + 0.01);
    }""")
    return found


def colors(page: Page, selector: str, name: str) -> set[str]:
    """Computed colours of all elements that match."""
    return set(
        page.locator(selector).evaluate_all(
            "(all, name) => all.map((each) => getComputedStyle(each).getPropertyValue(name))", name
        )
    )


def assert_neutral(verdict: Locator) -> None:
    """Neither the panel nor its title is green or red: their red, green and blue are nearly equal."""
    for element, name in ((verdict, "background-color"), (verdict.locator("strong"), "color")):
        value = element.evaluate("(each, name) => getComputedStyle(each).getPropertyValue(name)", name)
        channels = [int(digits) for digits in re.findall(r"\d+", value)]
        assert max(channels) - min(channels) <= 12, value


def assert_one_scale(page: Page) -> None:
    """All bars have one scale: thresholds in one place, lengths by distance over threshold."""
    bars = page.locator(".column .gauge").evaluate_all("""(all) => all.map((each) => {
      const { left, width } = each.getBoundingClientRect();
      return [each.querySelector("i").getBoundingClientRect().width / width,
        (each.querySelector("b").getBoundingClientRect().left - left) / width,
        each.classList.contains("beyond")];
    })""")
    # As `drifted` has them, the farthest beyond its threshold first.
    times = sorted((20.0, 0.5 / 0.3, *[0.1 / 0.3] * 4), reverse=True)
    threshold = bars[0][1]
    assert [bar[1] for bar in bars] == pytest.approx([threshold] * len(times), abs=0.01)
    assert [bar[0] for bar in bars] == pytest.approx([min(1.0, each * threshold) for each in times], abs=0.02)
    assert [bar[2] for bar in bars] == [each * threshold > 1 for each in times]


def test_the_model_its_figures_its_card_and_its_history(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open("model")
        expect(page.get_by_role("heading", level=1)).to_have_text("Test model, from a path")
        panel = page.get_by_role("tabpanel", name="Model")
        for text in ("81.3", "0.801", "16 × 16 px", "5" * 12, "Off: no second model"):
            expect(panel).to_contain_text(text)
        rows = page.get_by_role("region", name="Emotion by emotion").get_by_role("row")
        expect(rows).to_have_count(1 + len(CLASSES))
        history = page.get_by_role("region", name="Switches of the model").get_by_role("row")
        expect(history.nth(1)).to_contain_text("none → local")
        expect(history.nth(1)).to_contain_text("not signed")
        page.get_by_text("What it is for, what it is not for").click()
        card = page.locator(".prose")
        expect(card.get_by_role("heading", name="Measured")).to_be_visible()
        # The content of a card is shown as text, also where it looks like HTML.
        expect(card).to_contain_text("<img src=x onerror=alert(1)> is only text.")
        expect(card.locator("img")).to_have_count(0)


EDGES = """(table) => [...table.rows].map((row) => [...row.cells].map((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  const { left, right } = range.getBoundingClientRect();
  const lines = new Set([...range.getClientRects()].map((each) => Math.round(each.top / 8)));
  return [cell.classList.contains("n") ? right : left, lines.size];
}))"""
"""Where the content of each cell begins, of a number ends, px; and how many lines it has."""


def test_headings_stand_above_their_cells_and_short_facts_on_one_line(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open("model")
        page.wait_for_selector("#model h1")
        tables = page.locator("#model .card.panel table")
        expect(tables).to_have_count(2)
        for table in tables.all():
            heads, *rows = table.evaluate(EDGES)
            for row in rows:
                filled = [(edge, head) for (edge, lines), (head, _) in zip(row, heads, strict=True) if lines]
                assert [edge for edge, _ in filled] == pytest.approx([head for _, head in filled], abs=1)
        when, what, version, _, _, signed = rows[0]
        assert [lines for _, lines in (when, what, version, signed)] == [1, 1, 1, 1]


@pytest.mark.parametrize("dirty", [True, False, None])
def test_a_commit_with_uncommitted_changes_is_marked(visit: Visiting, dirty: bool | None) -> None:
    def registered(route: Route) -> None:
        answer = route.fetch()
        model = answer.json()
        model["live"]["lineage"] |= {"git_commit": "c" * 40, "dirty": dirty}
        route.fulfill(response=answer, json=model)

    with visit() as visitor:
        visitor.page.route("**/model", registered)
        row = visitor.open("model").locator(".facts > div", has_text="git commit")
        expect(row).to_contain_text("c" * 12)
        expect(row.get_by_text("with uncommitted changes")).to_have_count(1 if dirty else 0)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("tab", ["look", "model", "drift", "label"])
def test_everybody_can_use_every_tab(visit: Visiting, tab: str, scheme: str) -> None:
    with visit(color_scheme=scheme) as visitor:
        page = visitor.open(tab)
        expect(page.get_by_role("tabpanel").get_by_role("heading", level=1)).to_be_visible()
        for fold in page.locator("details").all():
            fold.evaluate("(each) => { each.open = true; }")
        assert barriers(page) == []


def test_without_a_verdict_drift_is_a_plain_sentence_and_then_the_charts(
    visit: Visiting, folder: Path
) -> None:
    with visit() as visitor:
        page = visitor.open("drift")
        verdict = page.locator(".verdict")
        expect(verdict).to_contain_text("No verdict yet")
        expect(verdict).to_contain_text("No observations of version local")
        expect(verdict).to_contain_text(re.compile(r"Checked \d+ seconds? ago"))
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert_neutral(verdict)
            assert barriers(page) == []
        ledger = DriftStore(f"sqlite:///{folder}/observations.db")
        ledger.keep(drifted(sha256_of(folder / "model")), html=b"<p>Evidently</p>", retention_s=1e6)
        deadline = time.monotonic() + 60
        while "Drift detected" not in verdict.inner_text():
            assert time.monotonic() < deadline
            page.reload()
            page.wait_for_selector("#drift .verdict")
        expect(verdict).to_contain_text("300 answers")
        cards = page.locator(".column")
        expect(cards).to_have_count(6)
        expect(cards.first).to_contain_text("Emotions")
        expect(cards.first).to_contain_text("chance explains up to 0.04: 20 times the threshold")
        expect(page.get_by_role("img", name="happy: test split 14")).to_be_visible()
        expect(page.get_by_text("Not compared – Size of the face")).to_be_visible()
        expect(cards.first.get_by_role("heading")).to_have_attribute("title", re.compile("How often"))
        expect(verdict).to_contain_text("chance explains: emotions, confidence.")
        assert_one_scale(page)
        for name, ends in POSSIBLE.items():
            card = cards.filter(has=page.get_by_role("heading", name=name, exact=True))
            shown = [float(text.replace("−", "-")) for text in card.locator("text.end").all_text_contents()]
            assert shown == pytest.approx(ends), name
            assert beyond_the_axis(card) == [], name
        assert colors(page, ".legend i.after", "background-color") == colors(page, ".after-bar", "fill")
        assert colors(page, ".legend i.after", "background-color") == colors(page, "circle.after", "fill")
        assert colors(page, ".legend i.distance", "background-color") == colors(
            page, ".gauge i", "background-color"
        )
        expect(page.get_by_text("Estimates in doubt.")).to_be_visible()
        # Feedback may have come since: the note says of which moment it speaks.
        expect(page.get_by_text(re.compile(r"none when this was computed, \w+ \d+, \d{4}"))).to_be_visible()
        text = page.get_by_role("tabpanel", name="Drift").inner_text().lower()
        assert "test split" in text
        assert "reference" not in text
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Evidently’s report").click()
        expect(opened.value.get_by_text("Evidently")).to_be_visible()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert barriers(page) == []


@pytest.mark.parametrize("width", [1366, 768, 390])
def test_no_table_is_wider_than_its_box_and_nothing_than_the_window(visit: Visiting, width: int) -> None:
    with visit(viewport={"width": width, "height": 844}) as visitor:
        for tab in ("model", "drift"):
            page = visitor.open(tab)
            page.wait_for_selector(f"#{tab} h1")
            for fold in page.locator("details").all():
                fold.evaluate("(each) => { each.open = true; }")
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.locator(".scroll:visible").evaluate_all(TOO_WIDE) == []
        page.goto(f"{visitor.address}/docs")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("table, pre").evaluate_all(TOO_WIDE) == []
        assert barriers(page) == []


def test_the_number_of_a_paragraph_of_the_law_is_not_torn_apart(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        numbers = page.locator(".small-print abbr")
        assert [text.replace("\xa0", " ") for text in numbers.all_inner_texts()] == [
            "Art. 5(1)(f)",
            "Art. 50(3)",
        ]
        for width in range(320, 480, 8):
            page.set_viewport_size({"width": width, "height": 844})
            assert numbers.evaluate_all("(all) => all.map((each) => each.getClientRects().length)") == [1, 1]


def test_tabs_are_moved_between_by_arrows_and_the_address_remembers(visit: Visiting) -> None:
    with visit() as visitor:
        page = visitor.open()
        page.get_by_role("tab", name="Look").focus()
        for key, name in (
            ("ArrowRight", "Model"),
            ("End", "Drift"),
            ("ArrowRight", "Look"),
            ("ArrowLeft", "Drift"),
        ):
            page.keyboard.press(key)
            expect(page.get_by_role("tab", name=name)).to_be_focused()
            expect(page.get_by_role("tabpanel", name=name)).to_be_visible()
        page.reload()
        expect(page.get_by_role("tabpanel", name="Drift")).to_be_visible()
        assert page.get_by_role("tab", selected=True).all_inner_texts() == ["Drift"]
