"""The class of every problem that the service has, and what an error carries."""

from __future__ import annotations

import pickle

import pytest

from mien_client.errors import (
    AccessRefused,
    MienError,
    NotFound,
    Overloaded,
    PictureRefused,
    Problem,
    Refused,
    RequestRefused,
    Sent,
    ServiceFault,
    TimedOut,
    Unavailable,
    refusal,
)
from serving.http.problems import INTERNAL, TABLE, TYPE_PREFIX, ProblemKind

KINDS = {kind.slug: kind for kind in (*TABLE.values(), INTERNAL)}
EXPECTED: dict[str, type[Refused]] = {
    "bad-request": RequestRefused,
    "body-incomplete": RequestRefused,
    "unauthorized": AccessRefused,
    "forbidden": AccessRefused,
    "not-found": NotFound,
    "method-not-allowed": RequestRefused,
    "not-acceptable": RequestRefused,
    "head-too-slow": RequestRefused,
    "body-too-slow": RequestRefused,
    "stream-idle": RequestRefused,
    "payload-too-large": PictureRefused,
    "too-many-files": RequestRefused,
    "too-many-pictures": RequestRefused,
    "image-too-large": PictureRefused,
    "content-unsupported": RequestRefused,
    "picture-as-text": PictureRefused,
    "image-format-unknown": PictureRefused,
    "image-unusable": PictureRefused,
    "upgrade-required": RequestRefused,
    "rate-limited": Overloaded,
    "head-too-large": RequestRefused,
    "not-ready": Unavailable,
    "queue-full": Overloaded,
    "connections-full": Overloaded,
    "bodies-full": Overloaded,
    "streams-full": Overloaded,
    "deadline-passed": Overloaded,
    "store-unavailable": Unavailable,
    "face-detector-unusable": Unavailable,
    "internal": ServiceFault,
}
SENT = Sent(call="POST /detect", request_id="r1", traceparent="00-ab-cd-01", attempts=3)


def problem(kind: ProblemKind) -> Problem:
    return Problem(
        type=TYPE_PREFIX + kind.slug, title=kind.title, status=kind.status, detail="why", request_id="r1"
    )


def test_every_problem_of_the_service_is_expected_here() -> None:
    assert EXPECTED.keys() == KINDS.keys()


@pytest.mark.parametrize("slug", EXPECTED)
def test_a_problem_becomes_the_error_of_its_remedy(slug: str) -> None:
    error = refusal(problem(KINDS[slug]), SENT)
    assert type(error) is EXPECTED[slug]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, RequestRefused), (400, RequestRefused), (401, AccessRefused), (404, NotFound),
        (407, AccessRefused), (413, PictureRefused), (418, RequestRefused), (429, Overloaded),
        (500, ServiceFault), (502, Unavailable), (503, Unavailable), (504, Unavailable), (507, ServiceFault),
    ],
)  # fmt: skip
def test_without_a_problem_document_the_status_decides(status: int, kind: type[Refused]) -> None:
    error = refusal(Problem(type="about:blank", title="t", status=status, detail="d"), SENT)
    assert type(error) is kind


def test_the_message_has_what_was_sent_and_why_it_was_refused() -> None:
    error = refusal(problem(KINDS["queue-full"]), SENT, 2.0)
    for part in ("POST /detect", "Too many pictures are waiting", "why", "r1", "3 attempts"):
        assert part in str(error)


@pytest.mark.parametrize(
    "error", [TimedOut("late", SENT), refusal(problem(KINDS["rate-limited"]), SENT, 2.0)], ids=type
)
def test_errors_reach_another_process_unchanged(error: MienError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 # its own bytes
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
