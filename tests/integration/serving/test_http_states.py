"""The service without a model, overloaded, with keys, and going down."""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving.http.auth import hash_key
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES
from tests.support.pictures import encoded, textured
from tests.support.serving_models import model_folder

KEYS = (hash_key("app", "predict", "one"), hash_key("ops", "admin", "two"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    return tmp_path


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["type"]).rpartition(":")[2]


def test_without_a_model_it_lives_and_takes_the_first_one_that_comes(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        assert client.get("/livez").json() == {"status": "alive"}
        waiting = client.get("/readyz")
        assert kind(waiting) == (503, "not-ready")
        assert int(waiting.headers["retry-after"]) > 0
        assert kind(client.post("/detect", content=picture_of(0))) == (503, "not-ready")
        assert client.get("/model").json()["live"] is None
        model_folder(tmp_path / "model")
        ready(client)
        assert client.post("/detect", content=picture_of(0)).json()["emotion"] == CLASSES[0]


def test_with_keys_each_scope_reaches_as_far_as_it_should(folder: Path) -> None:
    with serving(settings_in(folder, api_keys=KEYS)) as client:
        ready(client)
        assert kind(client.post("/detect", content=picture_of(0))) == (401, "unauthorized")
        assert kind(client.get("/metrics")) == (401, "unauthorized")
        app, ops = {"authorization": "Bearer one"}, {"x-api-key": "two"}
        answer = client.post("/detect", content=picture_of(0), headers=app)
        assert answer.status_code == 200
        path = f"/predictions/{answer.json()['id']}"
        assert kind(client.delete(path, headers=app)) == (403, "forbidden")
        assert client.delete(path, headers=ops).status_code == 204


def test_an_unknown_client_with_a_large_body_still_reads_its_answer(folder: Path) -> None:
    with serving(settings_in(folder, api_keys=KEYS)) as client:
        assert kind(client.post("/detect", content=b"x" * 5_000_000)) == (401, "unauthorized")


def test_one_key_is_held_back_and_the_probes_are_not(folder: Path) -> None:
    with serving(settings_in(folder, rate_per_s=0.01, rate_burst=2)) as client:
        ready(client)
        statuses = [client.get("/model").status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert kind(client.get("/model")) == (429, "rate-limited")
        assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(("per_s", "least_s"), [(0.01, 90), (5, 1), (0.9, 1)])
def test_a_client_that_is_held_back_reads_one_number_in_both_places(
    folder: Path, per_s: float, least_s: int
) -> None:
    with serving(settings_in(folder, rate_per_s=per_s, rate_burst=1)) as client:
        answers = [client.get("/model") for _ in range(20)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    waits = [int(number) for number in re.findall(r"\b(\d+) s\b", refused.json()["detail"])]
    assert waits == [int(refused.headers["retry-after"])]
    assert waits[0] >= least_s


def test_other_origins_may_call_only_when_they_are_named(folder: Path) -> None:
    with serving(settings_in(folder, cors_origins=("https://a.example",))) as client:
        ready(client)
        asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
        assert client.options("/detect", headers=asked).status_code == 200
        answer = client.post("/detect", content=picture_of(0), headers={"origin": "https://a.example"})
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        other = client.post("/detect", content=picture_of(0), headers={"origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.fixture
def large() -> bytes:
    """A picture that takes a while to look at."""
    return encoded(textured(1, width=3000, height=2000), "JPEG")


def test_more_than_the_queue_holds_is_turned_away_and_may_come_back(folder: Path, large: bytes) -> None:
    settings = settings_in(folder, queue_images=1, threads=1)
    with serving(settings) as client, ThreadPoolExecutor(12) as pool:
        ready(client)
        answers = list(pool.map(lambda _: client.post("/detect", content=large), range(12)))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 503}
        turned_away = next(answer for answer in answers if answer.status_code == 503)
        assert kind(turned_away) == (503, "queue-full")
        assert int(turned_away.headers["retry-after"]) >= 1
        assert client.post("/detect", content=picture_of(0)).status_code == 200


def test_an_answer_that_would_come_too_late_is_not_waited_for(folder: Path, large: bytes) -> None:
    with serving(settings_in(folder, timeout_s=0.001)) as client:
        ready(client)
        late = client.post("/detect", content=large)
        assert kind(late) == (503, "deadline-passed")
        batch = client.post("/detect/batch", files=[("file", ("a", large)), ("file", ("b", large))])
        assert kind(batch) == (503, "deadline-passed")


def test_a_client_that_sends_too_slowly_is_answered_and_disconnected(folder: Path) -> None:
    with serving(settings_in(folder, body_timeout_s=0.3)) as client:
        ready(client)
        url = client.base_url
        with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
            connection.sendall(b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 408")
        assert b"body-too-slow" in received


def test_the_database_taken_away_fails_no_detection(folder: Path) -> None:
    database = folder / "away" / "observations.db"
    database.parent.write_text("a file where the folder should be")
    with serving(settings_in(folder, database_url=f"sqlite:///{database}")) as client:
        ready(client)
        answer = client.post("/detect", content=picture_of(0))
        assert answer.status_code == 200
        assert kind(client.get("/model/history")) == (503, "store-unavailable")
        # Its row still waits in this process.
        assert client.get(f"/predictions/{answer.json()['id']}").status_code == 200


def test_going_down_every_accepted_request_is_answered(folder: Path, large: bytes) -> None:
    head = f"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(large)}\r\n"
    with serving(settings_in(folder)) as client:
        ready(client)
        url = client.base_url
        connections = [socket.create_connection((url.host, url.port or 80), timeout=30) for _ in range(4)]
        for connection in connections:
            connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
            # Said when the application begins to read the body: the request is accepted.
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
            connection.sendall(large)
    for connection in connections:
        with connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
