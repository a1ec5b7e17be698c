"""Errors of the client, by what the caller can do about them.

    MienError
    ├── Refused             the service answered with a problem (RFC 9457), or a proxy with an error status
    │   ├── RequestRefused  change the call
    │   │   ├── PictureRefused  send another picture: too large, not a picture, damaged
    │   │   └── NotFound        no such answer is stored, or the URL is not that of a service
    │   ├── AccessRefused   check the key
    │   ├── Overloaded      send less at the same time, or send it later
    │   ├── Unavailable     wait: no model is live, a part of the service or the proxy's way to it is down
    │   └── ServiceFault    report it: `request_id` finds the reason in the service's log
    ├── TimedOut            no answer in time
    ├── Unreachable         no connection, or it was lost before the answer was complete
    └── AnswerUnreadable    not an answer that this version of the client reads

Each has `sent`: the call, its request id and its attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "urn:mien:problem:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a request, or one picture of a batch, was refused (RFC 9457)."""

    type: str
    """`urn:mien:problem:` and a name that does not change, to compare with; `about:blank` from a proxy."""
    title: str
    status: int
    detail: str
    """What was got, what was expected, what to do."""
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What was sent, to find it in the service's log and traces."""

    call: str
    """Method and path, `POST /detect`."""
    request_id: str
    """The same for all attempts of a call."""
    traceparent: str | None
    """The header of this name that `headers` gave (W3C Trace Context)."""
    attempts: int


class MienError(Exception):
    """A call of the client failed."""

    def __init__(self, reason: str, sent: Sent) -> None:
        super().__init__(reason, sent)
        self.reason = reason
        self.sent = sent

    def __str__(self) -> str:
        attempts = f", {self.sent.attempts} attempts" if self.sent.attempts > 1 else ""
        return f"{self.sent.call}: {self.reason} (request {self.sent.request_id}{attempts})"


class TimedOut(MienError):
    """No answer within `timeout_s`, or within the call's `deadline_s`."""


class Unreachable(MienError):
    """No connection, or it was lost before the answer was complete."""


class AnswerUnreadable(MienError):
    """The answer is not what this version of the client reads."""


class Refused(MienError):
    """The service refused the request, or a proxy in front of it."""

    def __init__(self, problem: Problem, sent: Sent, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.title}: {problem.detail}", sent)
        self.args = (problem, sent, retry_after_s)  # for pickle
        self.problem = problem
        self.retry_after_s = retry_after_s
        """What `Retry-After` asks for; None without it."""


class RequestRefused(Refused):
    """The call has to be changed."""


class PictureRefused(RequestRefused):
    """The picture is too large, of an unknown format, or damaged."""


class NotFound(RequestRefused):
    """No such answer is stored, or the URL is not that of a service."""


class AccessRefused(Refused):
    """The key is missing, unknown or not sufficient."""


class Overloaded(Refused):
    """Too many requests, of this client or of all."""


class Unavailable(Refused):
    """No model is live, or a part of the service or the proxy's way to it is down."""


class ServiceFault(Refused):
    """The service failed."""


_BY_TYPE: Mapping[str, type[Refused]] = {
    **dict.fromkeys(("too-many-files", "too-many-pictures", "content-unsupported"), RequestRefused),
    **dict.fromkeys(("queue-full", "connections-full", "bodies-full", "streams-full"), Overloaded),
    "deadline-passed": Overloaded,
}
"""Problems whose class does not follow from their status."""
_BY_STATUS: Mapping[int, type[Refused]] = {
    **dict.fromkeys((401, 403, 407), AccessRefused),
    404: NotFound,
    **dict.fromkeys((413, 415, 422), PictureRefused),
    429: Overloaded,
    **dict.fromkeys((502, 503, 504), Unavailable),
}


def refusal(problem: Problem, sent: Sent, retry_after_s: float | None = None) -> Refused:
    """Return the error for a problem: of its type, else of its status."""
    otherwise = RequestRefused if problem.status < 500 else ServiceFault
    by_status = _BY_STATUS.get(problem.status, otherwise)
    kind = _BY_TYPE.get(problem.type.removeprefix(_PREFIX), by_status)
    return kind(problem, sent, retry_after_s)
