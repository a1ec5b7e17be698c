"""Streams and tensors take part in the canary: real services, clients of the protocols, streams."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.experiments.canary import MAX_FAILURES
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES, make_contract
from tests.support.serving_models import flat, model_folder, sha256_of
from tests.support.streams import asked, stream_of
from tests.support.trials import BRIGHTEST, PATIENCE_S, confused, failing, in_share, outcomes, put, stands

SHARE = 0.5
SPEC_SIDE = 16


def settings(folder: Path, **given: Any) -> Any:
    return settings_in(folder, **{"canary_model": str(folder / "other"), "canary": "50%"} | given)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A service whose candidate says the second emotion for the first, and answers half of the clients."""
    folder = tmp_path_factory.mktemp("canary")
    model_folder(folder / "model")
    confused(folder / "other")
    with serving(settings(folder)) as client:
        stands(ready(client), "running")
        yield client, folder


def name_in_share(*, chosen: bool, share: float = SHARE) -> dict[str, str]:
    """Headers of a client that is in the share, or is not."""
    names = (f"name-{index}" for index in range(1000))
    return {"x-request-id": next(name for name in names if in_share(f"request {name}", share) is chosen)}


def infer(client: httpx.Client, index: int, path: str = "/v2/models/model/infer", **headers: str) -> Any:
    """The answer to a tensor of one picture of class `index`."""
    image = flat(index, side=SPEC_SIDE)
    body = {
        "inputs": [
            {
                "name": "image",
                "shape": list(image.shape),
                "datatype": "UINT8",
                "data": image.flatten().tolist(),
            }
        ],
        "outputs": [{"name": "probabilities"}],
    }
    return client.post(path, content=json.dumps(body), headers=headers)


def said(answer: httpx.Response) -> str:
    """The emotion that a tensor answer has; by its place, as a client of the protocol reads it."""
    values = answer.json()["outputs"][0]["data"]
    return CLASSES[values.index(max(values))]


def invoke(client: httpx.Client, index: int, *, as_file: bool, **headers: str) -> httpx.Response:
    picture = (
        base64.b64encode(picture_of(index)).decode() if as_file else flat(index, side=SPEC_SIDE)[0].tolist()
    )
    return client.post("/invocations", json={"inputs": [picture]}, headers=headers)


@pytest.mark.parametrize("chosen", [True, False])
def test_tensors_are_answered_by_the_clients_model_and_say_which(
    world: tuple[httpx.Client, Path], chosen: bool
) -> None:
    client, folder = world
    headers = name_in_share(chosen=chosen)
    sha256 = sha256_of(folder / ("other" if chosen else "model"))
    before = outcomes(client).get("answered", 0.0)
    answer = infer(client, 0, **headers)
    assert said(answer) == CLASSES[1 if chosen else 0]
    assert answer.headers.get("mien-canary") == ("true" if chosen else None)
    assert answer.json()["parameters"]["sha256"] == sha256
    stored = client.get(f"/predictions/{answer.json()['parameters']['ids']}").json()
    assert (stored["model"]["sha256"], stored["emotion"]) == (sha256, CLASSES[1 if chosen else 0])
    for as_file in (True, False):
        answer = invoke(client, 0, as_file=as_file, **headers)
        values = answer.json()["predictions"]["probabilities"][0]
        assert values.index(max(values)) == (1 if chosen else 0)
        assert answer.headers.get("mien-canary") == ("true" if chosen else None)
        assert answer.headers["mien-sha256"] == sha256
        stored = client.get(f"/predictions/{answer.headers['mien-ids']}").json()
        assert stored["model"]["sha256"] == sha256
    assert outcomes(client).get("answered", 0.0) == before + (3 if chosen else 0)


def test_a_client_that_names_the_version_gets_that_one(world: tuple[httpx.Client, Path]) -> None:
    client, _ = world
    headers = name_in_share(chosen=True)
    answer = infer(client, 0, "/v2/models/model/versions/local/infer", **headers)
    assert said(answer) == CLASSES[0]
    assert "mien-canary" not in answer.headers


def test_a_tensor_that_no_model_takes_is_nobodys_failure(world: tuple[httpx.Client, Path]) -> None:
    client, _ = world
    before = outcomes(client)
    headers = name_in_share(chosen=True)
    answer = client.post("/v2/models/model/infer", content=b'{"inputs": []}', headers=headers)
    assert answer.status_code == 400
    assert client.post("/invocations", json={"inputs": ["AAAA"]}, headers=headers).status_code == 415
    assert outcomes(client) == before


@pytest.mark.parametrize(
    "contract",
    [
        make_contract(side=24),
        make_contract(color="gray"),
        make_contract(classes=CLASSES[::-1]),
    ],
    ids=["another size", "other colours", "another order of the classes"],
)
def test_a_candidate_to_which_tensors_mean_something_else_answers_pictures_only(
    tmp_path: Path, contract: Any
) -> None:
    model_folder(tmp_path / "model")
    confused(tmp_path / "other", contract=contract)
    with serving(settings(tmp_path, canary="100%")) as client:
        stands(ready(client), "running")
        assert said(infer(client, 0)) == CLASSES[0]
        assert invoke(client, 0, as_file=False).headers.get("mien-canary") is None
        assert outcomes(client) == {}
        answer = client.post("/detect", params={"faces": "none"}, content=picture_of(0))
        assert answer.headers["mien-canary"] == "true"
        with stream_of(client) as socket:
            assert asked(socket, picture_of(0))["model"]["canary"] is True


def test_a_candidate_without_an_output_that_the_live_model_has_answers_no_tensors(tmp_path: Path) -> None:
    from tests.support.onnx_models import make_full_contract

    model_folder(tmp_path / "model", contract=make_full_contract())
    lacking = make_contract(spec=make_full_contract().input)
    confused(tmp_path / "other", contract=lacking)
    with serving(settings(tmp_path, canary="100%")) as client:
        stands(ready(client), "running")
        answer = infer(client, 0)
        assert answer.status_code == 200, answer.text
        assert said(answer) == CLASSES[0]
        assert outcomes(client) == {}


def test_tensors_that_the_candidate_fails_at_are_answered_and_pause_it(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    failing(tmp_path / "other")
    with serving(settings(tmp_path, canary="100%", canary_pause_s=3600)) as client:
        stands(ready(client), "running")
        for _ in range(MAX_FAILURES):
            answer = infer(client, BRIGHTEST)
            assert said(answer) == CLASSES[BRIGHTEST]
            # The one observation is of the model that answered.
            ids = answer.json()["parameters"]["ids"].split(",")
            stored = client.get(f"/predictions/{ids[0]}").json()
            assert stored["model"]["sha256"] == sha256_of(tmp_path / "model")
        assert "failed at 5 of its last 5 requests" in stands(client, "paused")
        assert outcomes(client) == {"failed": MAX_FAILURES}


@pytest.mark.parametrize("chosen", [True, False])
def test_a_stream_is_answered_by_its_clients_model(world: tuple[httpx.Client, Path], chosen: bool) -> None:
    client, folder = world
    before = outcomes(client).get("answered", 0.0)
    with stream_of(client, headers=name_in_share(chosen=chosen)) as socket:
        answers = [asked(socket, picture_of(0)) for _ in range(5)]
    sha256 = sha256_of(folder / ("other" if chosen else "model"))
    assert {answer["model"]["sha256"] for answer in answers} == {sha256}
    assert {answer["model"].get("canary", False) for answer in answers} == {chosen}
    assert {answer["emotion"] for answer in answers} == {CLASSES[1 if chosen else 0]}
    (recorded,) = [answer["id"] for answer in answers if answer["recorded"]]
    until(lambda: client.get(f"/predictions/{recorded}").json()["model"]["sha256"] == sha256)
    assert outcomes(client).get("answered", 0.0) == before + (5 if chosen else 0)


def test_a_stream_stays_with_its_model_until_that_is_gone(tmp_path: Path) -> None:
    live = sha256_of(model_folder(tmp_path / "model"))
    first = sha256_of(confused(tmp_path / "first"))
    second = sha256_of(confused(tmp_path / "second", seed=5))
    with serving(settings(tmp_path, canary="100%")) as client:
        ready(client)
        with stream_of(client) as early:
            assert asked(early, picture_of(0))["model"]["sha256"] == live
            put(tmp_path / "first", tmp_path / "other")
            stands(client, "running")
            # A canary that starts in the middle of a stream does not take it over; the next one is its own.
            assert asked(early, picture_of(0))["model"]["sha256"] == live
            with stream_of(client) as socket:
                assert asked(socket, picture_of(0))["model"]["sha256"] == first
                put(tmp_path / "second", tmp_path / "other")
                until(lambda: detected(client) == second, PATIENCE_S)
                # Its candidate is gone: the live model answers the rest, and not another candidate.
                seen = [asked(socket, picture_of(0))["model"]["sha256"] for _ in range(3)]
                assert seen == [live] * 3


def detected(client: httpx.Client) -> str:
    answer = client.post("/detect", params={"faces": "none"}, content=picture_of(0))
    return str(answer.json()["model"]["sha256"])


def test_frames_that_the_candidate_fails_at_are_answered_and_pause_it(tmp_path: Path) -> None:
    live = sha256_of(model_folder(tmp_path / "model"))
    candidate = sha256_of(failing(tmp_path / "other"))
    with serving(settings(tmp_path, canary="100%", canary_pause_s=3600)) as client:
        stands(ready(client), "running")
        with stream_of(client) as socket:
            assert asked(socket, picture_of(0))["model"]["sha256"] == candidate
            # One failure does not end its turn in the stream.
            assert asked(socket, picture_of(BRIGHTEST))["model"]["sha256"] == live
            assert asked(socket, picture_of(0))["model"]["sha256"] == candidate
            for _ in range(MAX_FAILURES - 1):
                assert asked(socket, picture_of(BRIGHTEST))["model"]["sha256"] == live
            stands(client, "paused")
            assert asked(socket, picture_of(0))["model"]["sha256"] == live
