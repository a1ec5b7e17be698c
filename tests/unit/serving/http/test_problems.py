"""Errors as answers: one table, one body."""

from __future__ import annotations

import inspect
from pathlib import Path

import orjson
import pytest

from serving import errors
from serving.errors import ServingError, operation, requests
from serving.http import problems
from serving.http.problems import INTERNAL, TABLE, kind_of

# Raised where no client waits, or when the operator has to act: a client gets 500 and the log has the reason.
NOT_FOR_CLIENTS = {
    ServingError,
    errors.ContractError,
    errors.ContractMissing,
    errors.ContractInvalid,
    errors.SignatureMismatch,
    errors.ModelFileError,
    requests.RequestError,
    requests.Overloaded,
    operation.StoreError,
    operation.RowsRefused,
    operation.StoreUrlInvalid,
    operation.StoreTooNew,
    operation.StoreIncomplete,
    errors.ModelRefused,
    errors.SignatureInvalid,
    operation.LocationInvalid,
    operation.StartRefused,
    operation.RegistryUnavailable,
    operation.NothingRegistered,
    operation.DriftUnknown,
    errors.ModelTimeout,
    operation.TimesAhead,
    operation.WindowTooSmall,
    operation.BatchTooSmall,
    operation.ReferenceUnusable,
    operation.DriftFailed,
    operation.ScoringRefused,
    operation.OutputTaken,
    operation.ScoringBegunOtherwise,
}
ALL: list[type[ServingError]] = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, ServingError) and value.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_row_or_is_not_for_clients(kind: type[ServingError]) -> None:
    mapped = any(ancestor in TABLE for ancestor in kind.__mro__)
    assert mapped != (kind in NOT_FOR_CLIENTS)


def test_the_nearest_ancestor_counts() -> None:
    assert kind_of(requests.TooManyFiles(got=2, limit=1)).status == 413
    assert kind_of(requests.BadRequest("no")).status == 400
    assert kind_of(errors.ImageEmpty()).status == 422
    assert kind_of(errors.ImageTooLarge(width=9, height=9, max_pixels=1)).status == 413


def test_the_body_is_that_of_rfc_9457() -> None:
    answer = problems.response(requests.BadRequest("got 1, expected 2"), request_id="abc")
    assert answer.media_type == "application/problem+json"
    assert orjson.loads(answer.body) == {
        "type": "urn:mien:problem:bad-request",
        "title": "The request is not valid",
        "status": 400,
        "detail": "got 1, expected 2",
        "request_id": "abc",
    }


def test_an_unexpected_error_gives_nothing_away() -> None:
    body = problems.problem(RuntimeError("the password is 123"))
    assert kind_of(RuntimeError()) is INTERNAL
    assert "123" not in str(body)


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (requests.QueueFull(waiting=1, limit=1), "retry-after", "1"),
        (requests.NotReady(reason="no model"), "retry-after", "5"),
        (requests.RateLimited(limit="1", retry_after_s=2.2), "retry-after", "3"),
        (requests.Unauthorized("no key"), "www-authenticate", 'Bearer realm="mien"'),
        (requests.MethodNotAllowed(got="PUT", allowed="GET, POST"), "allow", "GET, POST"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_client_learns_what_to_do_next(error: Exception, name: str, value: str) -> None:
    assert problems.response(error).headers[name] == value


def test_slugs_are_unique() -> None:
    slugs = [kind.slug for kind in (*TABLE.values(), INTERNAL)]
    assert len(set(slugs)) == len(slugs)


def test_the_guide_lists_every_problem(repository: Path) -> None:
    rows = [
        line.split("|")[1:3]
        for line in (repository / "docs" / "api.md").read_text().splitlines()
        if line.startswith("| `") and line.split("|")[2].strip().isdigit()
    ]
    documented = {slug.strip().strip("`"): int(status) for slug, status in rows}
    assert documented == {kind.slug: kind.status for kind in (*TABLE.values(), INTERNAL)}


def test_no_http_exception_is_raised_anywhere(repository: Path) -> None:
    sources = [path.read_text() for path in (repository / "serving").rglob("*.py")]
    assert not [text for text in sources if "raise HTTPException" in text]
