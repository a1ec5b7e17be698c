"""What the client repeats and how long it waits, with a server that answers by a script."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from mien_client import AsyncClient, MienError, Retries
from mien_client.errors import (
    AccessRefused,
    AnswerUnreadable,
    NotFound,
    Overloaded,
    PictureRefused,
    RequestRefused,
    ServiceFault,
    TimedOut,
    Unavailable,
    Unreachable,
)
from serving.detection.bodies import EXAMPLES
from serving.errors import ImageEmpty
from serving.errors.operation import StoreUnavailable
from serving.errors.requests import NotFound as NoSuchAnswer
from serving.errors.requests import NotReady, QueueFull, RateLimited, Unauthorized
from serving.http.problems import problem
from tests.support.client_driver import Driver, FakeTime, Kind, driver
from tests.support.http_process import free_port
from tests.support.scripted_server import (
    Action,
    answering,
    closing,
    dripping,
    resetting,
    scripted,
)

KINDS: tuple[Kind, ...] = ("sync", "async")
NO_JITTER = Retries(jitter=lambda: 1.0)
STORED = {"id": "a" * 32, "face": 0, "emotion": "sad", "predicted": "happy"}
OK = answering(200, EXAMPLES["Detection"])
BUSY = problem(QueueFull(waiting=2, limit=1), request_id="r1")

pytestmark = pytest.mark.parametrize("kind", KINDS)


def refusing(error: Exception, **headers: str) -> Action:
    body = problem(error, request_id="r1")
    return answering(body["status"], body, **headers)


def failed(client: Driver, name: str = "detect", *args: str | bytes) -> MienError:
    with pytest.raises(MienError) as caught:
        getattr(client, name)(*(args or [b"picture"] * (name == "detect")))
    return caught.value


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_waited_for_exactly(kind: Kind, status: int) -> None:
    fake = FakeTime()
    with (
        scripted(
            answering(status, BUSY, retry_after="7"), answering(status, BUSY, retry_after="2"), OK
        ) as server,
        driver(kind, server.url, fake=fake) as client,
    ):
        assert client.detect(b"picture").emotion == "happy"
    assert fake.waits == [7.0, 2.0]
    assert [request.body for request in server.received] == [b"picture"] * 3
    assert len({request.headers["x-request-id"] for request in server.received}) == 1


def test_retry_after_as_a_date_is_waited_for_exactly(kind: Kind) -> None:
    sent = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)  # of a server whose clock is wrong

    def busy(request: Any) -> None:
        request.date_time_string = lambda timestamp=None: format_datetime(sent, usegmt=True)
        until = format_datetime(sent + timedelta(seconds=11), usegmt=True)
        answering(503, BUSY, retry_after=until)(request)

    fake = FakeTime()
    with scripted(busy, OK) as server, driver(kind, server.url, fake=fake) as client:
        client.detect(b"picture")
    assert fake.waits == [11.0]


def test_without_retry_after_the_waits_double(kind: Kind) -> None:
    fake = FakeTime()
    with (
        scripted(*[answering(503, BUSY)] * 4, OK) as server,
        driver(kind, server.url, fake=fake, retries=NO_JITTER) as client,
    ):
        client.detect(b"picture")
    assert fake.waits == [0.25, 0.5, 1.0, 2.0]


def test_a_longer_wait_than_allowed_fails_at_once(kind: Kind) -> None:
    fake = FakeTime()
    with (
        scripted(refusing(RateLimited(limit="1 per hour", retry_after_s=3600), retry_after="3600")) as server,
        driver(kind, server.url, fake=fake, deadline_s=10_000) as client,
    ):
        error = failed(client)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 3600
    assert fake.waits == []
    assert len(server.received) == 1


def test_the_deadline_bounds_attempts_and_waits(kind: Kind) -> None:
    fake = FakeTime()
    with (
        scripted(refusing(NotReady(reason="no model"), retry_after="7")) as server,
        driver(kind, server.url, fake=fake, deadline_s=20) as client,
    ):
        error = failed(client)
    # A third wait would end at 21 s.
    assert fake.waits == [7.0, 7.0]
    assert len(server.received) == error.sent.attempts == 3
    assert isinstance(error, Unavailable)
    assert error.problem.type == "urn:mien:problem:not-ready"


def test_the_number_of_repetitions_is_bounded_and_each_is_logged(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeTime()
    with (
        caplog.at_level("INFO", "mien_client"),
        scripted(answering(503, BUSY, retry_after="1")) as server,
        driver(kind, server.url, fake=fake, retries=Retries(limit=2)) as client,
    ):
        error = failed(client)
    assert error.sent.attempts == len(server.received) == 3
    assert [record.args[1] for record in caplog.records if isinstance(record.args, tuple)] == [1.0, 1.0]


@pytest.mark.parametrize("status", [502, 504])
@pytest.mark.parametrize("name", ["detect", "feedback"])
def test_a_proxy_without_an_answer_is_asked_again_unless_that_could_store_twice(
    kind: Kind, status: int, name: str
) -> None:
    fake = FakeTime()
    page = answering(status, b"<html>nginx</html>", content_type="text/html")
    with scripted(page, OK) as server, driver(kind, server.url, fake=fake) as client:
        if name == "detect":
            assert client.detect(b"picture").emotion == "happy"
            assert len(fake.waits) == 1
            return
        error = failed(client, "feedback", "a" * 32, "sad")
    assert isinstance(error, Unavailable)
    assert (error.problem.status, error.problem.type) == (status, "about:blank")
    assert len(server.received) == 1


@pytest.mark.parametrize("lost", [closing, resetting])
def test_a_lost_answer_is_asked_for_again_unless_that_could_store_twice(kind: Kind, lost: Action) -> None:
    fake = FakeTime()
    with scripted(lost, OK) as server, driver(kind, server.url, fake=fake) as client:
        assert client.detect(b"picture").emotion == "happy"
    assert len(server.received) == 2
    with scripted(lost, answering(200, STORED)) as server, driver(kind, server.url, fake=fake) as client:
        assert isinstance(failed(client, "feedback", "a" * 32, "sad"), Unreachable)
    assert len(server.received) == 1


@pytest.mark.parametrize("name", ["delete_prediction", "withdraw_label"])
def test_a_deletion_whose_answer_is_lost_is_not_repeated(kind: Kind, name: str) -> None:
    with scripted(closing, answering(204, b"")) as server, driver(kind, server.url) as client:
        assert isinstance(failed(client, name, "a" * 32), Unreachable)
        assert len(server.received) == 1
        assert getattr(client, name)("a" * 32) is None


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(closing, id="connection"),
        pytest.param(answering(502, b"<html>nginx</html>", content_type="text/html"), id="proxy"),
        pytest.param(refusing(StoreUnavailable(reason="lost", url="sqlite:///a.db")), id="store"),
    ],
)
def test_a_label_is_sent_again_since_a_second_one_replaces_the_first(kind: Kind, lost: Action) -> None:
    stored = {"id": "a" * 32, "label": "sad", "labeller": "anna"}
    with (
        scripted(lost, answering(200, stored)) as server,
        driver(kind, server.url, fake=FakeTime()) as client,
    ):
        assert client.label("a" * 32, "sad").labeller == "anna"
    assert len({request.body for request in server.received}) == 1
    assert len(server.received) == 2


def test_feedback_that_was_surely_not_stored_is_sent_again(kind: Kind) -> None:
    fake = FakeTime()
    refused = refusing(RateLimited(limit="1 per s", retry_after_s=1), retry_after="1")
    with (
        scripted(refused, answering(200, STORED)) as server,
        driver(kind, server.url, fake=fake) as client,
    ):
        assert client.feedback("a" * 32, "sad").predicted == "happy"
    assert fake.waits == [1.0]


def test_feedback_that_may_be_stored_is_not_sent_again(kind: Kind) -> None:
    with (
        scripted(
            refusing(StoreUnavailable(reason="lost", url="sqlite:///a.db"), retry_after="5"),
            answering(200, STORED),
        ) as server,
        driver(kind, server.url, fake=FakeTime()) as client,
    ):
        assert isinstance(failed(client, "feedback", "a" * 32, "sad"), Unavailable)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(refusing(Unauthorized("no key")), AccessRefused, id="key"),
        pytest.param(refusing(ImageEmpty()), PictureRefused, id="picture"),
        pytest.param(refusing(NoSuchAnswer("no such path")), NotFound, id="path"),
        pytest.param(refusing(RuntimeError("secret")), ServiceFault, id="fault"),
        pytest.param(answering(308, b"", location="https://other/"), RequestRefused, id="redirect"),
        pytest.param(answering(413, b"<html>"), PictureRefused, id="proxy's limit"),
    ],
)
def test_what_does_not_pass_by_itself_is_not_repeated(
    kind: Kind, answer: Action, expected: type[MienError]
) -> None:
    with scripted(answer, OK) as server, driver(kind, server.url) as client:
        error = failed(client)
    assert type(error) is expected
    assert len(server.received) == error.sent.attempts == 1


def test_a_redirection_names_the_place(kind: Kind) -> None:
    with (
        scripted(answering(301, b"", location="https://other/")) as server,
        driver(kind, server.url) as client,
    ):
        assert "https://other/" in str(failed(client))


def test_a_probe_is_sent_once(kind: Kind) -> None:
    with (
        scripted(refusing(NotReady(reason="no model"), retry_after="1")) as server,
        driver(kind, server.url, fake=FakeTime()) as client,
    ):
        assert isinstance(failed(client, "ready"), Unavailable)
    assert len(server.received) == 1


def test_no_connection_is_tried_again(kind: Kind) -> None:
    fake = FakeTime()
    address = f"http://127.0.0.1:{free_port()}"
    with driver(kind, address, fake=fake, retries=Retries(limit=3)) as client:
        error = failed(client)
    assert isinstance(error, Unreachable)
    assert isinstance(error.__cause__, httpx.ConnectError)
    assert address in str(error)
    assert len(fake.waits) == 3


def test_errors_carry_what_was_sent(kind: Kind) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"Traceparent": trace, "X-Request-Id": "mine"}
    with (
        scripted(refusing(Unauthorized("no key"))) as server,
        driver(kind, server.url, headers=lambda: headers, api_key="KEY") as client,
    ):
        error = failed(client)
    [request] = server.received
    assert request.headers["traceparent"] == error.sent.traceparent == trace
    assert request.headers["x-request-id"] == error.sent.request_id == "mine"
    assert request.headers["authorization"] == "Bearer KEY"
    assert request.target == "/detect?faces=auto&min_probability=0.0"
    assert error.sent.call == "POST /detect"


def test_a_prefix_of_a_proxy_stays_in_the_path(kind: Kind) -> None:
    with (
        scripted(answering(200, {"status": "alive"})) as server,
        driver(kind, f"{server.url}/mien") as client,
    ):
        client.live()
    assert server.received[0].target == "/mien/livez"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answering(200, b"<html>"), id="not-json"),
        pytest.param(answering(200, {"emotion": "happy"}), id="missing-keys"),
        pytest.param(answering(200, b"not gzip", content_encoding="gzip"), id="compression"),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error_of_its_own(kind: Kind, answer: Action) -> None:
    with scripted(answer) as server, driver(kind, server.url) as client:
        assert type(failed(client)) is AnswerUnreadable
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"timeout_s": 0.2}, id="timeout"),
        pytest.param({"deadline_s": 0.2, "timeout_s": 60}, id="deadline"),
    ],
)
def test_a_server_that_does_not_answer_is_not_waited_for(kind: Kind, limits: dict[str, Any]) -> None:
    done = threading.Event()

    def silent(request: Any) -> None:
        done.wait(60)
        closing(request)

    start = time.monotonic()
    with scripted(silent) as server, driver(kind, server.url, **limits) as client:
        assert type(failed(client)) is TimedOut
        assert time.monotonic() - start < 30
        assert len(server.received) == 1
        done.set()


def test_an_answer_in_drips_ends_at_the_deadline(kind: Kind) -> None:
    done = threading.Event()
    start = time.monotonic()
    with (
        scripted(dripping(0.05, 1200, stop=done)) as server,
        driver(kind, server.url, deadline_s=0.5) as client,
    ):
        assert type(failed(client)) is TimedOut
        # The whole answer takes a minute.
        assert time.monotonic() - start < 30
        done.set()


def test_the_pool_is_bounded(kind: Kind) -> None:
    busy, most, lock, count = threading.Event(), 0, threading.Lock(), 0

    def counting(request: Any) -> None:
        nonlocal most, count
        with lock:
            count += 1
            most = max(most, count)
        busy.wait(0.05)
        with lock:
            count -= 1
        OK(request)

    with scripted(counting) as server, driver(kind, server.url, max_connections=3) as client:
        assert failures(client, 12) == [None] * 12
    assert len(server.received) == 12
    assert 1 <= most <= 3


def test_a_full_pool_is_waited_for_until_the_deadline(kind: Kind) -> None:
    done = threading.Event()
    arrivals: list[float] = []

    def slow(request: Any) -> None:
        arrivals.append(time.monotonic())
        done.wait(60)
        OK(request)

    start = time.monotonic()
    with scripted(slow) as server, driver(kind, server.url, max_connections=1, deadline_s=2.0) as client:
        errors = failures(client, 2)
        assert time.monotonic() - start < 30
        done.set()
    assert [type(error) for error in errors] == [TimedOut, TimedOut]
    assert all("max_connections=1" in str(error) for error in errors)
    # The second call starts a moment later and may have the connection between the two deadlines.
    assert all(later - arrivals[0] > 1 for later in arrivals[1:])


def failures(client: Driver, count: int) -> list[BaseException | None]:
    """Detect in as many threads, or tasks, at the same time: the errors, None for a success."""
    inner = client.client
    if isinstance(inner, AsyncClient):
        found: list[BaseException | None] = []

        async def gathered() -> None:
            results = await asyncio.gather(
                *(inner.detect(b"picture") for _ in range(count)), return_exceptions=True
            )
            found.extend(result if isinstance(result, BaseException) else None for result in results)

        client.run(gathered)
        return found
    with ThreadPoolExecutor(count) as pool:
        submitted = [pool.submit(inner.detect, b"picture") for _ in range(count)]
        return [future.exception() for future in submitted]
