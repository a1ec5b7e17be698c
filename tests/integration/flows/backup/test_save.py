"""`mien backup`: what is in the archive, and that a failed or killed backup leaves none."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from flows.backup.places import snapshot
from flows.backup.restore import restore
from flows.backup.save import backup
from flows.errors import BackupError
from tests.support.backups import (
    PICTURES,
    SECRET,
    Saved,
    big_file,
    killed,
    listing,
    manifest_of,
)
from tests.support.files import files_of_at_most
from tests.support.http_service import until


def test_the_archive_is_its_owner_s_and_has_no_secret(saved: Saved) -> None:
    assert saved.archive.stat().st_mode & 0o777 == 0o600
    assert SECRET.encode() not in saved.archive.read_bytes()
    with tarfile.open(saved.archive) as tar:
        names = tar.getnames()
    manifest = manifest_of(saved.archive)
    assert names == ["manifest.json", *(file["name"] for file in manifest["files"])]
    assert {name.partition("/")[0] for name in names[1:]} == {
        "mlflow.db", "observations.db", "artifacts", "pictures", "cache",
    }  # fmt: skip
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=saved.root, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert manifest["commit"] == head
    # data/, its file and prepared.txt; counted.txt is in git.
    expected = {"runs": 1, "versions": 2, "observations": PICTURES, "pictures": PICTURES, "objects of DVC": 3}
    assert expected.items() <= manifest["counts"].items()
    for what in (*(f"{name} {count}" for name, count in expected.items()), ".env", ".dvc/config.local"):
        assert what in saved.printed
    assert not (saved.root / ".mien/backup").exists()


def test_objects_that_are_not_here_and_uncommitted_results_are_named(
    saved: Saved, clone: Path, tmp_path: Path
) -> None:
    (clone / "params.yaml").write_text("changed: 1\n")
    _, manifest = backup(Path(), tmp_path / "store")
    assert [part for part in manifest.left_out if "params.yaml" in part]
    # The file of data/ is listed in an object that is missing too.
    assert [part for part in manifest.left_out if part.startswith("2 objects of DVC")]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_is_copied_between_two_transactions(tmp_path: Path, mode: str) -> None:
    path, stop = tmp_path / "written.db", threading.Event()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("CREATE TABLE pairs (number INTEGER, half INTEGER, filling TEXT)")
        filling = [(0, 0, "x" * 1000)] * 2000
        database.executemany("INSERT INTO pairs VALUES (?, ?, ?)", filling)
        database.commit()
    written: list[int] = []

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            while not stop.is_set():
                number = len(written) + 1
                for half in (1, 2):
                    database.execute("INSERT INTO pairs VALUES (?, ?, '')", (number, half))
                database.commit()
                written.append(number)
                time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: written)
        copies = []
        for index in range(5):
            before = len(written)
            snapshot(path, tmp_path / f"{index}.db")
            copies.append(before)
    finally:
        stop.set()
        writer.join()
    for index, before in enumerate(copies):
        with closing(sqlite3.connect(tmp_path / f"{index}.db")) as copy:
            halves = copy.execute("SELECT number, count(*) FROM pairs WHERE number > 0 GROUP BY number")
            found = dict(halves.fetchall())
        assert set(found.values()) == {2}
        assert sorted(found) == list(range(1, len(found) + 1))
        assert before <= len(found) <= len(written)


def test_a_file_that_keeps_changing_ends_the_backup(clone: Path, tmp_path: Path) -> None:
    counter = clone / "mlruns/artifacts/counter.txt"
    counter.parent.mkdir(parents=True)
    code = (
        f"file = open({str(counter)!r}, 'wb', buffering=0)\n"
        "for number in range(10**12): file.seek(0); file.write(b'%012d' % number)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as writer:
        try:
            until(lambda: counter.exists() and counter.stat().st_size)
            with pytest.raises(BackupError, match=r"counter\.txt"):
                backup(Path(), tmp_path / "store")
        finally:
            writer.kill()
    assert list((tmp_path / "store").iterdir()) == []


def test_one_backup_of_a_checkout_at_a_time(clone: Path, tmp_path: Path) -> None:
    with (
        big_file(clone),
        killed(clone, "flows.backup", tmp_path, sign=tmp_path, with_signal=signal.SIGKILL),
        pytest.raises(BackupError, match="another backup"),
    ):
        backup(Path(), tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_backup_leaves_no_archive(clone: Path, tmp_path: Path, number: signal.Signals) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with big_file(clone) as big:
        with killed(clone, "flows.backup", store, sign=store, with_signal=number):
            assert [path.stat().st_mode & 0o777 for path in store.iterdir()] == [0o600]
        assert not list(store.glob("*.tar"))
        if number != signal.SIGKILL:
            assert list(store.iterdir()) == []
            assert not (clone / ".mien/backup").exists()
        big.unlink()
    path, _ = backup(Path(), store)
    assert list(store.iterdir()) == [path]


def test_what_is_on_servers_is_named_without_its_password(
    clone: Path, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_DATABASE_URL", f"postgresql://mien:{SECRET}@db.example/mien")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://mien:{SECRET}@mlflow.example")
    _, manifest = backup(Path(), tmp_path / "store")
    servers = [part for part in manifest.left_out if "pg_dump" in part]
    assert [any(host in part for part in servers) for host in ("db.example", "mlflow.example")] == [
        True,
        True,
    ]
    assert SECRET not in "".join(manifest.left_out)
    before = listing(clone)
    with pytest.raises(BackupError, match="MIEN_DATABASE_URL"):
        restore(Path(), saved.archive)
    assert listing(clone) == before


def test_a_write_that_fails_leaves_nothing(saved: Saved, clone: Path, tmp_path: Path) -> None:
    before = listing(clone)
    with files_of_at_most(20_000), pytest.raises(BackupError, match="File too large"):
        restore(Path(), saved.archive)
    assert listing(clone) == before
    restore(Path(), saved.archive)
    with files_of_at_most(1_000_000), pytest.raises(BackupError):
        backup(Path(), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []
    assert not (clone / ".mien/backup").exists()


def test_a_damaged_database_is_not_saved(clone: Path, tmp_path: Path) -> None:
    (clone / "mlruns").mkdir()
    (clone / "mlruns/mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(BackupError) as refused:
        backup(Path(), tmp_path / "store")
    assert refused.value.what == str(clone / "mlruns/mlflow.db")
    assert list((tmp_path / "store").iterdir()) == []
