"""Every method of both clients against the real service."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import numpy as np
import pytest

from mien_client import AsyncClient, Client, MienError
from mien_client.answers import Batch, Detection, Explanation
from mien_client.errors import AccessRefused, NotFound, PictureRefused, RequestRefused, Unavailable
from serving.http.auth import hash_key
from tests.support.client_driver import Driver, FakeTime, Kind, driver
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES
from tests.support.page_model import group, page_model

KEYS = (hash_key("app", "predict", "one"), hash_key("ops", "admin", "two"))
KINDS: tuple[Kind, ...] = ("sync", "async")
HAPPY = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("service")
    (folder / "model").mkdir()
    page_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serving(settings_in(folder, api_keys=KEYS)) as http:
        yield str(ready(http).base_url)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def client(kind: Kind, url: str) -> Iterator[Driver]:
    with driver(kind, url, api_key="one") as client:
        yield client


def refused(client: Driver, name: str, *args: object, **kwargs: object) -> MienError:
    with pytest.raises(MienError) as caught:
        getattr(client, name)(*args, **kwargs)
    return caught.value


def test_a_picture_as_bytes_path_and_file(client: Driver, tmp_path: Path) -> None:
    data = picture_of(HAPPY)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        found = [
            client.detect(picture)
            for picture in (data, bytearray(data), memoryview(data), path, str(path), io.BytesIO(data), file)
        ]
    assert {answer.emotion for answer in found} == {CLASSES[HAPPY]}
    assert all(isinstance(answer, Detection) for answer in found)
    assert found[0].model.name == "model"
    assert len({answer.id for answer in found}) == len(found)


def test_a_file_that_is_not_binary_is_refused_before_it_is_sent(client: Driver) -> None:
    with pytest.raises(TypeError, match="rb"):
        client.detect(io.StringIO("text"))


def test_options_reach_the_service(client: Driver) -> None:
    faces = client.detect(group(), faces="all")
    assert len(faces.faces) == 3
    assert not faces.whole_image
    assert client.detect(group(), faces="none").whole_image
    nothing = client.detect(picture_of(HAPPY), faces="all")
    assert (nothing.faces, nothing.emotion, nothing.probabilities) == ((), None, None)
    probability = client.detect(picture_of(HAPPY)).probability
    assert client.detect(picture_of(HAPPY), min_probability=probability + 1e-3).emotion is None
    assert isinstance(refused(client, "detect", picture_of(HAPPY), min_probability=2), RequestRefused)


def test_a_batch_has_results_and_problems_in_order(client: Driver, tmp_path: Path) -> None:
    path = tmp_path / "zwei ü.png"
    path.write_bytes(picture_of(2))
    batch = client.detect_batch([picture_of(HAPPY), path, b"no picture"])
    assert [entry.file for entry in batch.results] == ["picture 1", "zwei ü.png", "picture 3"]
    assert [entry.detection().emotion for entry in batch.results[:2]] == [CLASSES[HAPPY], CLASSES[2]]
    with pytest.raises(PictureRefused) as caught:
        batch.results[2].detection()
    assert caught.value.problem.type == "urn:mien:problem:image-format-unknown"


def test_heatmaps_as_numbers_and_as_a_picture(client: Driver) -> None:
    explanation = client.explain(group())
    assert isinstance(explanation, Explanation)
    assert len(explanation.faces) == 3
    heat = np.array(explanation.faces[0].heatmap)
    assert heat.ndim == 2
    assert 0 <= heat.min() <= heat.max() <= 1
    assert explanation.heatmap == explanation.faces[0].heatmap
    assert explanation.area is not None
    assert client.explain_png(group()).startswith(b"\x89PNG")


def test_feedback_is_stored_once_and_an_answer_can_be_read_and_deleted(
    client: Driver, kind: Kind, url: str
) -> None:
    answer = client.detect(picture_of(HAPPY))
    stored = client.feedback(answer.id, "sad")
    assert (stored.id, stored.emotion, stored.predicted) == (answer.id, "sad", CLASSES[HAPPY])
    before = client.prediction(answer.id)
    assert (before.feedback, before.emotion) == ("sad", answer.emotion)
    assert before.probability == pytest.approx(answer.probability, abs=1e-6)
    assert before.time.utcoffset() is not None
    assert isinstance(refused(client, "feedback", answer.id, "hungry"), RequestRefused)
    assert isinstance(refused(client, "delete_prediction", answer.id), AccessRefused)
    with driver(kind, url, api_key="two") as operator:
        assert operator.delete_prediction(answer.id) is None
    assert isinstance(refused(client, "prediction", answer.id), NotFound)
    assert isinstance(refused(client, "prediction", "../model"), NotFound)


def test_feedback_on_a_face_is_read_back_with_that_face(client: Driver) -> None:
    answer = client.detect(group())
    stored = client.feedback(answer.id, "sad", face=2)
    assert (stored.face, stored.predicted) == (2, answer.faces[2].emotion)
    found = client.prediction(answer.id)
    assert [face.face for face in found.other_faces] == [1, 2]
    assert [face.feedback for face in found.other_faces] == [None, "sad"]
    assert [face.box for face in found.other_faces] == [face.box for face in answer.faces[1:]]
    assert found.feedback is None
    assert isinstance(refused(client, "feedback", answer.id, "sad", face=3), RequestRefused)


def test_the_model_and_the_probes(client: Driver, kind: Kind, url: str) -> None:
    model = client.model()
    assert model.live.name == "model"
    assert model.live.contract["classes"] == list(CLASSES)
    assert model.live.since.utcoffset() is not None
    assert model.batches.max_images >= 1
    switch = client.model_history(limit=1).switches[0]
    assert (switch.kind, switch.to_sha256) == ("live", model.live.sha256)
    assert (switch.signature, switch.signed_by) == ("missing", None)
    assert switch.time.utcoffset() is not None
    assert isinstance(refused(client, "model_history", 0), RequestRefused)
    assert client.live().status == "alive"
    assert client.ready().model == f"model/{model.live.version}"
    with driver(kind, url) as without_key:
        assert without_key.live().status == "alive"


@pytest.mark.parametrize("key", [None, "wrong"])
def test_the_wrong_key_is_refused_without_a_second_try(kind: Kind, url: str, key: str | None) -> None:
    with driver(kind, url, api_key=key) as client:
        error = refused(client, "detect", picture_of(HAPPY))
        assert isinstance(error, AccessRefused)
        assert error.problem.type == "urn:mien:problem:unauthorized"
        assert error.sent.attempts == 1
        assert error.problem.request_id == error.sent.request_id


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"", "image-unusable", id="empty"),
        pytest.param(b"no picture", "image-format-unknown", id="text"),
        pytest.param(picture_of(HAPPY)[:-20], "image-unusable", id="truncated"),
        pytest.param(b"x" * 11_000_000, "payload-too-large", id="too-large"),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused(client: Driver, data: bytes, problem: str) -> None:
    for name in ("detect", "explain", "explain_png"):
        error = refused(client, name, data)
        assert isinstance(error, PictureRefused)
        assert error.problem.type == f"urn:mien:problem:{problem}"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("localhost:8000", None),
        ("ftp://host", None),
        ("http://host:port", None),
        ("http://user:secret@host", None),
        ("http://host/?query=1", None),
        ("http://host", "line\n"),
        ("http://host", ""),
    ],
)
def test_a_client_that_cannot_send_is_not_made(url: str, key: str | None) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=r"url|api_key") as caught:
            kind(url, api_key=key)
        assert "secret" not in str(caught.value)


def test_a_batch_needs_several_pictures(client: Driver) -> None:
    with pytest.raises(ValueError, match="empty"):
        client.detect_batch([])
    with pytest.raises(TypeError, match="list"):
        client.detect_batch("photo.jpg")


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(Client("http://a", api_key="secret"))


def test_a_limit_of_the_rate_is_waited_for(kind: Kind, folder: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, model=str(folder / "model"), rate_per_s=2.0, rate_burst=1)
    fake = FakeTime(real=True)
    with serving(settings) as http, driver(kind, str(ready(http).base_url), fake=fake) as client:
        assert [client.detect(picture_of(HAPPY)).emotion for _ in range(3)] == [CLASSES[HAPPY]] * 3
    assert fake.waits
    assert set(fake.waits) == {1.0}


def test_without_a_model_the_reason_is_given(kind: Kind, tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as http, driver(kind, str(http.base_url), deadline_s=4) as client:
        assert isinstance(refused(client, "ready"), Unavailable)
        error = refused(client, "detect", picture_of(HAPPY))
        assert isinstance(error, Unavailable)
        assert error.problem.type == "urn:mien:problem:not-ready"
        # The service asks for 5 s, which the deadline does not leave.
        assert error.sent.attempts == 1
        assert client.model().live is None


def test_both_clients_have_types(url: str) -> None:
    """`mypy` checks the types; this runs what it checks."""
    with Client(url, api_key="one") as client:
        assert_type(client.detect(picture_of(HAPPY), faces="none"), Detection)
        assert_type(client.detect_batch([picture_of(HAPPY)]), Batch)

    async def main() -> None:
        async with AsyncClient(url, api_key="one") as other:
            assert_type(await other.detect(picture_of(HAPPY), faces="none"), Detection)
            first, second = await asyncio.gather(*(other.detect(picture_of(HAPPY)) for _ in range(2)))
            assert_type(first, Detection)
            assert first.id != second.id

    asyncio.run(main())
