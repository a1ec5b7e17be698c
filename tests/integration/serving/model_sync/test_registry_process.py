"""Polls without MLflow: what is noticed, what is not, and when MLflow's process lives."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from serving.errors.operation import NothingRegistered, RegistryUnavailable
from serving.model_sync.location import Registered
from serving.model_sync.registry_changes import RegistryFile, RegistryServer, watched_registry
from serving.model_sync.registry_process import WatchedSource, watched_source
from serving.model_sync.sources import RegistrySource, Source
from tests.support.mlflow_server import Front, registry_front
from tests.support.mlflow_store import new_store
from tests.support.serving_models import NAME, FilledRegistry, sha256_of

PRODUCTION = Registered(name=NAME, by="alias", value="production")
OTHER = "another"


class Watched:
    """A registry with the name of production's model in it, seen as a file or through MLflow's server."""

    def __init__(self, filled: FilledRegistry, uri: str, front: Front) -> None:
        self.filled = filled
        self.front = front
        registry = watched_registry(NAME, tracking_uri=uri)
        assert registry is not None
        self.source = WatchedSource(PRODUCTION, registry, tracking_uri=uri)

    def version(self) -> str:
        return self.source.find().version

    def settled(self) -> str:
        """The version of a poll that found no change, after which MLflow's process is gone."""
        self.source.find()
        version = self.version()
        assert self.source.pid is None
        return version


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FilledRegistry, Front]]:
    folder = tmp_path_factory.mktemp("registry")
    filled = FilledRegistry(new_store(folder), folder / "artifacts")
    filled.client.create_registered_model(OTHER)
    with registry_front(filled.uri, filled.artifacts) as front:
        yield filled, front


@pytest.fixture(params=["file", "server"])
def watched(request: pytest.FixtureRequest, served: tuple[FilledRegistry, Front]) -> Iterator[Watched]:
    filled, front = served
    front.appear()
    filled.promote(filled.add())
    watched = Watched(filled, filled.uri if request.param == "file" else front.uri, front)
    yield watched
    watched.source.close()


def test_a_promotion_is_noticed_and_mlflow_ends_afterwards(watched: Watched) -> None:
    first = watched.settled()
    second = watched.filled.add(seed=2)
    watched.filled.promote(second)
    assert watched.version() == second
    assert watched.source.pid is not None
    assert watched.settled() == second != first


def test_every_change_of_the_model_is_noticed_and_none_of_another(watched: Watched) -> None:
    version = watched.settled()
    client = watched.filled.client
    client.set_registered_model_alias(OTHER, "production", _version_of(client, OTHER))
    client.set_registered_model_tag(OTHER, "a", "b")
    assert watched.version() == version
    assert watched.source.pid is None, "another model's alias does not concern this one"

    client.set_model_version_tag(NAME, version, "promoted_by", "ada")
    assert watched.source.find().tags["promoted_by"] == "ada"
    client.delete_model_version_tag(NAME, version, "promoted_by")
    assert "promoted_by" not in watched.source.find().tags

    watched.filled.demote()
    with pytest.raises(NothingRegistered):
        watched.source.find()
    with pytest.raises(NothingRegistered):
        watched.source.find()
    assert watched.source.pid is None, "that there is none is known as well"
    watched.filled.promote(version)
    assert watched.version() == version


def test_files_are_those_of_mlflow_itself(watched: Watched, tmp_path: Path) -> None:
    found = watched.source.find()
    itself = RegistrySource(PRODUCTION, tracking_uri=watched.filled.uri)
    assert found == itself.find()
    folders = [tmp_path / "watched", tmp_path / "itself"]
    sources: tuple[Source, ...] = (watched.source, itself)
    for folder, source in zip(folders, sources, strict=True):
        folder.mkdir()
        source.fetch(found, folder)
    assert sha256_of(folders[0]) == sha256_of(folders[1])
    assert sorted(path.name for path in folders[0].iterdir()) == sorted(
        path.name for path in folders[1].iterdir()
    )


def test_mlflow_stays_for_a_fetch_that_failed(watched: Watched, tmp_path: Path) -> None:
    version = watched.filled.client.create_model_version(NAME, source=(tmp_path / "absent").as_uri()).version
    watched.filled.promote(str(version))
    found = watched.source.find()
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            watched.source.fetch(found, tmp_path)
        pid = watched.source.pid
        assert watched.source.find() == found
        assert watched.source.pid == pid is not None


def test_mlflows_process_that_was_killed_is_started_again(watched: Watched) -> None:
    version = watched.version()
    pid = watched.source.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    watched.filled.client.set_model_version_tag(NAME, version, "any", "thing")
    with pytest.raises(RegistryUnavailable):
        watched.source.find()
    assert watched.source.find().tags["any"] == "thing"


@pytest.mark.parametrize("mode", ["absent", "silence", "nonsense"])
def test_a_server_that_cannot_be_used(
    mode: str, served: tuple[FilledRegistry, Front], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    filled, front = served
    front.appear()
    filled.promote(filled.add())
    watched = Watched(filled, front.uri, front)
    version = watched.version()
    if mode == "absent":
        front.vanish()
    else:
        front.appear("silence" if mode == "silence" else "nonsense")
    try:
        with pytest.raises(RegistryUnavailable):
            watched.source.find()
        front.appear()
        assert watched.version() == version
    finally:
        watched.source.close()


def test_a_file_that_is_not_mlflows(tmp_path: Path) -> None:
    absent = RegistryFile(NAME, f"sqlite:///{tmp_path}/absent.db")
    with pytest.raises(RegistryUnavailable):
        absent.mark()
    assert not (tmp_path / "absent.db").exists()
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(RegistryUnavailable):
        RegistryFile(NAME, f"sqlite:///{tmp_path}/text.db").mark()
    (tmp_path / "empty.db").touch()
    assert RegistryFile(NAME, f"sqlite:///{tmp_path}/empty.db").mark() is None


@pytest.mark.parametrize("uri", ["postgresql://host/mlflow", "databricks", "file:///tmp/mlruns"])
def test_other_registries_are_left_to_mlflow(uri: str) -> None:
    assert isinstance(watched_source(PRODUCTION, tracking_uri=uri), RegistrySource)


def test_a_way_in_that_only_mlflow_knows_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "https://mlflow.example"
    assert watched_registry(NAME, tracking_uri=uri) is not None
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "arn")
    assert watched_registry(NAME, tracking_uri=uri) is None


@pytest.mark.parametrize(
    ("user", "variables"),
    [
        pytest.param("", {}, id="anonymous"),
        pytest.param("", {"USERNAME": "ada", "PASSWORD": "l:ove"}, id="variables"),
        pytest.param("", {"TOKEN": "secret"}, id="token"),
        pytest.param("", {"USERNAME": "ada", "PASSWORD": "x", "TOKEN": "secret"}, id="both"),
        pytest.param("ada:p%40ss@", {}, id="in the address"),
        pytest.param("ada:p%40ss@", {"USERNAME": "bob", "PASSWORD": "x"}, id="address and variables"),
        pytest.param("ada:p%40ss@", {"TOKEN": "secret"}, id="address and token"),
    ],
)
def test_signs_in_as_mlflows_client_does(
    user: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        uri = f"http://{user}127.0.0.1:{server.server_port}"
        try:
            assert RegistryServer(NAME, uri).mark() is not None
            MlflowClient(tracking_uri=uri).get_registered_model(NAME)
        finally:
            server.shutdown()
            thread.join()
    assert len(seen) == 3
    assert len(set(seen)) == 1


def _version_of(client: MlflowClient, name: str) -> str:
    return str(client.create_model_version(name, source="file:///nowhere").version)
