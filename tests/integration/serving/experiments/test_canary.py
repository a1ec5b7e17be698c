"""The candidate answers a share of the clients; clients do not notice when it fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from serving.http.auth import hash_key
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES, make_contract
from tests.support.serving_models import model_folder, sha256_of
from tests.support.trials import (
    BRIGHTEST,
    PATIENCE_S,
    ask,
    confused,
    failing,
    in_share,
    outcomes,
    put,
    slow,
    standing,
    stands,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    return tmp_path


def settings(folder: Path, **given: Any) -> Any:
    return settings_in(folder, **{"canary_model": str(folder / "other"), "canary": "100%"} | given)


def is_marked(answer: httpx.Response) -> bool:
    """Whether the answer says, in both places, that the candidate gave it."""
    marks = {
        answer.headers.get("mien-canary") == "true",
        answer.json()["model"].get("canary", False),
    }
    assert len(marks) == 1, answer.text
    return bool(marks.pop())


def canary_history(client: httpx.Client, count: int, *, exactly: bool = True) -> list[dict[str, Any]]:
    """The canary's part of the history, the oldest first, once it has `count` entries."""

    def read() -> list[dict[str, Any]]:
        switches = client.get("/model/history").json()["switches"]
        return [switch for switch in reversed(switches) if switch["kind"] == "canary"]

    until(lambda: len(read()) >= count, PATIENCE_S)
    entries = read()
    assert not exactly or len(entries) == count, entries
    return entries


def observed(folder: Path) -> list[str]:
    """Digests of the models that the stored observations name."""
    with closing(sqlite3.connect(folder / "observations.db")) as database:
        return [row[0] for row in database.execute("SELECT model_sha256 FROM observations")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A service whose candidate says the second emotion for the first, and answers 30 %."""
    folder = tmp_path_factory.mktemp("canary")
    model_folder(folder / "model")
    confused(folder / "other", contract=make_contract(side=24))
    with serving(settings(folder, canary="30%")) as client:
        stands(ready(client), "running")
        yield client, folder


def test_the_share_is_answered_by_the_candidate_and_marked(world: tuple[httpx.Client, Path]) -> None:
    client, folder = world
    names = [f"id-{index}" for index in range(100)]
    live, candidate = sha256_of(folder / "model"), sha256_of(folder / "other")
    for name in names:
        answer = ask(client, 0, **{"x-request-id": name})
        expected = in_share(f"request {name}", 0.3)
        assert is_marked(answer) is expected
        body = answer.json()
        assert body["emotion"] == CLASSES[1 if expected else 0]
        assert body["model"]["sha256"] == (candidate if expected else live)
    count = sum(in_share(f"request {name}", 0.3) for name in names)
    assert 15 <= count <= 45
    assert outcomes(client) == {"answered": count}
    assert "mien_canary_active 1.0" in client.get("/metrics").text
    assert standing(client)["reason"] == "30% of the requests are answered by version local"


def one_in_share(*, chosen: bool) -> dict[str, str]:
    """Headers of a request that is in the share of 30 %, or is not."""
    names = (f"name-{index}" for index in range(1000))
    return {"x-request-id": next(name for name in names if in_share(f"request {name}", 0.3) is chosen)}


def test_the_observation_is_of_the_model_that_answered(world: tuple[httpx.Client, Path]) -> None:
    client, folder = world
    for chosen, name in ((True, "other"), (False, "model")):
        answer = ask(client, 0, **one_in_share(chosen=chosen)).json()
        stored = client.get(f"/predictions/{answer['id']}").json()
        assert stored["model"]["sha256"] == sha256_of(folder / name)
        assert stored["probabilities"] == answer["probabilities"]


def test_batches_and_explanations_are_answered_and_marked_alike(world: tuple[httpx.Client, Path]) -> None:
    client, _ = world
    files = [("file", ("a.png", picture_of(0))), ("file", ("b", b"x")), ("file", ("c.png", picture_of(3)))]
    for chosen in (True, False):
        headers = one_in_share(chosen=chosen)
        mark = "true" if chosen else None
        batch = client.post("/detect/batch", files=files, headers=headers)
        results = batch.json()["results"]
        assert [entry["result"]["model"].get("canary", False) for entry in (results[0], results[2])] == [
            chosen
        ] * 2
        assert results[1]["problem"]["status"] == 415
        assert batch.headers.get("mien-canary") == mark
        explained = client.post("/explain", content=picture_of(0), headers=headers)
        assert is_marked(explained) is chosen
        # The candidate's own grid: 24 px in steps of 4.
        assert len(explained.json()["heatmap"]) == (6 if chosen else 4)
        headers["accept"] = "image/png"
        assert (
            client.post("/explain", content=picture_of(0), headers=headers).headers.get("mien-canary") == mark
        )


def test_a_bad_picture_is_nobodys_failure(world: tuple[httpx.Client, Path]) -> None:
    client, _ = world
    before = outcomes(client)
    headers = one_in_share(chosen=True)
    assert client.post("/detect", content=b"no picture", headers=headers).status_code == 415
    assert client.post("/detect", content=picture_of(0)[:60], headers=headers).status_code == 422
    assert outcomes(client) == before


def test_the_answers_are_those_of_the_document(world: tuple[httpx.Client, Path]) -> None:
    client, _ = world
    document = client.get("/openapi.json").json()
    bodies = {
        "Model": client.get("/model").json(),
        "History": client.get("/model/history").json(),
        "Detection": ask(client, 0, **one_in_share(chosen=True)).json(),
    }
    for name, body in bodies.items():
        schema = document["components"]["schemas"][name]
        Draft202012Validator({**schema, "components": document["components"]}).validate(body)


def test_a_client_with_a_key_is_answered_by_one_model_on_every_endpoint(folder: Path) -> None:
    confused(folder / "other")
    names = ("app-1", "app-2", "app-3", "app-4", "app-5", "app-6")
    expected = {name: in_share(f"key {name}", 0.5) for name in names}
    assert len(set(expected.values())) == 2
    keys = tuple(hash_key(name, "predict", f"secret of {name}") for name in names)
    with serving(settings(folder, canary=0.5, api_keys=keys)) as client:
        client.headers["x-api-key"] = "secret of app-1"
        stands(ready(client), "running")
        for name in names:
            answers = [ask(client, 0, **{"x-api-key": f"secret of {name}"}) for _ in range(3)]
            assert [is_marked(answer) for answer in answers] == [expected[name]] * 3


def test_a_candidate_that_fails_fails_no_request_and_is_paused(folder: Path) -> None:
    failing(folder / "other")
    with serving(settings(folder, canary_pause_s=3600)) as client:
        stands(ready(client), "running")
        assert is_marked(ask(client, 2))
        # Ten requests that the candidate fails at; from the fifth on it is not asked any more.
        for _ in range(10):
            answer = ask(client, BRIGHTEST)
            assert (answer.status_code, is_marked(answer)) == (200, False)
            assert answer.json()["emotion"] == CLASSES[BRIGHTEST]
        reason = stands(client, "paused")
        assert reason.startswith("it failed at 5 of its last 6 requests, at last: ")
        assert "out of data bounds" in reason
        assert outcomes(client) == {"answered": 1, "failed": 5}
        assert not is_marked(ask(client, 2))
        assert "mien_canary_pauses_total 1.0" in client.get("/metrics").text
        begun, paused = canary_history(client, 2)
        assert begun["reason"] == "canary starts: 100% of the requests are answered by version local"
        assert (begun["from_sha256"], begun["to_sha256"]) == (
            sha256_of(folder / "model"),
            sha256_of(folder / "other"),
        )
        assert paused["reason"] == f"canary is paused for 3600 s: {reason}"
        assert paused["to_sha256"] == sha256_of(folder / "model")
        # Another candidate has done nothing wrong yet.
        put(confused(folder / "better"), folder / "other")
        stands(client, "running")
        assert is_marked(ask(client, BRIGHTEST))
        assert canary_history(client, 3)[-1]["to_sha256"] == sha256_of(folder / "other")
    # One row for each answer, of the model that gave it: nothing of those that were not given.
    digests = observed(folder)
    assert len(digests) == 13
    assert digests.count(sha256_of(folder / "model")) == 11


def test_a_slow_candidate_is_paused_and_tried_again_after_a_while(folder: Path) -> None:
    slow(folder / "other")
    with serving(settings(folder, canary="50%", canary_pause_s=2)) as client:
        stands(ready(client), "running")

        until(lambda: ask(client, 3).status_code == 200 and standing(client)["state"] == "paused", PATIENCE_S)
        begun, pause = canary_history(client, 2, exactly=False)[:2]
        assert "times slower than the live model, 3 are allowed" in pause["reason"]
        stands(client, "running")
        assert canary_history(client, 3, exactly=False)[2]["reason"] == begun["reason"]


def test_a_candidate_with_other_emotions_does_not_answer(folder: Path) -> None:
    model_folder(folder / "other", contract=make_contract(classes=("angry", "happy")), levels=(0.2, 0.8))
    with serving(settings(folder)) as client:
        reason = stands(ready(client), "stopped")
        assert "version local tells other emotions (angry, happy) than the live model" in reason
        assert not is_marked(ask(client, 3))
        assert canary_history(client, 0) == []


def test_it_stops_when_the_candidate_is_promoted_or_taken_away(folder: Path) -> None:
    confused(folder / "other")
    with serving(settings(folder)) as client:
        stands(ready(client), "running")
        put(folder / "other", folder / "model")
        assert stands(client, "stopped") == "version local is live for everybody"
        assert not is_marked(ask(client, 0))
        put(model_folder(folder / "next", seed=5), folder / "model")
        stands(client, "running")
        (folder / "other" / "model.onnx").unlink()
        assert stands(client, "stopped") == f"{folder / 'other'} names no model"
        assert not is_marked(ask(client, 0))
        assert ["starts" in entry["reason"] for entry in canary_history(client, 4)] == [
            True,
            False,
            True,
            False,
        ]


def test_a_restart_is_not_a_start_and_switching_it_off_is_a_stop(folder: Path) -> None:
    confused(folder / "other")
    for _ in range(2):
        with serving(settings(folder)) as client:
            stands(ready(client), "running")
            canary_history(client, 1)
    with serving(settings_in(folder)) as client:
        ready(client)
        assert canary_history(client, 2)[-1]["reason"] == "canary stops: it was switched off"
        assert client.get("/model").json()["canary"] is None
        assert not is_marked(ask(client, 0))


def test_without_a_candidate_the_live_model_answers_and_the_reason_is_shown(folder: Path) -> None:
    with serving(settings(folder)) as client:
        assert stands(ready(client), "stopped") == f"{folder / 'other'} names no model"
        assert not is_marked(ask(client, 0))


def test_shadow_and_canary_share_a_candidate(folder: Path) -> None:
    confused(folder / "other")
    both = settings(folder, canary="50%", shadow_model=str(folder / "other"), shadow_fraction=1.0)
    with serving(both) as client:
        stands(ready(client), "running")
        until(lambda: client.get("/model/shadow").json()["reason"] is None, PATIENCE_S)
        marks = [is_marked(ask(client, 0, **{"x-request-id": f"{index}"})) for index in range(20)]
        assert 0 < sum(marks) < 20
        # The candidate's own answers are not a reference to compare it with.
        until(lambda: client.get("/model/shadow").json()["report"]["compared"] == 20 - sum(marks), PATIENCE_S)
        assert len([path for path in (folder / "cache").iterdir() if path.is_dir()]) == 2
