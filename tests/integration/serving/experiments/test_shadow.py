"""A second model classifies the answered pictures: counted exactly, without effect on clients."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import text

from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.observing import engine_of
from tests.support.onnx_models import CLASSES, make_contract
from tests.support.serving_models import model_folder, sha256_of
from tests.support.trials import (
    BRIGHTEST,
    ask,
    compared,
    confused,
    failing,
    looking,
    put,
    shadow_processes,
    shadow_report,
)

# Number of pictures of each emotion.
SENT = (1, 2, 3, 4, 3, 2, 1)
WAITING = 64
"""Answers that may wait for the shadow."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    return tmp_path


def settings(folder: Path, **given: Any) -> Any:
    return settings_in(folder, **{"shadow_model": str(folder / "other"), "shadow_fraction": 1.0} | given)


def valid(client: httpx.Client, name: str, body: Any) -> Any:
    """The body, which is one that the OpenAPI document promises."""
    document = client.get("/openapi.json").json()
    schema = document["components"]["schemas"][name]
    Draft202012Validator({**schema, "components": document["components"]}).validate(body)
    return body


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A service whose shadow confuses the first two emotions, and has seen all of `SENT`."""
    folder = tmp_path_factory.mktemp("shadow")
    model_folder(folder / "model")
    # Another size and other colours: it needs the picture, not the live model's input.
    confused(folder / "other", contract=make_contract(side=24, color="gray"))
    with serving(settings(folder)) as client:
        looking(ready(client))
        for index, count in enumerate(SENT):
            for _ in range(count):
                assert ask(client, index).json()["emotion"] == CLASSES[index]
        compared(client, sum(SENT))
        yield client, folder


def test_agreement_is_counted_exactly(world: tuple[httpx.Client, Path]) -> None:
    client, folder = world
    body = valid(client, "Shadow", client.get("/model/shadow").json())
    report = body["report"]
    assert report["live"]["sha256"] == sha256_of(folder / "model")
    assert report["shadow"]["sha256"] == body["model"]["sha256"] == sha256_of(folder / "other")
    assert (report["compared"], report["agreed"], report["dropped"], report["failed"]) == (16, 13, 0, 0)
    assert report["agreement"] == pytest.approx(13 / 16)
    # By hand: by chance both say the first with 1/16 · 2/16, the second with 2/16 · 1/16, and so on.
    by_chance = (1 * 2 + 2 * 1 + 3 * 3 + 4 * 4 + 3 * 3 + 2 * 2 + 1 * 1) / 16**2
    assert report["kappa"] == pytest.approx((13 / 16 - by_chance) / (1 - by_chance), abs=1e-5)
    said = {emotion: entry["shadow"] for emotion, entry in report["emotions"].items()}
    assert said == {
        CLASSES[0]: {CLASSES[1]: 1},
        CLASSES[1]: {CLASSES[0]: 2},
        **{CLASSES[index]: {CLASSES[index]: SENT[index]} for index in range(2, 7)},
    }
    assert report["emotions"][CLASSES[0]]["agreement"] == 0
    mean = report["emotions"][CLASSES[0]]["mean_probability_difference"]
    assert mean > 0.3
    # Each answer has its own distance, by which labels are ranked.
    engine = engine_of(f"sqlite:///{folder}/observations.db")
    query = text("SELECT disagreement FROM observations WHERE predicted = :name AND disagreement IS NOT NULL")
    with engine.connect() as connection:
        until(lambda: len(connection.execute(query, {"name": CLASSES[0]}).all()) == SENT[0])
        assert connection.scalar(query, {"name": CLASSES[0]}) == pytest.approx(mean, abs=1e-4)
    engine.dispose()
    assert report["emotions"][CLASSES[4]]["mean_probability_difference"] < 0.05
    assert all(report["latency_ms"][model]["p50"] > 0 for model in ("live", "shadow"))


def test_metrics_count_the_same(world: tuple[httpx.Client, Path]) -> None:
    client, _ = world
    text = client.get("/metrics").text
    rows = re.findall(
        r'mien_shadow_compared_total\{agreed="(\w+)",emotion="(\w+)",version="local"\} (\S+)', text
    )
    assert {(emotion, agreed): float(count) for agreed, emotion, count in rows} == {
        (CLASSES[index], str(index > 1).lower()): count for index, count in enumerate(SENT)
    }
    assert "mien_shadow_failed_total 0.0" in text
    assert "mien_shadow_dropped_total 0.0" in text
    assert 'mien_shadow_seconds_count{model="shadow"} 16.0' in text


def test_it_gives_way_to_everything_else(world: tuple[httpx.Client, Path]) -> None:
    [process] = shadow_processes()
    assert process.nice() == 19
    assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE


def test_without_a_shadow_it_says_so(folder: Path) -> None:
    others = shadow_processes()
    with serving(settings_in(folder)) as client:
        body = ready(client).get("/model/shadow").json()
        assert valid(client, "ShadowOff", body)["enabled"] is False
        assert "MIEN_SHADOW_MODEL" in body["reason"]
        assert shadow_processes() == others


def test_counting_starts_again_with_another_model_and_goes_on_after_a_restart(folder: Path) -> None:
    confused(folder / "other")
    with serving(settings(folder)) as client:
        looking(ready(client))
        ask(client, 3)
        first = compared(client, 1)
    with serving(settings(folder)) as client:
        looking(ready(client))
        ask(client, 4)
        second = compared(client, 2)
        assert second["since"] == first["since"]
        put(model_folder(folder / "new", seed=9), folder / "model")
        sha256 = sha256_of(folder / "model")
        until(lambda: shadow_report(client)["live"]["sha256"] == sha256)
        third = shadow_report(client)
        assert third["compared"] == 0
        assert third["since"] > second["since"]
        # What is live cannot be compared with itself.
        put(folder / "new", folder / "other")
        until(lambda: "is the live model itself" in str(client.get("/model/shadow").json()["reason"]))
        ask(client, 5)
        assert shadow_report(client)["compared"] == 0


def test_a_shadow_that_hangs_or_dies_fails_no_request_and_comes_back(folder: Path) -> None:
    confused(folder / "other")
    others = shadow_processes()

    def its_own() -> list[psutil.Process]:
        return [process for process in shadow_processes() if process not in others]

    with serving(settings(folder)) as client:
        looking(ready(client))
        [process] = its_own()
        process.send_signal(signal.SIGSTOP)
        try:
            answers = [ask(client, index % 7) for index in range(100)]
        finally:
            process.send_signal(signal.SIGCONT)
        assert [answer.json()["emotion"] for answer in answers] == [
            CLASSES[index % 7] for index in range(100)
        ]
        until(lambda: shadow_report(client)["dropped"] >= 100 - WAITING - 1, 180)
        seen = compared(client, 100 - shadow_report(client)["dropped"])
        assert seen["compared"] + seen["dropped"] == 100

        process.kill()
        assert ask(client, 3).status_code == 200
        until(lambda: its_own() not in ([], [process]), 180)
        looking(client)
        ask(client, 3)
        assert compared(client, seen["compared"] + 1)["since"] == seen["since"]


def test_a_shadow_that_fails_is_reported_with_its_reason(folder: Path) -> None:
    failing(folder / "other")
    with serving(settings(folder)) as client:
        looking(ready(client))
        for index in (2, BRIGHTEST, BRIGHTEST):
            assert ask(client, index).json()["emotion"] == CLASSES[index]
        until(lambda: shadow_report(client)["failed"] == 2, 180)
        report = valid(client, "Shadow", client.get("/model/shadow").json())["report"]
        assert report["compared"] == 1
        assert "out of data bounds" in report["last_error"]["reason"]
        assert "mien_shadow_failed_total 2.0" in client.get("/metrics").text


def test_a_shadow_that_is_not_there_yet_or_no_more_is_reported(folder: Path) -> None:
    with serving(settings(folder)) as client:
        ready(client)
        until(lambda: "names no model" in client.get("/model/shadow").json()["reason"], 180)
        assert ask(client, 3).status_code == 200
        put(confused(folder / "made"), folder / "other")
        looking(client)
        (folder / "other" / "model.onnx").unlink()
        until(lambda: "names no model" in str(client.get("/model/shadow").json()["reason"]), 180)


def test_pictures_of_a_batch_and_of_an_explanation_are_looked_at_too(folder: Path) -> None:
    confused(folder / "other")
    with serving(settings(folder)) as client:
        looking(ready(client))
        files = [("file", ("a.png", picture_of(index))) for index in (2, 3)]
        client.post("/detect/batch", files=files)
        client.post("/explain", content=picture_of(4))
        # Without an answer there is nothing to compare.
        client.post("/detect?faces=all", content=picture_of(5))
        client.post("/detect", content=b"no picture")
        report = compared(client, 3)
        assert sorted(report["emotions"]) == sorted(CLASSES[2:5])
