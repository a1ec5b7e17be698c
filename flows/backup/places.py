"""Where the state lies that git does not hold, by this environment's settings."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import yaml

from flows.backup.archive import Manifest
from flows.errors import BackupError
from flows.repro.commands import environment, run_git
from flows.repro.data import cache_folder, object_path
from flows.settings import service_settings
from pipelines.core.paths import MLFLOW_ARTIFACTS, TUNING
from pipelines.tracking import runs as tracking
from serving.urls import mask_urls

_HOME = Path(".mien")
TABLES: Mapping[str, Mapping[str, str]] = {
    "mlflow.db": {"runs": "runs", "versions": "model_versions"},
    "observations.db": {"observations": "observations"},
}
"""Name of a database → what is counted in it → table."""


@dataclass(frozen=True)
class Place:
    """A file or a folder outside of git."""

    name: str
    """In archives."""
    kind: Literal["database", "folder", "cache"]
    """`cache` is a folder of files that are named by their content, to which files are added."""
    path: Path
    """Absolute, without links."""


def read_places(root: Path) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """Read where the state is from the settings.

    Args:
        root: the checkout, which is the current folder.

    Returns:
        The places on this machine, and a sentence for each server that has state too. A database comes before
        the files that it names, so that what is added while they are copied is a file too many, not one too
        few; restoring has the reverse order.

    Raises:
        SettingsInvalid: a setting of the service.
        RegistryError: `MLFLOW_TRACKING_URI` is not allowed here.
        WorkspaceFailed: DVC's settings are damaged.
    """
    settings = service_settings()
    uri, url = tracking.tracking_uri(), settings.database_url.reveal()
    mlflow, observations = tracking.sqlite_file(uri), tracking.sqlite_file(url)
    places, servers = [Place("tuning.db", "database", root / TUNING)], []
    if observations is None:
        servers.append(f"the observations of {mask_urls(url)}: save them with pg_dump")
    else:
        places.append(Place("observations.db", "database", observations))
    if mlflow is None:
        servers.append(
            f"MLflow's store at {mask_urls(uri)}: save its database with pg_dump, and the bucket of its "
            "artifacts with the bucket's own tools"
        )
    else:
        places.append(Place("mlflow.db", "database", mlflow))
        places.append(Place("artifacts", "folder", mlflow.parent / MLFLOW_ARTIFACTS.name))
    places.append(Place("pictures", "folder", settings.keep_images_dir))
    places.append(Place("cache", "cache", cache_folder(root)))
    return tuple(replace(place, path=place.path.resolve()) for place in places), tuple(servers)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the checkout's lock of backups.

    Raises:
        BackupError: another backup or restore holds it.
    """
    path = root / _HOME / "backup.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reason = "another backup or restore of this checkout is running"
            raise BackupError(what=root.resolve(), reason=reason, remedy="wait until it has ended") from None
        yield


@contextmanager
def translated(what: Path) -> Iterator[None]:
    """Turn an error of the operating system into one line.

    Raises:
        BackupError: in its place.
    """
    try:
        yield
    except OSError as error:
        raise BackupError(
            what=error.filename or what,
            reason=error.strerror or str(error),
            remedy="make room on the disk or correct the permissions, and start it again",
        ) from error


def check_space(folder: Path, needed: int) -> None:
    """Compare the free space of a folder's disk with a number of bytes.

    Raises:
        BackupError: it is too small.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        reason = f"{needed:,} bytes are needed and {free:,} are free"
        raise BackupError(what=folder, reason=reason, remedy="make room on this disk, or use another one")


def snapshot(database: Path, copy: Path) -> dict[str, int]:
    """Copy an SQLite file while others write to it; returns what `TABLES` counts in it.

    The copy is the state between two transactions (https://sqlite.org/backup.html): in one step, because a
    copy in several starts again with every write of another process.

    Raises:
        BackupError: the file is damaged or not an SQLite database, or the disk is full.
    """
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            found = target.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            known = {name for (name,) in target.execute("SELECT name FROM sqlite_master")}
            return {
                what: target.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - from TABLES
                for what, table in TABLES.get(copy.name, {}).items()
                if table in known
            }
    except sqlite3.Error as error:
        raise BackupError(
            what=database,
            reason=str(error),
            remedy=f"check it with `sqlite3 {database} 'PRAGMA integrity_check'`, and the space of the disk",
        ) from error


def files_below(folder: Path) -> Iterator[str]:
    """Paths of the files of a folder, without temporary ones, relative to it and sorted."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(".partial"):
            yield path.relative_to(folder).as_posix()


def git_lines(root: Path, *arguments: str) -> list[str]:
    """What a git command prints, by lines or (`-z`) by NUL characters; empty if it fails."""
    done = run_git(arguments, root, environment(os.environ))
    return done.output.replace("\0", "\n").splitlines() if done.status == 0 else []


def recorded_objects(root: Path, cache: Path) -> tuple[list[str], int]:
    """Objects of DVC that this checkout's `dvc.lock` and `.dvc` files name.

    Args:
        root: the checkout.
        cache: DVC's cache folder.

    Returns:
        Paths inside the cache of those that are there, sorted, and the number of the others; without what
        git holds itself (`cache: false`).
    """
    tracked = git_lines(root, "ls-files", "-z")
    kept = {*tracked, *(str(parent) for name in tracked for parent in Path(name).parents)}
    found, missing = set[str](), set[str]()
    for path, digest in _outputs(root, tracked):
        for one in (digest, *_contents(cache / object_path(digest))):
            if (cache / object_path(one)).is_file():
                found.add(object_path(one))
            elif path not in kept:
                missing.add(one)
    return sorted(found), len(missing)


def _outputs(root: Path, tracked: list[str]) -> Iterator[tuple[str, str]]:
    """Path and MD5 of every output in DVC's files."""
    for name in tracked:
        if not name.endswith(".dvc") and Path(name).name != "dvc.lock":
            continue
        recorded = yaml.load((root / name).read_text(encoding="utf-8"), yaml.CSafeLoader) or {}
        for part in (recorded, *recorded.get("stages", {}).values()):
            for out in part.get("outs", ()):
                if "md5" in out:
                    yield (Path(name).parent / out["path"]).as_posix(), str(out["md5"])


def _contents(listing: Path) -> list[str]:
    """MD5s of the files of a folder, whose object lists them."""
    if listing.suffix != ".dir" or not listing.is_file():
        return []
    return [str(item["md5"]) for item in json.loads(listing.read_text(encoding="utf-8"))]


def summary(manifest: Manifest) -> str:
    """What an archive holds, for a terminal."""
    size = sum(file.size for file in manifest.files) / 1e6
    counts = "".join(f"{what} {count:,}, " for what, count in manifest.counts.items())
    return f"{counts}files {len(manifest.files):,}, {size:,.1f} MB"
