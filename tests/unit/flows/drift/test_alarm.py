"""When drift lasts: windows that share no observation, all of them drifted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flows.drift.alarm import drift_reason, lasting_drift, separate_windows
from serving.drift.result import ColumnDrift, DriftResult, DriftVerdict, WindowFacts

# Verdict, first and last second of the window.
Window = tuple[DriftVerdict, float, float]


def results(given: Sequence[Window]) -> list[DriftResult]:
    return [
        DriftResult(
            verdict=verdict,
            reason="",
            time=until,
            model_version="3",
            model_sha256="a" * 64,
            window=WindowFacts(
                rows=10, total=10, sampled=False, since=since, until=until, pictures_per_person=1.0
            ),
        )
        for verdict, since, until in given
    ]


def moved(name: str, score: float) -> ColumnDrift:
    return ColumnDrift(
        name=name, method="", score=score, threshold=0.1, drifted=score >= 0.1, reference={}, window={}
    )


def test_windows_that_overlap_a_newer_one_say_nothing_new() -> None:
    given = results([("drift", 70, 90), ("drift", 60, 80), ("no drift", 50, 69), ("drift", 20, 50)])
    assert [result.time for result in separate_windows(given)] == [90, 69]


def test_a_window_that_ends_where_the_newer_begins_shares_that_observation() -> None:
    assert [result.time for result in separate_windows(results([("drift", 50, 90), ("drift", 20, 50)]))] == [
        90
    ]


def test_results_without_a_verdict_are_passed_over() -> None:
    unknown = DriftResult(verdict="unknown", reason="", time=95.0, model_version="3", model_sha256="a" * 64)
    given = [unknown, *results([("drift", 50, 90), ("unknown", 20, 40), ("drift", 0, 10)])]
    assert [result.time for result in separate_windows(given)] == [90, 10]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([("drift", 50, 90), ("drift", 20, 40), ("drift", 0, 10)], [90, 40, 10]),
        ([("drift", 50, 90), ("no drift", 20, 40), ("drift", 0, 10)], None),
        ([("no drift", 50, 90), ("drift", 20, 40), ("drift", 0, 10)], None),
        ([("drift", 50, 90), ("drift", 20, 40)], None),
        ([("drift", 50, 90), ("drift", 45, 80), ("drift", 20, 60)], None),
        ([("drift", 80, 90), ("drift", 60, 70), ("drift", 40, 50), ("no drift", 0, 10)], [90, 70, 50]),
        ([], None),
    ],
    ids=["all", "interrupted", "over", "too few", "overlapping", "older ones do not count", "none"],
)
def test_drift_lasts_when_the_given_number_of_windows_in_a_row_drifted(
    given: list[Window], expected: list[float] | None
) -> None:
    found = lasting_drift(results(given), consecutive=3)
    assert (None if found is None else [result.time for result in found]) == expected


def test_the_reason_names_windows_version_and_columns_the_farthest_first() -> None:
    newest, older = results([("drift", 50, 90), ("drift", 20, 40)])
    newest = DriftResult(
        **{
            **vars(newest),
            "columns": (moved("brightness", 0.2), moved("entropy", 0.4), moved("contrast", 0.05)),
        }
    )
    assert drift_reason([newest, older]) == (
        "the pictures of 2 windows in a row differ from those of version 3 (entropy, brightness)"
    )
    assert drift_reason([newest]).startswith("the pictures of a window differ")
