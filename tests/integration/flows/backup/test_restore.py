"""`mien restore`: a project that was trained and served is there again in a fresh clone."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.backup.places import check_space
from flows.backup.restore import restore
from flows.backup.save import backup
from flows.errors import BackupError
from serving.observations.store import Store
from tests.support.backups import (
    PICTURES,
    Saved,
    big_file,
    killed,
    listing,
    manifest_of,
    run,
    service,
)
from tests.support.dvc_project import DvcProject
from tests.support.http_service import picture_of
from tests.support.serving_models import NAME


def test_a_clone_answers_as_the_original_after_one_command(saved: Saved, clone: Path) -> None:
    done = run("flows.backup.restore", saved.archive, folder=clone)
    assert (done.returncode, done.stderr) == (0, "")
    with service(clone) as client:
        live = client.get("/model").json()["live"]
        assert live["version"] == "2"
        for index, before in enumerate(saved.answers):
            now = client.post("/detect", content=picture_of(index)).json()
            assert now["emotion"] == before["emotion"]
            assert now["faces"] == before["faces"]
            stored = client.get(f"/predictions/{before['id']}").json()
            assert stored["emotion"] == before["emotion"]
        switches = client.get("/model/history").json()["switches"]
        assert saved.history[0]["to_version"] == "2"
        assert [switch for switch in switches if switch in saved.history] == saved.history

    client = MlflowClient(tracking_uri="sqlite:///mlruns/mlflow.db")
    [found] = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert found.data.metrics == {"accuracy": 0.75}
    dump = "\n".join(sqlite3.connect("mlruns/mlflow.db").iterdump())
    assert saved.root.as_uri() not in dump
    assert (clone / "mlruns").as_uri() in dump

    project = DvcProject(clone)
    assert (clone / "data/faces.txt").read_text() == (saved.root / "data/faces.txt").read_text()
    assert "up to date" in project.run("dvc", "repro")
    assert project.run("git", "status", "--porcelain") == ""


def test_the_window_of_drift_is_the_same_beside_an_original_that_went_on(saved: Saved, clone: Path) -> None:
    later = saved.root / "mlruns/artifacts/later/model.txt"
    later.parent.mkdir(exist_ok=True)
    later.write_text("of an experiment that the backup does not know")
    restore(Path(), saved.archive)
    windows = []
    for root in (saved.root, clone):
        store = Store(f"sqlite:///{root}/.mien/observations.db")
        windows.append(store.window("2", last_n=100))
        store.close()
    assert windows[0] == windows[1]
    pictures = [sorted((root / ".mien/pictures").rglob("*.png")) for root in (saved.root, clone)]
    assert [one.read_bytes() for one in pictures[0]] == [one.read_bytes() for one in pictures[1]]
    assert len(pictures[1]) == PICTURES
    modes = {path.stat().st_mode & 0o777 for path in (pictures[1][0].parent, *pictures[1])}
    assert modes == {0o700, 0o600}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_restore_can_be_repeated(
    saved: Saved, clone: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with big_file(clone):
        archive, _ = backup(Path(), tmp_path / "store")
    shutil.rmtree(clone / ".mien")
    with killed(clone, "flows.backup.restore", archive, sign=clone / ".mien", with_signal=number):
        pass
    # The lock is the first to appear, so the first kill is before anything; now one while it extracts.
    with killed(clone, "flows.backup.restore", archive, sign=clone / ".mien", with_signal=number):
        assert (clone / ".mien/.pictures.restoring").exists()
    assert not (clone / ".mien/pictures").exists()
    assert (clone / ".mien/.pictures.restoring").exists() == (number == signal.SIGKILL)
    restore(Path(), archive)
    assert (clone / ".mien/pictures/2026-01-01/big.jpg").stat().st_size == 100_000_000
    assert not list(clone.rglob("*.restoring"))


def test_a_restore_goes_on_where_it_was_killed(saved: Saved, clone: Path) -> None:
    restore(Path(), saved.archive)
    whole = listing(clone)
    # Killed before the last rename, and between it and the correction of MLflow's paths.
    (clone / "mlruns/mlflow.db").unlink()
    restore(Path(), saved.archive)
    with tarfile.open(saved.archive) as tar:
        tar.extract("mlflow.db", clone / "mlruns", filter="data")
    restore(Path(), saved.archive)
    with closing(sqlite3.connect(clone / "mlruns/mlflow.db")) as database:
        assert saved.root.as_uri() not in "\n".join(database.iterdump())
    assert listing(clone).keys() == whole.keys()


@pytest.mark.parametrize(
    "name",
    [
        ".mien/observations.db", ".mien/observations.db-wal", ".mien/pictures/2026-01-01/a.png",
        "mlruns/mlflow.db", "mlruns/artifacts/emotion/other.txt", "mlruns/artifacts/emotion/empty/",
    ],
)  # fmt: skip
def test_what_exists_is_not_overwritten(saved: Saved, clone: Path, name: str) -> None:
    (clone / name).parent.mkdir(parents=True)
    if name.endswith("/"):
        (clone / name).mkdir()
    else:
        (clone / name).write_text("mine")
    before = listing(clone)
    with pytest.raises(BackupError, match="not overwritten") as refused:
        restore(Path(), saved.archive)
    assert name.startswith(str(Path(refused.value.what).relative_to(clone)))
    assert listing(clone) == before


def test_settings_say_where_things_are(
    saved: Saved, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    (away / "disk").mkdir(parents=True)
    (away / "link").symlink_to(away / "disk")
    monkeypatch.setenv("MIEN_DATABASE_URL", "sqlite:///state/answers.sqlite")
    monkeypatch.setenv("MIEN_KEEP_IMAGES_DIR", str(away / "link/kept"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{away}/tracking/store.db")
    DvcProject(clone).run("dvc", "cache", "dir", "--local", str(away / "objects"))
    restore(Path(), saved.archive)
    with closing(sqlite3.connect(clone / "state/answers.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM observations").fetchone() == (PICTURES,)
    assert len(list((away / "disk/kept").rglob("*.png"))) == PICTURES
    with closing(sqlite3.connect(away / "tracking/store.db")) as database:
        [(location,)] = database.execute("SELECT artifact_location FROM experiments WHERE name = ?", (NAME,))
    assert location == (away / "tracking/artifacts" / NAME).as_uri()
    assert not (clone / ".dvc/cache").exists()
    assert {path.stat().st_mode & 0o777 for path in (away / "objects").rglob("*") if path.is_file()} == {
        0o444
    }

    with closing(sqlite3.connect(clone / ".mien/tuning.db")) as database:
        database.execute("CREATE TABLE trials (value REAL)")
    path, manifest = backup(Path(), tmp_path / "store")
    before = manifest_of(saved.archive)
    names = [file["name"] for file in before["files"]]
    assert sorted(file.name for file in manifest.files) == sorted([*names, "tuning.db"])
    assert before["counts"] == manifest.counts
    shutil.rmtree(away)
    shutil.rmtree(clone / "state")
    (clone / ".mien/tuning.db").unlink()
    (away / "disk").mkdir(parents=True)
    (away / "link").symlink_to(away / "disk")
    restore(Path(), path)
    with closing(sqlite3.connect(clone / ".mien/tuning.db")) as database:
        assert database.execute("SELECT count(*) FROM trials").fetchone() == (0,)
    assert len(list((away / "disk/kept").rglob("*.png"))) == PICTURES


def test_another_commit_is_reported(saved: Saved, clone: Path) -> None:
    project = DvcProject(clone)
    project.run(
        "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "More"
    )
    done = run("flows.backup.restore", saved.archive, folder=clone)
    assert done.returncode == 0
    assert manifest_of(saved.archive)["commit"][:12] in done.stderr


def test_a_disk_that_is_too_small_is_named_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(BackupError) as refused:
        check_space(tmp_path, 1 << 62)
    assert refused.value.what == str(tmp_path)
    assert f"{1 << 62:,}" in refused.value.reason
    check_space(tmp_path, 0)
