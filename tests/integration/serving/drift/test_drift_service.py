"""A real service that watches its own observations, from pictures over HTTP to the verdict."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from serving.drift.monitor import LEASE_S
from serving.drift.store import DriftStore
from serving.http.routes.drift import policy_of
from serving.observations.store import Batch, Store
from tests.support.drift import add_reference, picture
from tests.support.http_service import ready, serving, settings_in, until
from tests.support.observing import observation
from tests.support.pictures import encoded
from tests.support.serving_models import LEVELS, model_folder, sha256_of

PATIENCE_S = 300.0
REFERENCE_PEOPLE = range(40)
ROWS = 140
PEOPLE = ROWS // len(LEVELS)


def send(client: httpx.Client, people: Sequence[int], *, share: float = 1.0) -> list[str]:
    """One picture of each person and class; ids of the answers."""
    shots = [(person, index) for person in people for index in range(len(LEVELS))]
    ids = []
    for start in range(0, len(shots), 28):
        files = [("file", encoded(picture(*shot, share=share))) for shot in shots[start : start + 28]]
        answer = client.post("/detect/batch", params={"faces": "none"}, files=files)
        ids += [entry["result"]["id"] for entry in answer.json()["results"]]
    return ids


def drift(client: httpx.Client) -> dict[str, Any]:
    return dict(client.get("/drift").json())


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a service said of usual pictures and then of darkened ones, with two workers' eyes."""
    folder = tmp_path_factory.mktemp("drift")
    add_reference(model_folder(folder / "model"), people=REFERENCE_PEOPLE)
    options = {"drift_last_n": ROWS, "drift_min_rows": ROWS, "drift_stale_s": 2.0}
    with (
        serving(settings_in(folder, **options)) as client,
        serving(settings_in(folder, **options)) as replica,
    ):
        ready(client)
        deadline = time.monotonic() + PATIENCE_S
        ids = send(client, range(100, 100 + PEOPLE))
        for id in ids[:10]:
            client.post("/feedback", json={"id": id, "emotion": "angry"})
        seen = [drift(client)]
        while seen[-1]["verdict"] == "unknown":
            assert time.monotonic() < deadline
            time.sleep(0.05)
            seen.append(drift(client))
        usual = seen[-1]
        send(client, range(200, 200 + PEOPLE), share=0.7)
        until(lambda: drift(client)["verdict"] == "drift", PATIENCE_S)
        until(lambda: ready(replica) and drift(replica)["verdict"] == "drift", PATIENCE_S)
        yield {
            "before": seen[:-1],
            "usual": usual,
            "dark": drift(client),
            "replica": drift(replica),
            "page": client.get("/drift/report"),
            "replica page": replica.get("/drift/report"),
            "metrics": client.get("/metrics").text,
            "document": client.get("/openapi.json").json(),
        }


def test_usual_pictures_of_other_people_are_no_drift(answers: dict[str, Any]) -> None:
    usual = answers["usual"]
    assert usual["verdict"] == "no drift", usual["columns"]
    assert usual["window"]["rows"] == ROWS
    assert usual["reference"] == {
        "rows": len(REFERENCE_PEOPLE) * len(LEVELS),
        "people": len(REFERENCE_PEOPLE),
    }
    assert usual["quality"]["feedback"]["rows"] == 10
    assert usual["quality"]["estimated"]["caveat"] is None
    assert usual["left_out"] == {"face_size": "the test split has no column face_size"}


def test_before_the_first_verdict_it_says_what_is_going_on(answers: dict[str, Any]) -> None:
    # By this process or by its replica.
    computing = [answer for answer in answers["before"] if answer["computing_s"] is not None]
    assert computing
    for answer in computing:
        # Enough rows were counted: how few there were before is not said any more.
        assert answer["problem"] == answer["reason"] == "the first result is being computed"
        assert answer["checked_s"] is not None
    assert computing[-1]["computing_s"] > computing[0]["computing_s"]
    assert answers["usual"]["checked_s"] is not None


def test_every_column_is_described(answers: dict[str, Any]) -> None:
    for answer in (answers["usual"], answers["dark"]):
        assert set(answer["descriptions"]) == set(answer["columns"]) | set(answer["left_out"])
        assert answer["descriptions"]["embedding_2"]["label"] == "Network features (direction 2)"


def test_darkened_pictures_are(answers: dict[str, Any]) -> None:
    dark = answers["dark"]
    brightness = dark["columns"]["brightness"]
    assert brightness["drifted"]
    assert brightness["score"] > brightness["threshold"]
    assert brightness["window"]["mean"] == pytest.approx(0.7 * brightness["reference"]["mean"], rel=0.1)
    assert "brightness" in dark["reason"]
    # A caveat of the estimates, which are far off under such a shift.
    assert dark["quality"]["estimated"]["caveat"]
    bounds = {name: tuple(column["possible"].values()) for name, column in dark["columns"].items()}
    assert {name: bounds[name] for name in ("brightness", "contrast", "confidence", "predicted")} == {
        "brightness": (0, 1), "contrast": (0, 0.5), "confidence": (0, 1), "predicted": (0, 1),
    }  # fmt: skip
    assert bounds["entropy"] == bounds["sharpness"] == (0, None)
    assert bounds["embedding_1"] == (None, None)
    assert dark["age_s"] >= 0
    assert dark["model"]["version"] == "local"


def test_replicas_share_results(answers: dict[str, Any]) -> None:
    assert answers["replica"]["verdict"] == "drift"
    assert answers["replica page"].status_code == 200


def test_answers_are_as_documented(answers: dict[str, Any]) -> None:
    components = answers["document"]["components"]
    for answer in (answers["usual"], answers["dark"]):
        schema = {**components["schemas"]["Drift"], "components": components}
        Draft202012Validator(schema).validate(answer)


def test_the_page_is_evidentlys_with_a_policy_of_its_own(answers: dict[str, Any]) -> None:
    page = answers["page"]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Drift in column" in page.text
    policy = page.headers["content-security-policy"]
    assert policy == policy_of(page.content)
    assert "'unsafe-eval'" not in policy
    assert "script-src 'sha256-" in policy
    assert policy.count("'sha256-") == len(set(re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)))
    assert "sandbox allow-scripts" in policy


def test_gauges_tell_scores_and_thresholds(answers: dict[str, Any]) -> None:
    values = dict(re.findall(r"^(mien_drift\S*) (\S+)$", answers["metrics"], re.MULTILINE))
    assert float(values["mien_drift"]) == 1
    assert float(values["mien_drift_rows"]) == ROWS
    dark = answers["dark"]["columns"]["brightness"]
    score = float(values['mien_drift_score{column="brightness"}'])
    assert score > float(values['mien_drift_threshold{column="brightness"}']) > 0
    assert dark["drifted"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    add_reference(model_folder(tmp_path / "model"), people=range(5))
    return tmp_path


def test_observations_of_the_future_are_reported_and_do_not_count(folder: Path) -> None:
    """What a clock that was a day ahead left behind, a lease included."""
    tomorrow = time.time() + 86_400
    store = Store(f"sqlite:///{folder}/observations.db")
    sha256 = sha256_of(folder / "model")
    store.write(
        Batch(
            observations=[
                observation(number, time=tomorrow + number, model_version="local", model_sha256=sha256)
                for number in range(300)
            ]
        )
    )
    store.close()
    with closing(sqlite3.connect(folder / "observations.db")) as database, database:
        database.execute("INSERT INTO drift_lease VALUES (TRUE, 'another', ?)", [tomorrow])
    with serving(settings_in(folder, drift_min_rows=5, drift_stale_s=1.0)) as client:
        ready(client)
        until(lambda: "dated in the future" in (drift(client)["problem"] or ""))
        assert "300 observations and 0 results" in drift(client)["problem"]
        send(client, range(2))
        until(lambda: drift(client)["verdict"] != "unknown", PATIENCE_S)
        found = drift(client)
    assert found["window"]["total"] == 2 * len(LEVELS)
    assert datetime.fromisoformat(found["window"]["until"]).timestamp() < tomorrow - 3600
    assert "300 observations" in found["problem"]


def test_without_a_model_that_is_said(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        until(lambda: "model" in drift(client)["problem"])
        assert drift(client)["verdict"] == "unknown"
        assert client.get("/drift/report").status_code == 503
        assert "mien_drift NaN" in client.get("/metrics").text


def test_an_empty_window_and_too_few_rows_are_said(folder: Path) -> None:
    with serving(settings_in(folder)) as client:
        ready(client)
        until(lambda: "no observations of version local" in drift(client)["problem"])
        refused = client.get("/drift/report")
        assert refused.status_code == 404
        assert "no observations of version local" in refused.json()["detail"]
        assert drift(client)["checked_s"] < 60
        assert drift(client)["computing_s"] is None
        client.post("/detect", params={"faces": "none"}, content=encoded(picture(1, 1)))
        until(lambda: "only 1 observation of version local in the window" in drift(client)["problem"])
        send(client, range(3))
        until(lambda: "only 22 observations of version local in" in drift(client)["problem"])
        assert drift(client)["verdict"] == "unknown"


def test_a_computation_of_another_process_is_reported(folder: Path) -> None:
    url = f"sqlite:///{folder}/observations.db"
    with serving(settings_in(folder, drift_min_rows=7)) as client:
        ready(client)
        another = DriftStore(url)
        assert another.acquire(now=time.time() - 40, lasts_s=LEASE_S)
        send(client, [1])
        until(lambda: drift(client)["computing_s"] is not None, PATIENCE_S)
        assert drift(client)["computing_s"] >= 40
        another.release()
        until(lambda: drift(client)["verdict"] != "unknown", PATIENCE_S)
        assert drift(client)["computing_s"] is None
        another.close()


def test_a_model_without_a_reference_answers_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model_folder(tmp_path / "model")
    options = {"drift_min_rows": 7, "drift_stale_s": 0.5}
    with caplog.at_level(logging.INFO), serving(settings_in(tmp_path, **options)) as client:
        ready(client)
        send(client, [1])
        until(lambda: "reference.parquet: there is no such file" in drift(client)["problem"], PATIENCE_S)
        assert drift(client)["verdict"] == "unknown"
        assert send(client, [2])
        # While the next result is computed, the cause is still reported.
        until(lambda: drift(client)["computing_s"] is not None, PATIENCE_S)
        assert "there is no such file" in drift(client)["problem"]
        until(lambda: drift(client)["computing_s"] is None, PATIENCE_S)
        assert "there is no such file" in drift(client)["problem"]
    warned = [record for record in caplog.records if "there is no such file" in record.getMessage()]
    assert len(warned) == 1


def test_it_can_be_switched_off(folder: Path) -> None:
    with serving(settings_in(folder, drift=False)) as client:
        ready(client)
        assert drift(client)["problem"] == "drift is not computed: MIEN_DRIFT is false"
        assert client.get("/drift/report").status_code == 404


def test_a_database_that_is_away_is_said_and_answers_come(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    url = "postgresql://user@127.0.0.1:1/none"
    with serving(settings_in(tmp_path, database_url=url)) as client:
        ready(client)
        until(lambda: "127.0.0.1:1" in drift(client)["problem"])
        assert send(client, [1])
        assert client.get("/drift/report").status_code == 503
