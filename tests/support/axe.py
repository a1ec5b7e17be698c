"""Accessibility of what a page shows just now, by axe-core."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

_BAD = {"serious", "critical"}
# All but what goes on for ever.
_SETTLED = """() => Promise.all(document.getAnimations()
  .filter((each) => Number.isFinite(each.effect.getComputedTiming().endTime))
  .map((each) => each.finished.catch(() => {})))"""


def barriers(page: Page) -> list[str]:
    """Serious and critical violations, one line each; empty when there is none."""
    # What is still fading in has not its colours yet.
    page.evaluate(_SETTLED)
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:120]} {node['failureSummary'][:300]}"
        for rule in found
        if rule["impact"] in _BAD
        for node in rule["nodes"]
    ]
