"""The service as its clients see it: a real uvicorn, a real model, real requests."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES
from tests.support.page_model import group
from tests.support.pictures import animated, drawn_face, encoded, pillow_rgb, textured
from tests.support.serving_models import model_folder, sha256_of

MAX_BYTES, MAX_PIXELS, MAX_FILES = 200_000, 1_000_000, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("service")
    model_folder(folder / "model")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    settings = settings_in(
        folder, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, max_batch_files=MAX_FILES, keep_images=1.0
    )
    with serving(settings) as client:
        yield ready(client)


def detected(client: httpx.Client, data: bytes, **query: Any) -> dict[str, Any]:
    answer = client.post("/detect", files={"file": ("a.png", data)}, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = dict(answer.json())
    assert body["type"] == f"urn:mien:problem:{kind}"
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


@pytest.mark.parametrize("index", range(len(CLASSES)), ids=CLASSES)
def test_each_emotion_is_answered(client: httpx.Client, index: int) -> None:
    answer = detected(client, picture_of(index))
    assert answer["emotion"] == CLASSES[index]
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["whole_image"] is True
    assert answer["faces"] == []


def test_a_raw_body_is_answered_like_a_form(client: httpx.Client) -> None:
    answer = client.post("/detect", content=picture_of(3), headers={"content-type": "image/png"}).json()
    assert answer["probabilities"] == detected(client, picture_of(3))["probabilities"]


def test_a_chunked_body_is_answered(client: httpx.Client) -> None:
    data = picture_of(3)
    answer = client.post("/detect", content=(data[at : at + 10] for at in range(0, len(data), 10)))
    assert answer.json()["emotion"] == CLASSES[3]


def test_the_model_that_answered_is_named(client: httpx.Client, folder: Path) -> None:
    model = detected(client, picture_of(0))["model"]
    assert model["sha256"] == sha256_of(folder / "model")
    live = client.get("/model").json()["live"]
    assert {name: live[name] for name in model} == model
    assert live["contract"]["classes"] == list(CLASSES)


def test_a_face_is_found_and_answered(client: httpx.Client) -> None:
    scene = np.full((400, 600, 3), 128, np.uint8)
    scene[100:300, 300:500] = drawn_face(200)
    answer = detected(client, encoded(scene, "JPEG"), faces="all")
    assert len(answer["faces"]) == 1
    box = answer["faces"][0]["box"]
    assert 300 < box["left"] + box["width"] / 2 < 500
    assert answer["faces"][0]["probabilities"] == answer["probabilities"]
    assert answer["whole_image"] is False


def test_a_portrait_stays_whole_and_its_face_is_listed(client: httpx.Client) -> None:
    answer = detected(client, encoded(drawn_face(200), "JPEG"))
    assert (answer["whole_image"], len(answer["faces"])) == (True, 1)
    assert (
        answer["probabilities"]
        == detected(client, encoded(drawn_face(200), "JPEG"), faces="none")["probabilities"]
    )


def test_without_a_face_all_answers_nothing(client: httpx.Client) -> None:
    answer = detected(client, picture_of(2), faces="all")
    assert (answer["emotion"], answer["probabilities"], answer["faces"]) == (None, None, [])


def test_an_unsure_answer_is_held_back(client: httpx.Client) -> None:
    answer = detected(client, picture_of(2), min_probability=1.0)
    assert answer["emotion"] is None
    assert answer["probability"] < 1


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP", "BMP"])
def test_each_format_is_read_by_its_content(client: httpx.Client, format: str) -> None:
    answer = client.post("/detect", files={"file": ("a.txt", encoded(textured(1), format), "text/plain")})
    assert answer.json()["image"] == {"width": 40, "height": 32}


def test_an_upside_down_phone_is_turned(client: httpx.Client) -> None:
    assert detected(client, encoded(textured(1), "JPEG", orientation=6))["image"] == {
        "width": 32,
        "height": 40,
    }


@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [
        pytest.param(b"", 422, "image-unusable", id="empty"),
        pytest.param(b"not a picture", 415, "image-format-unknown", id="text"),
        pytest.param(b"GIF89a" + b"\0" * 50, 415, "image-format-unknown", id="gif"),
        pytest.param(encoded(textured(1))[:200], 422, "image-unusable", id="truncated"),
        pytest.param(animated("WebP"), 422, "image-unusable", id="animated"),
        pytest.param(encoded(np.zeros((1001, 1000, 3), np.uint8)), 413, "image-too-large", id="pixels"),
        pytest.param(b"x" * (MAX_BYTES + 1), 413, "payload-too-large", id="bytes"),
        pytest.param(b"x" * 3_000_000, 413, "payload-too-large", id="many-bytes"),
    ],
)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "form"])
@pytest.mark.parametrize("path", ["/detect", "/explain"])
def test_what_cannot_be_looked_at_is_refused(
    client: httpx.Client, path: str, raw: bool, data: bytes, status: int, kind: str
) -> None:
    given: dict[str, Any] = {"content": data} if raw else {"files": {"file": ("a.jpg", data)}}
    problem(client.post(path, **given), status, kind)


def test_a_body_without_end_is_cut_off_at_the_limit(client: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 * MAX_BYTES:
            sent += 65536
            yield b"x" * 65536

    problem(client.post("/detect", content=endless()), 413, "payload-too-large")


@pytest.mark.parametrize("query", ["faces=some", "min_probability=2", "min_probability=nan"])
def test_a_wrong_query_is_refused(client: httpx.Client, query: str) -> None:
    problem(client.post(f"/detect?{query}", content=picture_of(0)), 400, "bad-request")


def test_a_batch_answers_each_file_in_order_and_one_bad_file_fails_alone(client: httpx.Client) -> None:
    files = [
        ("file", ("one.png", picture_of(1))),
        ("file", ("two.txt", b"no picture")),
        ("file", ("three.png", b"\x89PNG\r\n\x1a\n" + b"x" * MAX_BYTES)),
        ("file", ("four.png", picture_of(4))),
    ]
    results = client.post("/detect/batch", files=files).json()["results"]
    assert [entry["file"] for entry in results] == ["one.png", "two.txt", "three.png", "four.png"]
    assert [results[index]["result"]["emotion"] for index in (0, 3)] == [CLASSES[1], CLASSES[4]]
    assert [results[index]["problem"]["status"] for index in (1, 2)] == [415, 413]


def test_a_batch_is_bounded(client: httpx.Client) -> None:
    files = [("file", ("a.png", picture_of(1)))] * (MAX_FILES + 1)
    problem(client.post("/detect/batch", files=files), 413, "too-many-files")
    problem(client.post("/detect/batch", content=picture_of(1)), 415, "content-unsupported")


def test_an_explanation_has_the_models_grid(client: httpx.Client) -> None:
    answer = client.post("/explain", files={"file": picture_of(5)}).json()
    assert answer["emotion"] == CLASSES[5]
    assert np.shape(answer["heatmap"]) == (4, 4)


def test_an_explanation_can_be_a_picture(client: httpx.Client) -> None:
    answer = client.post(
        "/explain", files={"file": encoded(drawn_face(200))}, headers={"accept": "image/png"}
    )
    assert answer.headers["content-type"] == "image/png"
    assert pillow_rgb(answer.content).shape == (480, 480, 3)
    assert answer.headers["mien-emotion"] in CLASSES
    problem(client.post("/explain", content=b"x", headers={"accept": "text/html"}), 406, "not-acceptable")


def test_an_answer_is_found_again_corrected_and_deleted(client: httpx.Client, folder: Path) -> None:
    answer = detected(client, picture_of(6))
    path = f"/predictions/{answer['id']}"
    found = client.get(path).json()
    assert found["probabilities"] == answer["probabilities"]
    assert found["model"]["sha256"] == answer["model"]["sha256"]
    assert found["lineage"]["dataset"] == "5" * 64
    assert found["feedback"] is None
    stored = client.post("/feedback", json={"id": answer["id"], "emotion": "sad"})
    assert stored.json() == {"id": answer["id"], "face": 0, "emotion": "sad", "predicted": CLASSES[6]}
    assert client.get(path).json()["feedback"] == "sad"
    until(lambda: list((folder / "pictures").rglob(f"{answer['id']}.png")))
    assert client.delete(path).status_code == 204
    problem(client.get(path), 404, "not-found")
    assert not list((folder / "pictures").rglob(f"{answer['id']}.png"))


def test_of_feedback_on_one_answer_the_last_counts_and_sixteen_are_kept(
    client: httpx.Client, folder: Path
) -> None:
    id = detected(client, picture_of(2))["id"]
    # The first ones wait beside the answer itself, the others find it in the database.
    for number in range(40):
        emotion = CLASSES[number % len(CLASSES)]
        assert client.post("/feedback", json={"id": id, "emotion": emotion}).status_code == 200
        if number == 10:
            until(lambda: kept_feedback(folder, id))
    assert client.get(f"/predictions/{id}").json()["feedback"] == CLASSES[39 % len(CLASSES)]
    newest = [CLASSES[number % len(CLASSES)] for number in range(24, 40)]
    assert kept_feedback(folder, id) == newest


@pytest.mark.parametrize("written", [False, True], ids=["waiting", "written"])
def test_each_face_of_an_answer_has_its_own_feedback(
    client: httpx.Client, folder: Path, written: bool
) -> None:
    answer = detected(client, group())
    id, faces = answer["id"], answer["faces"]
    assert len(faces) == 3
    if written:
        until(lambda: stored_faces(folder, id))
    for face, emotion in ((2, "sad"), (0, "happy"), (2, "fear")):
        stored = client.post("/feedback", json={"id": id, "face": face, "emotion": emotion})
        predicted = faces[face]["emotion"]
        assert stored.json() == {"id": id, "face": face, "emotion": emotion, "predicted": predicted}
    found = client.get(f"/predictions/{id}").json()
    assert found["feedback"] == "happy"
    assert found["other_faces"] == [
        {
            "face": face,
            "box": faces[face]["box"],
            "emotion": faces[face]["emotion"],
            "probability": faces[face]["probability"],
            "feedback": emotion,
        }
        for face, emotion in ((1, None), (2, "fear"))
    ]
    refused = client.post("/feedback", json={"id": id, "face": 3, "emotion": "sad"})
    detail = problem(refused, 400, "bad-request")["detail"]
    assert "face is 3" in detail
    assert "0 to 2" in detail


def stored_faces(folder: Path, id: str) -> list[tuple[str]]:
    with closing(sqlite3.connect(folder / "observations.db")) as database:
        return database.execute("SELECT other_faces FROM observations WHERE id = ?", (id,)).fetchall()


def test_a_whole_picture_takes_feedback_as_its_first_face_and_no_other(client: httpx.Client) -> None:
    id = detected(client, picture_of(2))["id"]
    assert client.post("/feedback", json={"id": id, "face": 0, "emotion": "sad"}).status_code == 200
    refused = client.post("/feedback", json={"id": id, "face": 1, "emotion": "sad"})
    assert "face is 1" in problem(refused, 400, "bad-request")["detail"]
    assert client.get(f"/predictions/{id}").json()["other_faces"] == []


def kept_feedback(folder: Path, id: str) -> list[str]:
    with closing(sqlite3.connect(folder / "observations.db")) as database:
        query = "SELECT emotion FROM feedback WHERE observation_id = ? ORDER BY number"
        return [emotion for (emotion,) in database.execute(query, (id,))]


def test_verbs_that_no_endpoint_has_share_one_label(client: httpx.Client) -> None:
    for verb in ("PROPFIND", "MKCOL", "TRACE", "LOCK"):
        assert client.request(verb, "/detect").status_code == 405
    methods = set(re.findall(r'mien_requests_total\{.*method="(\w+)"', client.get("/metrics").text))
    assert methods <= {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "WS", "other"}
    assert "other" in methods


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"id": "0" * 32, "emotion": "sad"}, 404, "not-found"),
        ({"id": "x", "emotion": "sad"}, 400, "bad-request"),
        ({"id": "0" * 32}, 400, "bad-request"),
        ({"id": "0" * 32, "emotion": ""}, 400, "bad-request"),
        ({"id": "0" * 32, "emotion": 1}, 400, "bad-request"),
        ({"id": 1, "emotion": "sad"}, 400, "bad-request"),
        ({"id": "0" * 32, "emotion": "sad", "more": 1}, 400, "bad-request"),
        ({"id": "0" * 32, "emotion": "sad", "face": -1}, 400, "bad-request"),
        ({"id": "0" * 32, "emotion": "sad", "face": True}, 400, "bad-request"),
        ({"id": "0" * 32, "emotion": "sad", "face": 1.0}, 400, "bad-request"),
        ({"id": "0" * 32, "emotion": "sad", "face": None}, 400, "bad-request"),
    ],
)
def test_wrong_feedback_is_refused(
    client: httpx.Client, body: dict[str, Any], status: int, kind: str
) -> None:
    problem(client.post("/feedback", json=body), status, kind)


def test_an_emotion_that_the_model_does_not_know_is_refused(client: httpx.Client) -> None:
    id = detected(client, picture_of(0))["id"]
    refused = client.post("/feedback", json={"id": id, "emotion": "bored"})
    assert "happy" in problem(refused, 400, "bad-request")["detail"]


@pytest.mark.parametrize("id", ["0" * 32, "x", "0" * 5000, "..%2F..", "%00"])
def test_an_unknown_prediction_is_not_found(client: httpx.Client, id: str) -> None:
    assert client.get(f"/predictions/{id}").status_code == 404
    assert client.delete(f"/predictions/{id}").status_code == 404


def test_the_history_tells_of_the_first_model(client: httpx.Client, folder: Path) -> None:
    def switches() -> list[dict[str, Any]]:
        return list(client.get("/model/history").json()["switches"])

    until(switches)
    first = switches()[-1]
    assert first["to_sha256"] == sha256_of(folder / "model")
    assert (first["signature"], first["signed_by"]) == ("missing", None)
    problem(client.get("/model/history?limit=0"), 400, "bad-request")


def test_unknown_paths_and_methods_are_problems_too(client: httpx.Client) -> None:
    problem(client.get("/nowhere"), 404, "not-found")
    problem(client.get("/detect/"), 404, "not-found")
    assert "POST" in problem(client.get("/detect"), 405, "method-not-allowed")["detail"]


def test_metrics_count_what_happened(client: httpx.Client) -> None:
    detected(client, picture_of(3))
    text = client.get("/metrics").text
    assert f'mien_predictions_total{{emotion="{CLASSES[3]}",version="local"}}' in text
    assert 'mien_requests_total{method="POST",route="/detect",status="200"}' in text
    assert "mien_ready 1.0" in text
    assert "mien_model_info{" in text
    assert "_created" not in text


def test_every_answer_has_the_security_headers_and_an_id(client: httpx.Client) -> None:
    for path in ("/livez", "/model", "/nowhere", "/docs"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert len(headers["x-request-id"]) == 32
    assert client.get("/livez", headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"


def test_a_page_of_another_name_is_not_answered(client: httpx.Client) -> None:
    problem(client.get("/model", headers={"host": "evil.example"}), 403, "forbidden")
    assert client.get("/livez", headers={"host": "evil.example"}).status_code == 200


def test_the_documents_need_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "<script" not in page.text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page.text


def test_the_documents_show_code_as_code(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "`" not in page
    assert "<code>all</code>" in page


def test_a_keep_alive_connection_survives_a_refusal(client: httpx.Client) -> None:
    """Two requests in one connection, the first one refused after its body was read."""
    url = client.base_url
    body = b"not a picture"
    request = (
        f"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
        for _ in range(2):
            connection.sendall(request)
            received = b""
            while b"request_id" not in received:
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 415")
            assert json.loads(received.partition(b"\r\n\r\n")[2])["status"] == 415


def test_an_observation_has_the_times_of_its_answer(client: httpx.Client, folder: Path) -> None:
    """Requests that wait for a worker: their wait does not count as inference."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda index: detected(client, picture_of(index % 3, side=600)), range(24)))
    assert any(answer["timings_ms"]["queue"] > answer["timings_ms"]["inference"] for answer in answers)
    images = np.zeros((1, 16, 16, 3), np.uint8).tolist()
    invoked = client.post("/invocations", json={"inputs": images})
    ids = [*(answer["id"] for answer in answers), invoked.headers["mien-ids"]]
    with closing(sqlite3.connect(folder / "observations.db")) as database:

        def rows() -> dict[str, tuple[float, ...]]:
            found = database.execute(
                "SELECT id, decode_ms, faces_ms, preprocess_ms, inference_ms, total_ms FROM observations"
            ).fetchall()
            return {id: tuple(values) for id, *values in found}

        until(lambda: rows().keys() >= set(ids))
        stored = rows()
    for answer in answers:
        times = answer["timings_ms"]
        expected = [times[name] for name in ("decode", "faces", "preprocess", "inference", "total")]
        assert stored[answer["id"]] == pytest.approx(expected, abs=0.001)
