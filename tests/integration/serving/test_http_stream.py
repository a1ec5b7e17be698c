"""WS /stream: a real WebSocket client against the service in a real uvicorn."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from serving.http.auth import hash_key
from serving.http.websocket import KEY_PREFIX, SUBPROTOCOL
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES
from tests.support.pictures import encoded, textured
from tests.support.serving_models import LEVELS, copied, model_folder, sha256_of
from tests.support.streams import answer, asked, ending, kind, metric, refused, stream_of

KEYS = (hash_key("app", "predict", "one"),)
BIG = 400_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    model_folder(folder / "model")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    settings = settings_in(
        folder, max_bytes=BIG, stream_connections=2, cors_origins=("https://named.example",), stream_fps=1000
    )
    with serving(settings) as client:
        yield ready(client)


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A frame that takes much longer to look at than to send."""
    return encoded(textured(1, width=3000, height=2000), "JPEG", quality=50)


def streams(client: httpx.Client) -> float:
    return metric(client, "mien_streams")


def test_each_frame_is_answered_as_by_detect(client: httpx.Client) -> None:
    with stream_of(client) as socket:
        for number, index in enumerate((3, 0, 5), start=1):
            answers = asked(socket, picture_of(index))
            expected = client.post("/detect", content=picture_of(index)).json()
            assert answers.keys() - expected.keys() == {"frame", "dropped", "recorded"}
            assert (answers["frame"], answers["dropped"], answers["emotion"]) == (number, 0, CLASSES[index])
            assert answers["probabilities"] == expected["probabilities"]
            assert answers["model"] == expected["model"]


def test_of_a_stream_at_most_one_frame_per_second_is_kept(client: httpx.Client) -> None:
    with stream_of(client) as socket:
        begun = time.monotonic()
        answers = [asked(socket, picture_of(1)) for _ in range(30)]
        took_s = time.monotonic() - begun
    kept = [item["id"] for item in answers if item["recorded"]]
    assert answers[0]["recorded"]
    assert 1 <= len(kept) <= took_s + 1
    for item in answers:
        found = client.get(f"/predictions/{item['id']}").status_code
        assert found == (200 if item["recorded"] else 404)
        if not item["recorded"]:
            break


def test_a_model_that_is_slower_than_the_camera_costs_frames_and_not_time(
    client: httpx.Client, slow: bytes
) -> None:
    sent = 40
    with stream_of(client) as socket:
        for _ in range(sent - 1):
            socket.send(slow)
        socket.send(picture_of(2))
        answers = [answer(socket)]
        while answers[-1]["frame"] < sent:
            answers.append(answer(socket))
    numbers = [item["frame"] for item in answers]
    assert numbers == sorted(set(numbers))
    # The newest is never the one that is dropped.
    assert answers[-1]["emotion"] == CLASSES[2]
    assert answers[-1]["dropped"] == sent - len(answers) > 0
    dropped = [item["dropped"] for item in answers]
    assert dropped == sorted(dropped)


def test_no_more_frames_than_configured_are_answered(folder: Path, tmp_path: Path) -> None:
    with serving(settings_in(tmp_path, model=str(folder / "model"), stream_fps=5)) as client:
        ready(client)
        with stream_of(client) as socket:
            begun = time.monotonic()
            for _ in range(20):
                socket.send(picture_of(0))
                time.sleep(0.025)
            answers = [answer(socket)]
            while answers[-1]["frame"] < 20:
                answers.append(answer(socket))
            # One may be made up for, as a camera is never quite regular.
            assert len(answers) <= 5 * (time.monotonic() - begun) + 2
            assert answers[-1]["dropped"] == 20 - len(answers) > 0


def test_a_bad_frame_gets_its_problem_and_the_stream_goes_on(client: httpx.Client) -> None:
    with stream_of(client) as socket:
        problem = asked(socket, b"no picture")
        assert (kind(problem), problem["status"], problem["frame"]) == ("image-format-unknown", 415, 1)
        assert kind(asked(socket, b"")) == "image-unusable"
        assert kind(asked(socket, picture_of(0)[:40])) == "image-unusable"
        assert asked(socket, picture_of(0))["frame"] == 4


def test_options_hold_for_what_comes_after_them(client: httpx.Client) -> None:
    with stream_of(client) as socket:
        socket.send('{"faces": "none", "min_probability": 1}')
        unsure = asked(socket, picture_of(0))
        assert (unsure["emotion"], unsure["whole_image"]) == (None, True)
        for wrong in ('{"faces": "some"}', '{"min_probability": 2}', '{"other": 1}', "[]", "nonsense"):
            socket.send(wrong)
            problem = answer(socket)
            assert kind(problem) == "bad-request"
            assert "frame" not in problem
        assert asked(socket, picture_of(0))["emotion"] is None
        socket.send('{"faces": "all"}')
        nothing = asked(socket, picture_of(0))
        assert (nothing["probability"], nothing["recorded"]) == (None, False)


@pytest.mark.parametrize("message", [b"x" * (BIG + 1), "x" * 5000], ids=["frame", "options"])
def test_what_is_too_big_ends_the_stream(client: httpx.Client, message: bytes | str) -> None:
    with stream_of(client) as socket:
        socket.send(message)
        answers, close = ending(socket)
    assert [kind(item) for item in answers] == ["payload-too-large"]
    assert close.code == 1009


def test_more_streams_than_configured_are_asked_to_come_back(client: httpx.Client) -> None:
    until(lambda: streams(client) == 0)
    with stream_of(client), stream_of(client):
        until(lambda: streams(client) == 2)
        with stream_of(client) as third:
            answers, close = ending(third)
        assert [kind(item) for item in answers] == ["streams-full"]
        assert close.code == 1013
    until(lambda: streams(client) == 0)
    with stream_of(client) as socket:
        assert asked(socket, picture_of(0))["frame"] == 1


def test_a_client_that_vanishes_leaves_nothing_behind(client: httpx.Client, slow: bytes) -> None:
    for _ in range(3):
        vanishing = stream_of(client)
        vanishing.send(slow)
        vanishing.send(slow)
        vanishing.socket.close()
        until(lambda: streams(client) == 0)
    with stream_of(client) as socket:
        assert asked(socket, picture_of(0))["emotion"] == CLASSES[0]


def test_pages_of_other_origins_may_not_open_streams(client: httpx.Client) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:1", "file://", "http://["):
        assert refused(client, headers={"origin": origin}) == (403, "forbidden")
    port = client.base_url.port
    for origin in (f"http://localhost:{port}", f"https://LOCALHOST:{port}", "https://named.example"):
        with stream_of(client, headers={"origin": origin}) as socket:
            assert asked(socket, picture_of(0))["frame"] == 1


def test_a_page_whose_name_leads_here_is_not_answered(client: httpx.Client) -> None:
    # DNS rebinding: its origin is its own, and its name resolves to this machine.
    foreign = f"evil.example:{client.base_url.port}"
    headers = {"host": foreign, "origin": f"http://{foreign}"}
    answered = client.get("/stream", headers=headers | UPGRADE)
    assert answered.status_code == 403
    assert kind(answered.json()) == "forbidden"


UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_a_plain_request_is_asked_to_upgrade(client: httpx.Client) -> None:
    plain = client.get("/stream")
    assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")


def test_an_unknown_path_is_not_found(client: httpx.Client) -> None:
    answered = client.get("/streams", headers=UPGRADE)
    assert (answered.status_code, kind(answered.json())) == (404, "not-found")


def test_a_stream_is_counted_and_logged_without_an_address(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "serving.access")
    with stream_of(client, headers={"x-request-id": "find-me"}) as socket:
        asked(socket, picture_of(0))
        asked(socket, b"no picture")
        assert socket.response is not None
        assert socket.response.headers["x-request-id"] == "find-me"
    until(lambda: any("WS /stream" in record.getMessage() for record in caplog.records))
    record = next(record for record in caplog.records if "WS /stream" in record.getMessage())
    given = vars(record)
    assert (given["request_id"], given["frames"], given["dropped"], given["code"]) == ("find-me", 2, 0, 1000)
    assert "127.0.0.1" not in str(given)
    assert metric(client, 'mien_stream_frames_total{outcome="refused"}') >= 1
    assert metric(client, 'mien_requests_total{method="WS",route="/stream",status="101"}') >= 1


def test_with_keys_a_stream_needs_one(folder: Path, tmp_path: Path) -> None:
    settings = settings_in(
        tmp_path, model=str(folder / "model"), api_keys=KEYS, rate_per_s=0.01, rate_burst=3
    )
    with serving(settings) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        assert refused(client) == (401, "unauthorized")
        assert refused(client, subprotocols=[SUBPROTOCOL, f"{KEY_PREFIX}two"]) == (401, "unauthorized")
        assert refused(client, headers={"authorization": "Bearer two"}) == (401, "unauthorized")
        with stream_of(client, headers={"authorization": "Bearer one"}) as socket:
            assert socket.subprotocol is None
            assert asked(socket, picture_of(0))["frame"] == 1
        # As a page sends it, which can set no header; the key is not sent back.
        with stream_of(client, subprotocols=[SUBPROTOCOL, f"{KEY_PREFIX}one"]) as socket:
            assert socket.subprotocol == SUBPROTOCOL
            assert asked(socket, picture_of(0))["frame"] == 1
        stream_of(client, headers={"x-api-key": "one"}).close()
        assert refused(client, headers={"x-api-key": "one"}) == (429, "rate-limited")


def test_a_silent_client_and_a_flood_are_ended(folder: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, model=str(folder / "model"), stream_idle_s=0.3, stream_fps=1)
    with serving(settings) as client:
        ready(client)
        with stream_of(client) as socket:
            answers, close = ending(socket)
        assert ([kind(item) for item in answers], close.code) == (["stream-idle"], 1008)
        with stream_of(client) as socket:
            # The service may close before the last of them is sent; `ending` holds it to how.
            with suppress(ConnectionClosed):
                for _ in range(100):
                    socket.send('{"faces": "none"}')
            answers, close = ending(socket)
        assert ([kind(item) for item in answers], close.code) == (["rate-limited"], 1008)


def test_frames_count_among_the_bytes_that_are_held(folder: Path, tmp_path: Path) -> None:
    frame = picture_of(0)
    settings = settings_in(tmp_path, model=str(folder / "model"), max_held_bytes=len(frame) - 1)
    with serving(settings) as client:
        ready(client)
        with stream_of(client) as socket:
            assert kind(asked(socket, frame)) == "bodies-full"
            assert asked(socket, b"x")["frame"] == 2


def test_the_model_changes_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    reversed_levels = LEVELS[::-1]
    with serving(settings_in(tmp_path)) as client, stream_of(client) as socket:
        assert kind(asked(socket, picture_of(0))) == "not-ready"
        first = sha256_of(model_folder(tmp_path / "model"))
        answers = [asked(socket, picture_of(0))]

        def another() -> dict[str, Any]:
            answers.append(asked(socket, picture_of(0)))
            return answers[-1]

        until(lambda: "type" not in another())
        assert (answers[-1]["model"]["sha256"], answers[-1]["emotion"]) == (first, CLASSES[0])
        second = sha256_of(model_folder(tmp_path / "second", levels=reversed_levels))
        copied(tmp_path / "second", tmp_path / "model")
        begun = len(answers)
        until(lambda: another()["model"]["sha256"] == second)
    after = answers[begun:]
    # Each answer is of one model and fits it; none failed on the way.
    assert {(item["model"]["sha256"], item["emotion"]) for item in after} <= {
        (first, CLASSES[0]),
        (second, CLASSES[-1]),
    }
    assert after[-1]["emotion"] == CLASSES[-1]
    assert json.dumps(answers[0])
