"""A real MLflow store, the follower's looks one by one, and the watcher behind it."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serving.errors.operation import NothingRegistered, RegistryUnavailable
from serving.inference.model_slot import ModelIdentity, ModelSlot, read_identity
from serving.model_sync.location import OnDisk, Registered, parse_location
from serving.model_sync.poller import Poller
from serving.model_sync.sources import DiskSource, FoundVersion, RegistrySource
from serving.model_sync.state import MODELS, RefusedDownload, Target, read_target
from serving.model_sync.watcher import FROM_CACHE, Watcher
from tests.support.onnx_models import write_model
from tests.support.serving_models import NAME, FilledRegistry, model_folder, sha256_of
from tests.support.switches import RecordedSwitches

WHERE = "models:/emotion@production"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def source(registry: FilledRegistry, where: str = WHERE) -> RegistrySource:
    location = parse_location(where)
    assert isinstance(location, Registered)
    return RegistrySource(location, tracking_uri=registry.uri)


class Side(RecordedSwitches):
    """Follower and worker, looking when the test says so."""

    def __init__(self, registry: FilledRegistry, state: Path, where: str = WHERE) -> None:
        super().__init__()
        self.state = state
        self.follower = Poller(source(registry, where), state)
        self.worker()

    def worker(self) -> None:
        """A new worker on the same state folder."""
        self.slot = ModelSlot()
        self.watcher = Watcher(self.state, self.slot, location=WHERE, threads=1, max_batch=2, history=self)

    def step(self) -> str | None:
        """One look of both; the live version."""
        self.follower.check()
        self.watcher.look()
        return self.slot.current.identity.version if self.slot.current else None

    @property
    def target(self) -> Target:
        target = read_target(self.state)
        assert target is not None
        return target


def refusal_and_problem(target: Target) -> tuple[RefusedDownload | None, str | None]:
    return target.refused, target.problem


def test_promotion_rollback_and_removal_of_the_alias(registry: FilledRegistry, state: Path) -> None:
    first, second = registry.add(seed=1), registry.add(seed=2)
    side = Side(registry, state)
    assert side.step() is None
    assert "emotion has no alias 'production' (versions: 1, 2)" in side.slot.reason
    registry.promote(first)
    assert side.step() == "1"
    registry.promote(second)
    assert side.step() == "2"
    registry.promote(first)
    assert side.step() == "1"
    registry.demote()
    assert side.step() == "1"
    assert "has no alias 'production'" in str(side.target.problem)
    registry.promote(second)
    assert side.step() == "2"
    assert side.target.problem is None
    assert [(previous, current) for previous, current, _ in side.switches] == [
        (None, "1"), ("1", "2"), ("2", "1"), ("1", "2"),
    ]  # fmt: skip
    assert side.switches[0][2] == "models:/emotion@production names version 1"


def promote_by_command(registry: FilledRegistry, version: str, *more: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.register.promote", version, *more],
        env={**os.environ, "MLFLOW_TRACKING_URI": registry.uri, **environment},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_who_promoted_by_command_is_known_and_a_click_is_not(registry: FilledRegistry, state: Path) -> None:
    first, second = registry.add(seed=1), registry.add(seed=2)
    side = Side(registry, state)
    registry.promote(first)
    side.step()
    promote_by_command(registry, second, "--by", "anna")
    side.step()
    # A promotion by command that a click has undone since.
    aged = datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()
    registry.client.set_model_version_tag(NAME, second, "promoted_at", aged)
    for version in (first, second):
        registry.promote(version)
        side.step()
    promote_by_command(registry, first, MLFLOW_TRACKING_USERNAME="berta")
    side.step()
    assert [version for _, version, _ in side.switches] == ["1", "2", "1", "2", "1"]
    assert side.promoted_by == [None, "anna", None, None, "berta"]
    tags = registry.client.get_model_version(NAME, first).tags
    assert tags["promoted_by"] == "berta"
    assert datetime.fromisoformat(tags["promoted_at"]).tzinfo is UTC


def test_a_service_that_follows_a_candidate_takes_no_promotion_for_its_own(
    registry: FilledRegistry, state: Path
) -> None:
    version = registry.add(seed=1)
    registry.promote(version, alias="candidate")
    promote_by_command(registry, version, "--by", "anna")
    side = Side(registry, state, "models:/emotion@candidate")
    side.step()
    assert side.promoted_by == [None]


def test_lineage_comes_along(registry: FilledRegistry, state: Path) -> None:
    registry.promote(registry.add())
    side = Side(registry, state)
    side.step()
    live = side.slot.require()
    assert live.identity == ModelIdentity(
        name="emotion", version="1", sha256=sha256_of(registry.artifacts / "v0"), source="models:/emotion/1",
        run_id=None, git_commit="c" * 40, dataset="5" * 64, architecture="lenet", weights="scratch",
    )  # fmt: skip
    assert live.warnings == ()


@pytest.mark.parametrize(("tag", "dirty"), [("true", True), ("false", False), ("?", None)])
def test_whether_the_commit_had_changes_comes_along(
    registry: FilledRegistry, state: Path, tag: str, dirty: bool | None
) -> None:
    version = registry.add()
    registry.client.set_model_version_tag(NAME, version, "dirty", tag)
    registry.promote(version)
    side = Side(registry, state)
    side.step()
    assert side.slot.require().identity.dirty is dirty


def test_rollback_downloads_nothing(registry: FilledRegistry, state: Path) -> None:
    first, second = registry.add(seed=1), registry.add(seed=2)
    side = Side(registry, state)
    for version in (first, second):
        registry.promote(version)
        side.step()
    (registry.artifacts / "v0" / "model.onnx").unlink()
    registry.promote(first)
    assert side.step() == "1"


def test_file_that_is_not_the_registered_one_is_refused_once(registry: FilledRegistry, state: Path) -> None:
    registry.promote(registry.add(seed=1))
    side = Side(registry, state)
    side.step()
    registry.promote(registry.add(seed=2, sha256="b" * 64))
    assert side.step() == "1"
    refused = side.target.refused
    assert refused is not None
    assert (refused.version, refused.sha256) == ("2", "b" * 64)
    assert side.target.problem is not None
    assert "version 2 (bbbbbbbbbbbb) is refused at its download" in side.target.problem
    # Were it fetched again, it would now be found missing.
    (registry.artifacts / "v1" / "model.onnx").unlink()
    assert side.step() == "1"
    assert side.target.refused == refused
    assert not list((state / MODELS).glob(".fetch-*"))
    registry.promote("1")
    assert side.step() == "1"
    assert refusal_and_problem(side.target) == (None, None)


def test_version_that_fails_its_self_test_is_refused_once(registry: FilledRegistry, state: Path) -> None:
    registry.promote(registry.add(seed=1))
    side = Side(registry, state)
    side.step()
    bad = registry.add(seed=2)
    # Another model's answers, which no digest covers.
    (registry.artifacts / "v0" / "selftest.npz").replace(registry.artifacts / "v1" / "selftest.npz")
    registry.promote(bad)
    for _ in range(3):
        assert side.step() == "1"
    refused = side.slot.refused
    assert refused is not None
    assert (refused.version, refused.step) == ("2", "self-test")
    assert side.slot.refusals == 1
    registry.promote("1")
    assert side.step() == "1"
    assert side.slot.refused is None
    registry.promote(registry.add(seed=3))
    assert side.step() == "3"


def test_restart_with_a_refused_newest_serves_the_last_good(registry: FilledRegistry, state: Path) -> None:
    registry.promote(registry.add(seed=1))
    side = Side(registry, state)
    side.step()
    registry.add(seed=2)
    (registry.artifacts / "v1" / "selftest.npz").write_bytes(b"nonsense")
    registry.promote("2")
    side.step()
    side.worker()
    side.watcher._look(first=True)
    live = side.slot.require()
    assert live.identity.version == "1"
    assert side.slot.reason == FROM_CACHE
    assert side.slot.refused is not None
    assert side.slot.refused.version == "2"
    side.step()
    assert side.slot.refusals == 1
    assert [current for _, current, _ in side.switches] == ["1"]


def test_damaged_cache_is_fetched_again(registry: FilledRegistry, state: Path) -> None:
    registry.promote(registry.add(seed=1))
    side = Side(registry, state)
    side.step()
    [model] = (state / MODELS).glob("1-*/model.onnx")
    model.write_bytes(model.read_bytes()[:50])
    side.worker()
    side.watcher._look(first=True)
    assert side.slot.current is None
    side.follower = Poller(source(registry), state)
    assert side.step() == "1"


def test_version_without_a_digest_is_identified_by_its_source(registry: FilledRegistry, state: Path) -> None:
    registry.promote(registry.add(seed=1, tagged=False))
    side = Side(registry, state)
    assert side.step() == "1"
    assert side.slot.require().identity.sha256 == sha256_of(registry.artifacts / "v0")
    # The number is given again, to another file.
    registry.client.delete_registered_model("emotion")
    registry.client.create_registered_model("emotion")
    assert registry.add(seed=2, tagged=False) == "1"
    registry.promote("1")
    side.step()
    assert side.slot.require().identity.sha256 == sha256_of(registry.artifacts / "v1")


def test_digest_that_is_none_opens_no_path(registry: FilledRegistry, state: Path) -> None:
    registry.promote(registry.add(sha256="../../../outside"))
    side = Side(registry, state)
    assert side.step() == "1"
    assert sorted(path.name for path in state.iterdir()) == [
        "good.json",
        "good.lock",
        "models",
        "target.json",
    ]


def test_number_stage_and_latest(registry: FilledRegistry, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        registry.add(seed=seed)
    with pytest.warns(FutureWarning, match="stages"):
        registry.client.transition_model_version_stage("emotion", "2", "Staging")
    for where, version in (
        ("models:/emotion/1", "1"),
        ("models:/emotion/staging", "2"),
        ("models:/emotion/latest", "3"),
    ):
        assert source(registry, where).find().version == version
    for where, reason in (
        ("models:/emotion/9", "no version 9"),
        ("models:/emotion/Production", "stage Production"),
    ):
        with pytest.raises(NothingRegistered, match=reason):
            source(registry, where).find()


def test_alias_and_stage_that_disagree(registry: FilledRegistry) -> None:
    registry.add(seed=1)
    registry.promote(registry.add(seed=2))
    assert source(registry).find().warnings == ()
    with pytest.warns(FutureWarning, match="stages"):
        registry.client.transition_model_version_stage("emotion", "1", "Production")
    by_alias, by_stage = source(registry).find(), source(registry, "models:/emotion/Production").find()
    assert (by_alias.version, by_stage.version) == ("2", "1")
    said = "the alias production names version 2, the stage Production version 1"
    assert by_alias.warnings == (f"{said}: the alias is followed, as configured",)
    assert by_stage.warnings == (f"{said}: the stage is followed, as configured",)


def test_old_versions_leave_the_disk_but_not_the_good_one(registry: FilledRegistry, state: Path) -> None:
    side = Side(registry, state)
    registry.promote(registry.add(seed=1))
    side.step()
    for seed in range(2, 9):
        registry.promote(registry.add(seed=seed))
        side.follower.check()
    kept = sorted(path.name.split("-")[0] for path in (state / MODELS).iterdir())
    assert kept == ["1", "5", "6", "7", "8"]


def test_registry_away_damaged_or_unknown(registry: FilledRegistry, state: Path, tmp_path: Path) -> None:
    registry.promote(registry.add())
    side = Side(registry, state)
    assert side.step() == "1"
    database = Path(registry.uri.removeprefix("sqlite:///"))
    moved = database.rename(tmp_path / "moved.db")
    assert side.follower.check() is False
    assert side.step() == "1"
    assert side.target.problem is not None
    assert "there is no registry at" in side.target.problem
    assert not database.exists()
    database.write_bytes(b"nonsense" * 1000)
    assert side.follower.check() is False
    assert "not a database" in (side.target.problem or "")
    moved.replace(database)
    assert side.step() == "1"
    assert side.target.problem is None


def test_locked_registry_is_read_all_the_same(registry: FilledRegistry) -> None:
    registry.promote(registry.add())
    with sqlite3.connect(registry.uri.removeprefix("sqlite:///"), isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert source(registry).find().version == "1"
        writer.execute("ROLLBACK")
    writer.close()


NONSENSE = {
    "html": (200, "<html>log in</html>"),
    "empty": (200, ""),
    "other json": (200, '{"registered_model": 3}'),
    "list": (200, "[]"),
    "error": (500, "oh"),
    "forbidden": (403, '{"error_code": "PERMISSION_DENIED", "message": "no"}'),
    "binary": (200, "\x00\x01"),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_server_that_answers_nonsense(answer: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer[0])
            self.end_headers()
            self.wfile.write(answer[1].encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        location = Registered(name="emotion", by="alias", value="production")
        try:
            with pytest.raises(RegistryUnavailable):
                RegistrySource(location, tracking_uri=f"http://127.0.0.1:{server.server_port}").find()
        finally:
            server.shutdown()
            thread.join()


def test_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        location = Registered(name="emotion", by="alias", value="production")
        start = time.monotonic()
        with pytest.raises(RegistryUnavailable, match="cannot be used"):
            RegistrySource(location, tracking_uri=f"http://127.0.0.1:{port}").find()
        assert time.monotonic() - start < 20


def test_path_of_a_folder_brings_what_lies_beside(tmp_path: Path, state: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    (folder / "card.md").write_text("> **Trained on drawings, not for real faces.** And so on.")
    follower = Poller(DiskSource(OnDisk(path=folder)), state)
    follower.check()
    target = read_target(state)
    assert target is not None
    assert (target.version, target.sha256) == ("local", sha256_of(folder))
    identity = read_identity(state / str(target.folder))
    assert (identity.name, identity.source, identity.sample) == ("mine", str(folder / "model.onnx"), True)
    assert (state / str(target.folder) / "selftest.npz").exists()


@pytest.mark.parametrize(
    ("tags", "card", "sample"),
    [
        ({"sample": "true"}, "Any text.", True),
        # The tag decides, not the words.
        ({"sample": "false"}, "> **Trained on drawings, not for real faces.**", False),
        # Registered before there was this tag.
        ({}, "> **Trained on drawings, not for real faces.**", True),
        ({}, "Any text.", False),
    ],
)
def test_the_tag_says_whether_the_model_is_one_of_the_sample(
    tmp_path: Path, state: Path, tags: dict[str, str], card: str, sample: bool
) -> None:
    folder = model_folder(tmp_path / "mine")
    (folder / "card.md").write_text(card)

    class Tagged(DiskSource):
        """A folder with the tags of a version."""

        def find(self) -> FoundVersion:
            return replace(super().find(), tags=tags)

    Poller(Tagged(OnDisk(path=folder)), state).check()
    target = read_target(state)
    assert target is not None
    assert read_identity(state / str(target.folder)).sample is sample


def test_path_of_a_file_is_followed_when_it_changes(tmp_path: Path, state: Path) -> None:
    path = tmp_path / "faces.onnx"
    follower = Poller(DiskSource(OnDisk(path=path)), state)
    follower.check()
    target = read_target(state)
    assert target is not None
    assert "faces.onnx: No such file or directory" in (target.problem or "")
    digests = set()
    for seed in (1, 2):
        write_model(path, seed=seed)
        follower.check()
        target = read_target(state)
        assert target is not None
        assert target.problem is None
        digests.add(target.sha256)
    assert len(digests) == 2
    assert read_identity(state / str(target.folder)).name == "faces"
    # Copied again, the same bytes are the same model: nothing is switched.
    before = target.since
    path.write_bytes(path.read_bytes())
    follower.check()
    after = read_target(state)
    assert after is not None
    assert (after.sha256, after.since) == (target.sha256, before)


def test_corrected_self_test_lets_the_same_model_in(tmp_path: Path, state: Path) -> None:
    folder = model_folder(tmp_path / "mine", seed=1)
    other = model_folder(tmp_path / "other", seed=2)
    right = (folder / "selftest.npz").read_bytes()
    (folder / "selftest.npz").write_bytes((other / "selftest.npz").read_bytes())
    follower = Poller(DiskSource(OnDisk(path=folder)), state)
    slot = ModelSlot()
    watcher = Watcher(state, slot, location=str(folder), threads=1, max_batch=2)

    def step() -> Target:
        follower.check()
        watcher.look()
        target = read_target(state)
        assert target is not None
        return target

    def refused_step() -> str | None:
        return slot.refused.step if slot.refused else None

    step()
    assert refused_step() == "self-test"
    # Nothing changed, so it is not tried again.
    step()
    assert (slot.refusals, slot.current) == (1, None)
    (folder / "selftest.npz").write_bytes(right)
    live = step()
    assert slot.current is not None
    assert (slot.current.identity.sha256, refused_step()) == (sha256_of(folder), None)
    # What lies beside the live model is fetched, and no reason to put the model in again.
    (folder / "card.md").write_text("More is known now.")
    after = step()
    assert (after.key, slot.switches) == (live.key, 1)
    assert (state / str(after.folder) / "card.md").read_text() == "More is known now."


def test_of_a_file_nothing_beside_it_counts(tmp_path: Path, state: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    follower = Poller(DiskSource(OnDisk(path=folder / "model.onnx")), state)
    follower.check()
    before = read_target(state)
    (folder / "selftest.npz").unlink()
    follower.check()
    after = read_target(state)
    assert before is not None
    assert after is not None
    assert (after.stamp, after.problem) == (before.stamp, None)
    assert not (state / str(after.folder) / "selftest.npz").exists()


def test_mark_of_the_sample_is_the_one_that_the_model_card_bears() -> None:
    from pipelines.report.model_card import SAMPLE_WARNING
    from serving.model_sync import poller

    assert poller._SAMPLE_MARK in SAMPLE_WARNING
