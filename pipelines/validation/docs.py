"""Data Docs: Great Expectations renders the content, the frame around it is ours.

Its own frame loads Bootstrap, jQuery and Vega from five content networks, so that without one the
pages are bare, and its logo's address reports every look at them. Ours needs no network and no
script. Nothing in it says when it was made, so that the same data gives the same files.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.core.io import replacing_folder
from pipelines.validation.suite import Verdict

_TEMPLATES = Path(__file__).parent / "templates"


def write_docs(folder: Path, results: Mapping[str, tuple[Sequence[Verdict], Any]]) -> None:
    """Write one page per suite; the first is `index.html`.

    Args:
        folder: replaced as a whole.
        results: verdicts and Great Expectations' own result, by the name of the suite.
    """
    names = list(results)
    pages = {name: "index.html" if name == names[0] else f"{name}.html" for name in names}
    with replacing_folder(folder) as temporary:
        for name, (verdicts, result) in results.items():
            page = _render(name, verdicts, result, pages=pages)
            (temporary / pages[name]).write_text(page, encoding="utf-8")


def _render(name: str, verdicts: Sequence[Verdict], result: Any, *, pages: Mapping[str, str]) -> str:
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, FileSystemLoader

    result.meta.clear()  # when and under which id it ran
    view = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([FileSystemLoader(_TEMPLATES), view.env.loader])
    numbers = itertools.count(1)
    view.env.filters["generate_html_element_uuid"] = lambda prefix: f"{prefix}{next(numbers)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
        # What is left of the first and the last section would say when it ran and link to nowhere.
        document.sections = document.sections[1:-1]
        page: str = view.render(document, suite=name, pages=pages, verdicts=verdicts)
    return page
