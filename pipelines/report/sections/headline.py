"""Top of the page (selected model, metrics, quality gate), the model card and the guide."""

from __future__ import annotations

import re
from collections.abc import Mapping

from markupsafe import Markup

from pipelines.core.lineage import UNKNOWN
from pipelines.core.variants import architecture_of
from pipelines.gate.remedies import remedies
from pipelines.report import model_card
from pipelines.report.formatting import count
from pipelines.report.inputs import Inputs
from pipelines.report.model_card import is_sample
from pipelines.report.page import Heading, Section, absent
from pipelines.report.sections.examples import example_faces
from pipelines.report.sections.training import is_lacking

_FACES = 6
_HASH = 10
"""Digits of a hash that are shown; enough to identify it."""


def headline(inputs: Inputs) -> Mapping[str, object]:
    """Return the variables of `templates/headline.html.j2`."""
    selected = inputs.selected
    metrics = None if selected is None else selected.metrics
    return {
        "title": None if selected is None else selected.title,
        "test": None if metrics is None else metrics.test,
        "classes": inputs.classes,
        "gate": inputs.gate,
        "remedies": [] if inputs.gate is None else list(remedies(inputs.gate)),
        "earlier": inputs.earlier,
        "faces": example_faces(inputs, _FACES),
        "method": None if inputs.explanation is None else inputs.explanation.method,
        "facts": _facts(inputs),
        "sample": inputs.manifest is not None and is_sample(inputs.manifest["source"]),
        "lacking": [model.title for model in inputs.models if is_lacking(inputs, model)],
        "warnings": _warnings(inputs),
    }


def _facts(inputs: Inputs) -> list[tuple[str, str]]:
    lineage = inputs.lineage
    facts = [("commit", _commit(lineage.commit, dirty=lineage.dirty))]
    if lineage.data != UNKNOWN:
        facts.append(("data", f"data.dvc {lineage.data[:_HASH]}"))
    if inputs.dataset is not None:
        facts.append(("dataset", inputs.dataset.dataset[:_HASH]))
    if inputs.manifest is not None:
        facts.append(("pictures", _pictures(len(inputs.manifest), inputs.manifest["group"].nunique())))
    facts.append(("architectures", str(len(inputs.models))))
    facts.append(("seed", str(inputs.params.seed)))
    return facts


def _pictures(images: int, groups: int) -> str:
    return f"{count(images)} of {count(groups)} people" if groups < images else count(images)


def _commit(commit: str, *, dirty: bool) -> str:
    if commit == UNKNOWN:
        return "not a git checkout"
    return f"{commit[:_HASH]}, with uncommitted changes" if dirty else commit[:_HASH]


def _warnings(inputs: Inputs) -> list[str]:
    """Return messages of failed expectations; only warnings reach the report."""
    if inputs.validation is None:
        return []
    return [check.message for check in inputs.validation.checks if not check.passed]


_CARD = Heading("card", "Model card", "Model card")
_HEADING = re.compile(r"<(/?)h([1-4])>")


def card_section(inputs: Inputs) -> Section:
    """Show the model card as it is stored with the registered version."""
    selected = inputs.selected
    if selected is None or inputs.manifest is None:
        return absent(_CARD, lacks="A selected model", stage="compare")
    if selected.training is None or selected.metrics is None or selected.export is None:
        return absent(_CARD, lacks="The selected model's record", stage="evaluate")
    facts = model_card.read_facts(inputs.root, selected.name)
    return Section(heading=_CARD, context={"card": _html(model_card.render(facts))})


def _html(markdown: str) -> Markup:
    """Convert Markdown to HTML; raw HTML stays text, headings are two levels lower."""
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    lowered = _HEADING.sub(lambda found: f"<{found[1]}h{int(found[2]) + 2}>", html)
    scrolling = lowered.replace("<table>", '<div class="scroll"><table>').replace(
        "</table>", "</table></div>"
    )
    return Markup(scrolling)  # noqa: S704  # markdown-it escapes what is not Markdown


def guide_section(inputs: Inputs) -> Section:
    """Explain the metrics and list next steps, with commands for the selected architecture."""
    selected = inputs.selected
    name = inputs.params.architectures[0] if selected is None else architecture_of(selected.name)
    return Section(
        heading=Heading("guide", "How to read this page, and what to do next", "Next steps"),
        context={
            "architecture": name,
            "epochs": inputs.params.model(name).epochs,
            "classes": len(inputs.classes),
            "passed": None if inputs.gate is None else inputs.gate.passed,
        },
    )
