"""Numbers and times in words, as the page's own module says them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import visiting


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    with visiting(browser, address, timezone_id="UTC") as visitor:
        yield visitor.open()


def said(page: Page, function: str, *values: Any) -> str:
    """What a function of format.js returns; narrow and no-break spaces as plain ones."""
    text: str = page.evaluate(
        """async ([name, values]) => {
          const script = document.querySelector("script[type=module]").src;
          const module = await import(new URL("format.js", script));
          return module[name](...values);
        }""",
        [function, values],
    )
    return " ".join(text.replace("–", " – ").split())


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-12-01T03:46:08Z", "2026-12-02T03:46:08Z", "Dec 1, 2026, 3:46 AM – Dec 2, 2026, 3:46 AM"),
        ("2026-12-01T03:46:08Z", "2026-12-01T14:02:00Z", "Dec 1, 2026, 3:46 AM – 2:02 PM"),
        ("2026-12-01T03:46:08Z", "2026-12-01T03:49:00Z", "Dec 1, 2026, 3:46 – 3:49 AM"),
        ("2026-12-01T03:46:08Z", "2026-12-01T03:46:41Z", "Dec 1, 2026, 3:46:08 AM – 3:46:41 AM"),
        ("2026-12-01T03:46:08.1Z", "2026-12-01T03:46:08.9Z", "Dec 1, 2026, 3:46:08 AM"),
    ],
    ids=["days", "hours", "minutes", "seconds", "one moment"],
)
def test_a_period_says_the_day_once_and_seconds_within_a_minute(
    page: Page, since: str, until: str, expected: str
) -> None:
    assert said(page, "period", since, until) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (5399, "90 minutes"),
        (5400, "2 hours"),
        (129_600, "2 days"),
    ],
)
def test_a_duration_has_one_unit_in_the_right_number(page: Page, seconds: int, expected: str) -> None:
    assert said(page, "duration", seconds) == expected
