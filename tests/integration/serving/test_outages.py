"""What the service stands on is taken away and given back while clients ask: no request fails."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.mlflow_server import registry_front
from tests.support.mlflow_store import new_store
from tests.support.postgres import running_postgres
from tests.support.serving_models import FilledRegistry, model_folder

WHERE = "models:/emotion@production"
# The follower asks MLflow, and looks at a registry that was away within half a minute.
PATIENCE_S = 90.0


class Asking:
    """A client that asks all the time."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._ending = threading.Event()
        self.answers: list[tuple[int, str]] = []
        """Status, and the version that answered."""

    def run(self) -> None:
        while not self._ending.wait(0.01):
            answer = self._client.post("/detect?faces=none", content=picture_of(0))
            version = answer.json()["model"]["version"] if answer.status_code == 200 else ""
            self.answers.append((answer.status_code, version))

    def end(self) -> None:
        self._ending.set()


@contextmanager
def asking(client: httpx.Client) -> Iterator[Asking]:
    one = Asking(client)
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield one
    finally:
        one.end()
        thread.join()


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.05)


def version(client: httpx.Client) -> str | None:
    live = client.get("/model").json()["live"]
    return live["version"] if live else None


def problem(client: httpx.Client) -> str:
    return str(client.get("/model").json()["following"]["problem"] or "")


def history(client: httpx.Client) -> list[str]:
    """Versions that were put in, the first one first."""
    rows = client.get("/model/history").json()["switches"]
    return [row["to_version"] for row in reversed(rows)]


@pytest.fixture
def registry(tmp_path: Path) -> FilledRegistry:
    registry = FilledRegistry(new_store(tmp_path), tmp_path / "artifacts")
    for seed in (1, 2, 3):
        registry.add(seed=seed)
    registry.promote("1")
    return registry


def test_a_registry_is_killed_before_the_start_and_in_mid_run_is_silent_and_answers_nonsense(
    tmp_path: Path, registry: FilledRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        registry_front(registry.uri, registry.artifacts) as front,
        serving(settings_in(tmp_path, model=WHERE, tracking_uri=front.uri)) as client,
    ):
        until(lambda: "cannot be used" in problem(client), "the unreachable database is noticed")
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        front.appear()
        until(lambda: version(client) == "1", "the first model is found")
        with asking(client) as asked:
            front.vanish()
            until(lambda: "cannot be used" in problem(client), "the kill is noticed")
            registry.promote("2")
            front.appear()
            until(lambda: version(client) == "2", "the promotion meanwhile is followed")
            assert problem(client) == ""
            front.appear("silence")
            # Without MLflow, or in MLflow's words, if it was just asked.
            until(
                lambda: "timed out" in problem(client) or "Timeout" in problem(client),
                "the silence is noticed",
            )
            front.appear("nonsense")
            until(lambda: "log in, please" in problem(client), "the nonsense is noticed")
            registry.promote("1")
            front.appear()
            until(lambda: version(client) == "1", "it is followed again")
            until(lambda: asked.answers[-1][1] == "1", "the last one answers")
        # Rows are written within half a second.
        until(lambda: history(client) == ["1", "2", "1"], "the history tells of each switch")
    assert {status for status, _ in asked.answers} == {200}
    versions = [version for _, version in asked.answers]
    changes = [versions[0], *(now for was, now in pairwise(versions) if was != now)]
    assert changes == ["1", "2", "1"]


def test_alias_and_stage_that_disagree_are_shown_while_the_configured_one_is_followed(
    tmp_path: Path, registry: FilledRegistry
) -> None:
    with pytest.warns(FutureWarning, match="stages"):
        registry.client.transition_model_version_stage("emotion", "3", "Production")
    with serving(settings_in(tmp_path, model=WHERE, tracking_uri=registry.uri)) as client:
        until(lambda: version(client) == "1", "the alias is followed")
        (warning,) = client.get("/model").json()["following"]["warnings"]
    said = "the alias production names version 1, the stage Production version 3"
    assert warning == f"{said}: the alias is followed, as configured"


def test_a_sqlite_database_is_taken_away_and_given_back(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    folder = tmp_path / "database"
    url = f"sqlite:///{folder}/observations.db"
    with serving(settings_in(tmp_path, database_url=url)) as client:
        ready(client)
        with asking(client) as asked:
            until(lambda: rows(client, "written") > 0, "rows are written")
            moved = folder.rename(tmp_path / "elsewhere")
            folder.write_text("in the way")
            until(lambda: client.get("/model/history").status_code == 503, "it is noticed")
            waiting = rows(client, "waiting")
            until(lambda: rows(client, "waiting") > waiting + 10, "rows wait")
            folder.unlink()
            moved.rename(folder)
            until(lambda: client.get("/model/history").status_code == 200, "it is back")
    assert {status for status, _ in asked.answers} == {200}
    with closing(sqlite3.connect(folder / "observations.db")) as database:
        (count,) = database.execute("SELECT count(*) FROM observations").fetchone()
    assert count == len(asked.answers)


def test_a_postgresql_server_is_taken_away_and_given_back(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    with running_postgres() as server:
        url = server.new_database()
        with serving(settings_in(tmp_path, database_url=url)) as client:
            ready(client)
            with asking(client) as asked:
                until(lambda: rows(client, "written") > 0, "rows are written")
                server.stop()
                until(lambda: client.get("/model/history").status_code == 503, "it is noticed")
                waiting = rows(client, "waiting")
                until(lambda: rows(client, "waiting") > waiting + 10, "rows wait")
                server.start()
                until(lambda: client.get("/model/history").status_code == 200, "it is back")
        assert {status for status, _ in asked.answers} == {200}
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT count(*) FROM observations").fetchone()
    assert found == (len(asked.answers),)


def rows(client: httpx.Client, state: str) -> float:
    """Observations of this process by what became of them."""
    name = f'mien_observations{{state="{state}"}} '
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))
