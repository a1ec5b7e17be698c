"""What both clients share: options, requests from calls, and what follows from the outcome of a request."""

from __future__ import annotations

import json
import logging
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import Generic, TypeVar

import httpx

from mien_client.calls import Call
from mien_client.errors import AnswerUnreadable, MienError, Problem, Sent, TimedOut, Unreachable, refusal
from mien_client.reading import read, read_answer

T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)
VERSION = "0.1.0"
_log = logging.getLogger("mien_client")
# The service closes an idle connection after 5 s (uvicorn's default); a request on its way would be lost.
IDLE_S = 4.0
# The database failed, perhaps after it had stored what was sent.
_PERHAPS_STORED = "urn:mien:problem:store-unavailable"


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often and when a request is sent again.

    Waits without `Retry-After` are drawn from [0, min(cap_s, base_s · 2ⁿ)]: "full jitter" of M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. The eight waits of the defaults take 11 s
    on average, which bridges the restart of a service.
    """

    limit: int = 8
    """Maximum number of repetitions; 0: none."""
    base_s: float = 0.25
    cap_s: float = 5.0
    max_wait_s: float = 30.0
    """Longest `Retry-After` that is waited for; with a longer one the call fails at once."""
    jitter: Callable[[], float] = random.random
    """Returns a number in [0, 1)."""

    def wait_s(self, failures: int) -> float:
        """Return the wait after a number of failures, at least 1."""
        return self.jitter() * min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A complete answer over HTTP."""

    status: int
    headers: httpx.Headers
    body: bytes


@dataclass(eq=False)
class Connection:
    """Where and how a client sends.

    Raises:
        ValueError: the URL or the key cannot be used.
    """

    url: str
    """Of the service, with the path prefix of a proxy if there is one."""
    _: KW_ONLY
    api_key: str | None = field(default=None, repr=False)
    """None: none is sent."""
    timeout_s: float = 10.0
    """Longest wait for a connection, and for each part of an answer."""
    deadline_s: float = 60.0
    """Longest duration of a call with all its attempts and waits."""
    retries: Retries = field(default_factory=Retries)
    max_connections: int = 16
    """Size of the pool; further calls wait for a connection."""
    headers: Callable[[], Mapping[str, str]] = dict
    """Called once for each call; returns headers to add, such as the `traceparent` of the caller's span."""
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    """Seconds of a clock that never goes back."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^/@?#\s]+(/[^?#\s]*)?", self.url):
            shown = self.url.rpartition("@")[2]  # without a user's password
            raise ValueError(f"url is {shown!r}, expected http[s]://HOST[:PORT][/PREFIX] without a user")
        if self.api_key is not None and not re.fullmatch("[!-~]+", self.api_key):
            raise ValueError("api_key is empty or has blanks, line breaks or other characters than a key's")

    def open(self, kind: type[H]) -> H:
        """Create the pool; its connections are opened when they are needed."""
        headers = {"user-agent": f"mien-client/{VERSION}"}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        limits = httpx.Limits(max_connections=self.max_connections, keepalive_expiry=IDLE_S)
        try:
            return kind(base_url=self.url, headers=headers, limits=limits)
        except httpx.InvalidURL as error:
            raise ValueError(f"url is {self.url!r}: {error}") from error


class Exchange(Generic[T]):
    """One call from its first attempt to its answer or error."""

    def __init__(self, call: Call[T], connection: Connection) -> None:
        """Start the deadline."""
        self._call = call
        self._connection = connection
        self._ends_at = connection.clock() + connection.deadline_s
        added = {name.lower(): value for name, value in connection.headers().items()}
        self._headers = {"x-request-id": uuid.uuid4().hex, **added, "accept": call.accept}
        self._attempts = 0
        self._body = b""

    def remaining_s(self) -> float:
        """Return the time until the deadline, positive."""
        return max(self._ends_at - self._connection.clock(), 1e-3)

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the request of the next attempt."""
        call, remaining_s = self._call, self.remaining_s()
        return http.build_request(
            call.method,
            call.target,
            params=dict(call.query) or None,
            content=call.picture,
            files=list(call.files) or None,
            json=call.json,
            headers=self._headers,
            timeout=httpx.Timeout(min(self._connection.timeout_s, remaining_s), pool=remaining_s),
        )

    def in_time(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Return the parts of an answer.

        Raises:
            TimeoutError: the deadline has passed.
        """
        for part in parts:
            yield part
            if self._connection.clock() > self._ends_at:
                raise TimeoutError

    def judge(self, outcome: Reply | Exception) -> float | None:
        """Return how long to wait before the next attempt, s; None if the outcome is the answer.

        Raises:
            MienError: the call failed, and another attempt is not useful or not safe.
        """
        self._attempts += 1
        asked_s = None
        if isinstance(outcome, Reply):
            if 200 <= outcome.status < 300:
                self._body = outcome.body
                return None
            asked_s = retry_after_s(outcome.headers)
            error, repeatable = self._refused(outcome, asked_s)
        else:
            error, repeatable = self._failed(outcome)
            error.__cause__ = outcome
        retries = self._connection.retries
        wait_s = asked_s or retries.wait_s(self._attempts)
        in_time = wait_s <= retries.max_wait_s and wait_s < self.remaining_s()
        if not (repeatable and in_time and self._attempts <= retries.limit) or self._call.probe:
            raise error
        _log.info("%s; it is sent again in %.3g s", error, wait_s)
        return wait_s

    def answer(self) -> T:
        """Return the answer that `judge` accepted.

        Raises:
            AnswerUnreadable: it is not the one that the call expects.
        """
        try:
            return read_answer(self._call.answer, self._body)
        except ValueError as error:
            reason = f"{error}; check that url is that of a mien service that this client supports"
            raise AnswerUnreadable(reason, self._sent()) from error

    def _sent(self) -> Sent:
        return Sent(
            call=f"{self._call.method} {self._call.target}",
            request_id=self._headers["x-request-id"],
            traceparent=self._headers.get("traceparent"),
            attempts=self._attempts,
        )

    def _failed(self, outcome: Exception) -> tuple[MienError, bool]:
        """Return the error for a failure without an answer, and whether the request may be sent again."""
        sent, own = self._sent(), self._connection
        place = f"{own.url} ({str(outcome) or type(outcome).__name__})"
        match outcome:
            case httpx.ConnectError() | httpx.ConnectTimeout():
                return Unreachable(f"no connection to {place}; check url, start the service", sent), True
            case httpx.TimeoutException() | TimeoutError():
                limits = f"timeout_s={own.timeout_s:g}, deadline_s={own.deadline_s:g}"
                limits += f", max_connections={own.max_connections}"
                return TimedOut(f"no answer from {place} in time; raise one of {limits}", sent), False
            case httpx.NetworkError() | httpx.RemoteProtocolError():
                lost = Unreachable(f"the connection was lost to {place}; try again later", sent)
                return lost, self._call.repeatable
            case _:
                reason = f"no HTTP was possible with {place}; check url and headers"
                return AnswerUnreadable(reason, sent), False

    def _refused(self, reply: Reply, asked_s: float | None) -> tuple[MienError, bool]:
        """Return the error for an answer that is not a success, and whether the request may be sent again."""
        problem = _problem(reply)
        not_done = problem.status in (429, 503) and problem.type != _PERHAPS_STORED
        perhaps_done = problem.status in (502, 503, 504)
        error = refusal(problem, self._sent(), asked_s)
        return error, not_done or (perhaps_done and self._call.repeatable)


def _problem(reply: Reply) -> Problem:
    """Return the problem of an answer; of one without a problem document, its status."""
    try:
        problem: Problem = read(Problem, json.loads(reply.body), "")
    except ValueError:
        title = responses.get(reply.status, f"Status {reply.status}")
        place = reply.headers.get("location")
        detail = f"redirected to {place}; use that url" if place else "not by the service; check the proxy"
        return Problem(type="about:blank", title=title, status=reply.status, detail=detail)
    return problem


def retry_after_s(headers: httpx.Headers) -> float | None:
    """Return the seconds that `Retry-After` asks for (RFC 9110, 10.2.3); None if it is missing or invalid.

    A date is compared with the answer's own `Date`, so that the clocks of both sides need not agree.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError):  # not a date; or one with a zone and one without
        return None
