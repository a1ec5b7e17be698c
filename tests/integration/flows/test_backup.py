"""`mien backup` and `mien restore`: a project that was trained and served is there again in a fresh clone."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.backup.archive import Manifest
from flows.backup.places import check_space, snapshot
from flows.backup.restore import restore
from flows.backup.save import backup
from flows.errors import BackupError
from serving.observations.store import Store
from tests.support.dvc_project import REPOSITORY, DvcProject, new_project
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.mlflow_store import new_store
from tests.support.serving_models import LEVELS, NAME, FilledRegistry

STAGES = """
stages:
  prepare:
    cmd: wc -c data/faces.txt > prepared.txt && cp prepared.txt counted.txt
    deps: [data]
    outs:
    - prepared.txt
    - counted.txt: {cache: false}
"""
SECRET = "3f9d0c5b7a"  # noqa: S105 - the test's own
PICTURES = 3


@dataclass(frozen=True)
class Saved:
    """A project, what its service answered, and its archive."""

    root: Path
    archive: Path
    printed: str
    answers: list[Any]
    history: list[Any]


def run(
    module: str, *arguments: object, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command of this repository in another project."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@contextmanager
def service(root: Path) -> Iterator[Any]:
    """The service on the registry and the database of a project, keeping every picture."""
    settings = settings_in(
        root / ".mien", model=f"models:/{NAME}@production", tracking_uri=f"sqlite:///{root}/mlruns/mlflow.db",
        keep_images=1.0, drift=False,
    )  # fmt: skip
    with serving(settings) as client:
        yield ready(client)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    root = tmp_path_factory.mktemp("first") / "project"
    project = new_project(root, stages=STAGES)
    project.run("dvc", "repro", "--quiet")
    project.write(".gitignore", "/data\n/prepared.txt\n/.mien/\n/mlruns/\n/.env\n")
    project.commit("Results")
    project.write(".env", f"PASSWORD={SECRET}")
    project.write(
        ".dvc/config.local", f"['remote \"store\"']\n    url = s3://faces\n    secret_access_key = {SECRET}\n"
    )
    files = root / "mlruns/artifacts" / NAME
    registry = FilledRegistry(new_store(root), files)
    experiment = registry.client.create_experiment(NAME, artifact_location=files.as_uri())
    run_id = registry.client.create_run(experiment).info.run_id
    registry.client.log_metric(run_id, "accuracy", 0.75)
    registry.promote(registry.add())
    with service(root) as client:
        registry.promote(registry.add(run_id=run_id, levels=LEVELS[::-1]))
        until(lambda: client.get("/model").json()["live"]["version"] == "2")
        answers = [client.post("/detect", content=picture_of(index)).json() for index in range(PICTURES)]
        until(lambda: all(client.get(f"/predictions/{one['id']}").status_code == 200 for one in answers))
        until(lambda: len(client.get("/model/history").json()["switches"]) == 2)
        history = client.get("/model/history").json()["switches"]
        # The service has the database open.
        done = run("flows.backup", root.parent / "store", folder=root)
    assert done.returncode == 0, done.stderr
    [archive] = (root.parent / "store").iterdir()
    return Saved(root=root, archive=archive, printed=done.stdout, answers=answers, history=history)


@pytest.fixture
def clone(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone as the current folder."""
    root = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(saved.root), str(root)], check=True)
    monkeypatch.chdir(root)
    return root


def listing(root: Path) -> dict[str, bytes]:
    """Files of a project without git's own and locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.suffix != ".lock"
    }


def manifest_of(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as tar:
        stream = tar.extractfile("manifest.json")
        assert stream is not None
        found: dict[str, Any] = json.load(stream)
        return found


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


# Programs that write meanwhile


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


# Kills


@contextmanager
def big_file(root: Path) -> Iterator[Path]:
    """A picture that takes some tenths of a second to copy."""
    path = root / ".mien/pictures/2026-01-01/big.jpg"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(100_000_000)
    yield path


@contextmanager
def killed(root: Path, module: str, argument: Path, *, sign: Path, with_signal: int) -> Iterator[None]:
    """A command that is stopped, then killed, once something has appeared in the folder `sign`."""
    before = set(sign.iterdir()) if sign.exists() else set()
    with subprocess.Popen(
        [sys.executable, "-m", module, str(argument)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    ) as process:
        while not (sign.exists() and set(sign.iterdir()) - before):
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(with_signal)
            process.send_signal(signal.SIGCONT)
        assert process.wait() != 0


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


# Archives that are not what they should be


def rebuilt(
    archive: Path,
    to: Path,
    *,
    manifest: Callable[[dict[str, Any]], None] = lambda _: None,
    member: Callable[[tarfile.TarInfo], None] = lambda _: None,
) -> Path:
    """An archive with another manifest, or with other heads of members."""
    with tarfile.open(archive) as old, tarfile.open(to, "w") as new:
        for one in old.getmembers():
            stream = old.extractfile(one)
            assert stream is not None
            data = stream.read()
            if one.name == "manifest.json":
                changed = json.loads(data)
                manifest(changed)
                data = json.dumps(changed).encode()
                one.size = len(data)
            member(one)
            new.addfile(one, io.BytesIO(data) if one.isreg() else None)
    return to


def renamed(name: str) -> Callable[[Path, Path], Path]:
    """The last file under another name, in the manifest too."""

    def build(archive: Path, to: Path) -> Path:
        last = manifest_of(archive)["files"][-1]["name"]

        def rename(found: dict[str, Any]) -> None:
            found["files"][-1]["name"] = name

        def rename_member(one: tarfile.TarInfo) -> None:
            one.name = name if one.name == last else one.name

        return rebuilt(archive, to, manifest=rename, member=rename_member)

    return build


def linked(archive: Path, to: Path) -> Path:
    def link(one: tarfile.TarInfo) -> None:
        if one.name == "observations.db":
            one.type, one.linkname, one.size = tarfile.SYMTYPE, "/etc/passwd", 0

    return rebuilt(archive, to, member=link)


def cut(fraction: float) -> Callable[[Path, Path], Path]:
    def build(archive: Path, to: Path) -> Path:
        data = archive.read_bytes()
        to.write_bytes(data[: int(len(data) * fraction)])
        return to

    return build


def flipped(archive: Path, to: Path) -> Path:
    """One bit of a picture."""
    data = bytearray(archive.read_bytes())
    data[data.index(b"IDAT") + 8] ^= 1
    to.write_bytes(data)
    return to


def shortened_list(archive: Path, to: Path) -> Path:
    return rebuilt(archive, to, manifest=lambda found: found["files"].pop())


def later_format(archive: Path, to: Path) -> Path:
    return rebuilt(archive, to, manifest=lambda found: found.update(format=2))


def foreign(archive: Path, to: Path) -> Path:
    to.write_text("a letter\n" * 1000)
    return to


def foreign_tar(archive: Path, to: Path) -> Path:
    with tarfile.open(to, "w") as tar:
        tar.add(REPOSITORY / "LICENSE", "LICENSE")
    return to


def compressed(archive: Path, to: Path) -> Path:
    import gzip

    to.write_bytes(gzip.compress(archive.read_bytes(), 1))
    return to


BAD: dict[str, Callable[[Path, Path], Path]] = {
    "outside": renamed("pictures/../../../outside"),
    "absolute": renamed("/nowhere/outside"),
    "twice": renamed("mlflow.db"),
    "unknown place": renamed("hooks/post-checkout"),
    "link": linked,
    "half": cut(0.5),
    "nearly whole": cut(0.97),
    "empty": cut(0.0),
    "one bit": flipped,
    "manifest": shortened_list,
    "format": later_format,
    "foreign": foreign,
    "foreign tar": foreign_tar,
    "compressed": compressed,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_refused_before_anything_is_written(
    saved: Saved, clone: Path, tmp_path: Path, kind: str
) -> None:
    bad, before = BAD[kind](saved.archive, tmp_path / "bad.tar"), listing(clone)
    with pytest.raises(BackupError) as refused:
        restore(Path(), bad)
    assert refused.value.what == str(bad)
    assert listing(clone) == before
    assert not (tmp_path / "outside").exists()


def test_a_manifest_is_read_as_it_was_written(saved: Saved) -> None:
    assert set(manifest_of(saved.archive)) == set(Manifest.__dataclass_fields__)


# State that exists, servers, full disks


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


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a full disk does it: a write fails in the middle of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


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


def test_a_disk_that_is_too_small_is_named_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(BackupError) as refused:
        check_space(tmp_path, 1 << 62)
    assert refused.value.what == str(tmp_path)
    assert f"{1 << 62:,}" in refused.value.reason
    check_space(tmp_path, 0)


def test_a_damaged_database_is_not_saved(clone: Path, tmp_path: Path) -> None:
    (clone / "mlruns").mkdir()
    (clone / "mlruns/mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(BackupError) as refused:
        backup(Path(), tmp_path / "store")
    assert refused.value.what == str(clone / "mlruns/mlflow.db")
    assert list((tmp_path / "store").iterdir()) == []
