"""How long the client waits: `Retry-After` in both forms, and full jitter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import uvicorn

from mien_client import Retries
from mien_client.exchange import IDLE_S, retry_after_s

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
DATE = format_datetime(NOW, usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("5", 5.0),
        (" 120 ", 120.0),
        ("Mon, 30 Nov 2026 12:00:07 GMT", 7.0),
        ("Monday, 30-Nov-26 12:00:07 GMT", 7.0),  # RFC 850
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("٣", None),  # a digit that is not ASCII's
        ("Mon, 30 Nov 2026 12:00:07 -0000", None),
        ("Mon, 99 Nov 2026 12:00:07 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    headers = httpx.Headers([(b"date", DATE.encode()), (b"retry-after", text.encode())])
    assert retry_after_s(headers) == seconds


def test_without_a_date_of_the_answer_the_own_clock_counts() -> None:
    until = datetime.now(UTC) + timedelta(seconds=100)
    seconds = retry_after_s(httpx.Headers({"retry-after": format_datetime(until, usegmt=True)}))
    assert seconds is not None
    assert 90 < seconds <= 100


def test_without_the_header_there_is_no_wait() -> None:
    assert retry_after_s(httpx.Headers({"date": DATE})) is None


def test_full_jitter_draws_below_a_doubling_limit() -> None:
    largest = Retries(base_s=0.5, cap_s=3.0, jitter=lambda: 1.0)
    assert [largest.wait_s(failures) for failures in (1, 2, 3, 4, 5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert largest.wait_s(5000) == 3.0
    assert Retries(jitter=lambda: 0.0).wait_s(3) == 0.0
    drawn = [Retries().wait_s(3) for _ in range(200)]
    assert max(drawn) < 1.0
    assert min(drawn) < 0.25 < 0.75 < max(drawn)


def test_the_default_waits_take_about_eleven_seconds() -> None:
    halves = Retries(jitter=lambda: 0.5)
    assert sum(halves.wait_s(failures) for failures in range(1, halves.limit + 1)) == 11.375


def test_the_client_closes_idle_connections_before_the_service_does() -> None:
    assert uvicorn.Config("serving.main:app").timeout_keep_alive > IDLE_S
