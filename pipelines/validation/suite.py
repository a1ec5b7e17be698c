"""Runs checks with Great Expectations and puts its answer into plain words."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.core.cli import quiet_libraries
from pipelines.validation.checks import Check

_EXAMPLES = 3
# Great Expectations keeps this many failed rows for the Data Docs.
_SAMPLED = 10


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one check."""

    check: Check
    passed: bool
    observed: float | None
    """Rows that fail, or the value of an aggregate."""
    message: str
    """What was found, then the rule."""

    def as_json(self) -> dict[str, Any]:
        """One entry of reports/validation.json."""
        return {
            "name": self.check.name,
            "severity": self.check.severity,
            "passed": self.passed,
            "observed": self.observed,
            "expected": self.check.says,
            "message": self.message,
        }


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
