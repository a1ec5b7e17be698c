"""Results on their way through the database."""

from __future__ import annotations

import json

import pytest

from serving.drift.result import (
    ColumnDrift,
    DriftRequest,
    DriftResult,
    Estimated,
    Measured,
    Quality,
    ReferenceFacts,
    WindowFacts,
    WindowRule,
    unknown_result,
)
from serving.errors import ServingError
from serving.errors.operation import BatchTooSmall, TimesAhead, WindowTooSmall


def column(name: str, score: float, threshold: float) -> ColumnDrift:
    return ColumnDrift(
        name=name, method="m", score=score, threshold=threshold, drifted=score >= threshold,
        reference={"mean": 1.0}, window={"mean": 2.0},
    )  # fmt: skip


TOO_SMALL = WindowTooSmall(got=1, expected=200, version="1")
REQUEST = DriftRequest(database_url="", model_folder="", model_version="1", model_sha256="cd")
MEASURED = Measured(
    rows=2, accuracy=0.5, accuracy_low=0.1, accuracy_high=0.9, macro_f1=0.4, confusion={"a": {"a": 1, "b": 1}}
)
RESULT = DriftResult(
    verdict="drift",
    reason="x",
    time=1.5,
    model_version="3",
    model_sha256="ab",
    window=WindowFacts(rows=500, total=800, sampled=True, since=0.0, until=1.0, pictures_per_person=2.5),
    reference=ReferenceFacts(rows=350, people=50),
    columns=(column("a", 1.0, 2.0), column("b", 3.0, 2.0), column("c", 9.0, 3.0)),
    left_out={"face_size": "no"},
    quality=Quality(reference=MEASURED, feedback=None, estimated=Estimated(mean_confidence=0.7, atc=0.6)),
)


@pytest.mark.parametrize("result", [RESULT, unknown_result(TOO_SMALL, REQUEST)], ids=["full", "unknown"])
def test_results_survive_json(result: DriftResult) -> None:
    assert DriftResult.loads(result.dumps()) == result


def test_keys_of_a_later_release_are_passed_over() -> None:
    values = json.loads(RESULT.dumps())
    values["mood"] = "good"
    values["columns"][0]["p_value"] = 0.1
    assert DriftResult.loads(json.dumps(values)) == RESULT


def test_a_result_without_a_verdict_names_the_kind_of_its_problem() -> None:
    result = unknown_result(TOO_SMALL, REQUEST)
    assert (result.verdict, result.problem, result.reason) == ("unknown", "WindowTooSmall", str(TOO_SMALL))
    assert (result.model_version, result.model_sha256) == ("1", "cd")
    # Results of the releases before have no kind.
    values = json.loads(result.dumps())
    del values["problem"]
    assert DriftResult.loads(json.dumps(values)).problem is None


@pytest.mark.parametrize("values", [{}, {"verdict": "drift"}], ids=["nothing", "little"])
def test_what_is_not_a_result_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not a drift result"):
        DriftResult.loads(json.dumps(values))


def test_the_farthest_column_is_named_first() -> None:
    assert RESULT.drifted == ("c", "b")


def test_requests_survive_a_line_of_json() -> None:
    request = DriftRequest(
        database_url="postgresql://a:b@c/d",
        model_folder="/models/3",
        model_version="3",
        model_sha256="ab",
        window=WindowRule(last_n=None, last_s=3600.0, min_rows=7),
        pictures_per_person=3.0,
    )
    assert "\n" not in request.dumps()
    assert DriftRequest.loads(request.dumps()) == request


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (WindowTooSmall(got=0, expected=200, version="1"), "no observations "),
        (WindowTooSmall(got=1, expected=200, version="1"), "only 1 observation "),
        (WindowTooSmall(got=2, expected=200, version="1"), "only 2 observations "),
        (BatchTooSmall(got=1, expected=200, version="1"), "only 1 answer "),
        (BatchTooSmall(got=30, expected=200, version="1"), "only 30 answers "),
        (TimesAhead(observations=1, results=0, ahead_s=70.0), " 1 observation and 0 results;"),
        (TimesAhead(observations=0, results=1, ahead_s=70.0), " 0 observations and 1 result;"),
        (TimesAhead(observations=300, results=1, ahead_s=70.0), " 300 observations and 1 result;"),
    ],
    ids=str,
)
def test_counts_in_messages_have_the_right_number(error: ServingError, counted: str) -> None:
    assert counted in str(error)
