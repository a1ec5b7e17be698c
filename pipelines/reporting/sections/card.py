"""The model card, as it goes onto the registered version."""

from __future__ import annotations

import re

from markupsafe import Markup

from pipelines.report import model_card
from pipelines.report.inputs import Inputs
from pipelines.report.page import Section, absent

_ID, _TITLE, _SHORT = "card", "Model card", "Model card"
_HEADING = re.compile(r"<(/?)h([1-4])>")


def section(inputs: Inputs) -> Section:
    """Intended use, prohibited use and limits; figures that stand elsewhere are repeated for the record."""
    selected = inputs.selected
    if selected is None or inputs.manifest is None:
        return absent(_ID, _TITLE, short=_SHORT, lacks="A selected model", stage="compare")
    if selected.training is None or selected.metrics is None or selected.export is None:
        return absent(_ID, _TITLE, short=_SHORT, lacks="The selected model's record", stage="evaluate")
    facts = model_card.read_facts(inputs.root, selected.name)
    return Section(id=_ID, title=_TITLE, short=_SHORT, context={"card": _html(model_card.render(facts))})


def _html(markdown: str) -> Markup:
    """Markdown → HTML; raw HTML in it stays text, headings go below the section's own."""
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    lowered = _HEADING.sub(lambda found: f"<{found[1]}h{int(found[2]) + 2}>", html)
    scrolling = lowered.replace("<table>", '<div class="scroll"><table>').replace(
        "</table>", "</table></div>"
    )
    return Markup(scrolling)  # noqa: S704  # markdown-it escapes what is not Markdown
