"""Runs checks with Great Expectations, describes the results plainly, and writes the Data Docs.

Great Expectations renders the content of the Data Docs; the frame around it is ours. Its own frame loads
Bootstrap, jQuery and Vega from five content networks, does not work offline, and its logo's address reports
every visit. Ours needs no network and no script, and has no date, so that the same data gives the same files.
"""

from __future__ import annotations

import importlib
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.core.cli import quiet_libraries
from pipelines.core.data_results import Expectation
from pipelines.core.io import replacing_folder
from pipelines.validate.checks import Check

_EXAMPLES = 3
# Great Expectations keeps this many failed rows for the Data Docs.
_SAMPLED = 10


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of one check."""

    check: Check
    passed: bool
    observed: float | None
    """Rows that fail, or the value of an aggregate."""
    message: str
    """The values found, then the rule."""

    def expectation(self) -> Expectation:
        """Return the entry of `reports/validation.json`."""
        return Expectation(
            name=self.check.name,
            severity=self.check.severity,
            passed=self.passed,
            observed=self.observed,
            expected=self.check.says,
            message=self.message,
        )


def load_library() -> Any:
    """Import Great Expectations, with its analytics off."""
    quiet_libraries()
    with warnings.catch_warnings():
        # It imports modules of the standard library and of marshmallow that announce their end.
        warnings.simplefilter("ignore")
        return importlib.import_module("great_expectations")


def run_checks(
    library: Any, name: str, table: pd.DataFrame, checks: Sequence[Check], *, index: Sequence[str]
) -> tuple[list[Verdict], Any]:
    """Judge `table`.

    Args:
        library: what `load_library` returned.
        name: of the suite, as the Data Docs show it.
        table: what to judge.
        checks: the suite.
        index: columns that name a row to a reader.

    Returns:
        One verdict per check in their order, and Great Expectations' own result.
    """
    context = library.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    definition = (
        context.data_sources.add_pandas("prepared")
        .add_dataframe_asset(name)
        .add_batch_definition_whole_dataframe("all rows")
    )
    suite = library.ExpectationSuite(name, expectations=[check.expectation(library) for check in checks])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = definition.get_batch({"dataframe": table}).validate(
            suite,
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": _SAMPLED,
                "unexpected_index_column_names": list(index),
            },
        )
    for item in result.results:
        value = item.result.get("observed_value")
        if isinstance(value, np.generic):  # its page renderer cannot read how NumPy 2 prints numbers
            item.result["observed_value"] = value.item()
    found = {item.expectation_config.meta["check"]: item for item in result.results}
    return [_verdict(check, found[check.name], index) for check in checks], result


def _verdict(check: Check, item: Any, index: Sequence[str]) -> Verdict:
    error = (item.exception_info or {}).get("exception_message")
    result = item.result
    if error or not result:
        reason = str(error or "no result").splitlines()[0]
        return Verdict(
            check=check,
            passed=False,
            observed=None,
            message=f"cannot be judged: {reason}; rule: {check.says}",
        )
    observed: float | None
    if "unexpected_count" in result:
        observed = float(result["unexpected_count"])
        got = f"{result['unexpected_count']:,} of {result['element_count']:,} rows fail"
    else:
        value = result.get("observed_value")
        observed = float(value) if isinstance(value, int | float) and math.isfinite(value) else None
        got = f"measured {value:.4g}" if observed is not None else f"measured {value}"
    passed = bool(item.success)
    examples = "" if passed else _examples(result, index)
    return Verdict(
        check=check, passed=passed, observed=observed, message=f"{got}{examples}; rule: {check.says}"
    )


def _examples(result: dict[str, Any], index: Sequence[str]) -> str:
    rows = result.get("partial_unexpected_index_list") or []
    names = [" ".join(str(row[column]) for column in index) for row in rows[:_EXAMPLES]]
    return f" ({', '.join(names)}{', …' if len(rows) > _EXAMPLES else ''})" if names else ""


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

    result.meta.clear()  # time and id of the run
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
