"""Retention with a real database, folders and a real Prefect: what is old goes, the rest stays."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.repro.workspace import training_lock
from flows.retention import retention
from serving.observations.store import Batch, Store
from tests.support.observing import MODEL, id_of, observation

pytestmark = pytest.mark.usefixtures("prefect_api")

DAY_S = 24 * 3600.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_DATABASE_URL", f"sqlite:///{tmp_path}/observations.db")
    monkeypatch.setenv("MIEN_KEEP_IMAGES_DIR", str(tmp_path / "pictures"))
    monkeypatch.setenv("MIEN_RETENTION_DAYS", "10")
    monkeypatch.setenv("MIEN_KEEP_IMAGES_DAYS", "5")
    return tmp_path


def aged(path: Path, days: float) -> Path:
    """A folder with a file, both `days` days old."""
    path.mkdir(parents=True)
    (path / "file").touch()
    then = time.time() - days * DAY_S
    os.utime(path / "file", (then, then))
    os.utime(path, (then, then))
    return path


def message() -> str:
    state = retention(workspace_days=7, checkpoint_days=30, return_state=True)
    assert state.is_completed(), state.message
    return state.message or ""


def test_what_is_old_goes(home: Path) -> None:
    store = Store(f"sqlite:///{home}/observations.db")
    now = time.time()
    rows = [observation(n, id=id_of(n), time=now - n * DAY_S) for n in (1, 9, 11, 40)]
    store.write(Batch(models=[MODEL], observations=rows))
    days = {days: f"{datetime.fromtimestamp(now - days * DAY_S, UTC):%Y-%m-%d}" for days in (1, 20)}
    for day in days.values():
        aged(home / "pictures" / day, 0)
    clones = {days: aged(home / ".mien/workspaces" / f"commit{days}", days) for days in (2, 8, 20)}
    states = {days: aged(home / ".mien/checkpoints" / f"vgg{days}", days) for days in (8, 31)}

    said = message()
    assert "observations: 2 deleted" in said
    assert "days of pictures: 1 deleted" in said
    assert "workspaces: 2 deleted" in said
    assert "checkpoints: 1 deleted" in said
    assert {row.observation.id for row in store.window("3").rows} == {id_of(1), id_of(9)}
    store.close()
    assert [path.name for path in (home / "pictures").iterdir()] == [days[1]]
    assert [days for days, path in clones.items() if path.exists()] == [2]
    assert [days for days, path in states.items() if path.exists()] == [8]


def test_newest_clone_stays_however_old(home: Path) -> None:
    # The next run goes on from its results.
    newest = aged(home / ".mien/workspaces/newest", 90)
    aged(home / ".mien/workspaces/older", 91)
    assert "workspaces: 1 deleted" in message()
    assert newest.exists()


def test_nothing_there_is_nothing_to_do_and_nothing_is_made(home: Path) -> None:
    assert "observations: none was old enough" in message()
    assert not (home / "observations.db").exists()


def test_running_training_keeps_its_folders(home: Path) -> None:
    clone = aged(home / ".mien/workspaces/older", 91)
    aged(home / ".mien/workspaces/newest", 90)
    with training_lock(home):
        assert "workspaces: kept, because a training is running" in message()
    assert clone.exists()


def test_database_that_is_away_keeps_nothing_else_from_being_deleted(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_DATABASE_URL", "postgresql://user@127.0.0.1:9/none")
    aged(home / ".mien/checkpoints/vgg", 31)
    state = retention(return_state=True)
    assert state.is_failed()
    assert "@127.0.0.1:9/none: connection failed" in (state.message or "")
    assert "checkpoints: 1 deleted" in (state.message or "")


def test_invalid_setting_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_RETENTION_DAYS", "soon")
    state = retention(return_state=True)
    assert state.is_failed()
    assert "MIEN_RETENTION_DAYS" in (state.message or "")
