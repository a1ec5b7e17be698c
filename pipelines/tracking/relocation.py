"""Move the paths that MLflow's database records to where the project lies now: `make relocate`.

    python -m pipelines.tracking.relocation             (under a second)
    python -m pipelines.tracking.relocation --check     only says whether it is needed; status 1 where it is

MLflow records where every experiment, run and model keeps its files, as an absolute path. In a project that
was copied or moved these paths still name the original folder, and MLflow would write there.
`tracking.connect` refuses such a database; this command rewrites its paths in one transaction. Files are
neither moved nor copied.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pipelines.core.cli import run_stage
from pipelines.core.errors import RegistryError
from pipelines.core.paths import MLFLOW_ARTIFACTS
from pipelines.tracking import runs as tracking

# Where MLflow 3 keeps paths of artifacts (mlflow/store/tracking/dbmodels/models.py, model_registry/dbmodels).
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
_LOCK_TIMEOUT_S = 10.0


def relocate(database: Path) -> dict[Path, int]:
    """Rewrite recorded paths; returns how many were changed, by the folder that they named.

    Args:
        database: MLflow's SQLite file; its `artifacts` lie beside it.

    Raises:
        RegistryError: the files are not beside the database, or it cannot be written.
    """
    uri, home = f"sqlite:///{database}", database.absolute().parent
    try:
        with closing(sqlite3.connect(database, timeout=_LOCK_TIMEOUT_S, isolation_level=None)) as opened:
            opened.execute("BEGIN IMMEDIATE")
            homes = tracking.foreign_homes(opened, home)
            _check_files(opened, uri, homes, home)
            changed = {old: _rewrite(opened, old, home) for old in homes}
            opened.execute("COMMIT")
            return changed
    except sqlite3.Error as error:
        raise tracking.registry_error(uri, error) from error


def _check_files(opened: sqlite3.Connection, uri: str, homes: list[Path], home: Path) -> None:
    """Refuse to point the database at a folder that lacks experiments' files which the recorded one has.

    The original may have gone on: experiments that this database does not know are none of its own.
    """
    known = {str(location) for (location,) in opened.execute("SELECT artifact_location FROM experiments")}
    for old in homes:
        theirs, ours = old / MLFLOW_ARTIFACTS.name, home / MLFLOW_ARTIFACTS.name
        folders = [folder for folder in _folders(theirs) if not (ours / folder.name).exists()]
        missing = [folder.name for folder in folders if folder.as_uri() in known and _has_files(folder)]
        if missing:
            raise RegistryError(
                uri=uri,
                reason=f"{ours} lacks {', '.join(missing)}, which {theirs} has",
                remedy=f"copy the files first: cp -r {theirs} {home}",
            )


def _folders(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from sorted(path for path in parent.iterdir() if path.is_dir())


def _has_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


def _rewrite(opened: sqlite3.Connection, old: Path, new: Path) -> int:
    """Replace one folder by another at the beginning of every recorded path."""
    return sum(
        opened.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - names of this file's own
            f"WHERE substr({column}, 1, ?) = ?",
            (f"{after}/", len(before) + 2, len(before) + 1, f"{before}/"),
        ).rowcount
        for table, column in _recorded(opened)
        for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new)))
    )


def _recorded(opened: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Those of the columns that this version of MLflow's database has."""
    for table, column in _COLUMNS:
        names = {name for _, name, *_ in opened.execute(f"PRAGMA table_info({table})")}
        if column in names:
            yield table, column


def main() -> None:
    """Relocate the store that holds here, or say whether that is needed."""
    parser = argparse.ArgumentParser(
        description="Record where a copied or moved project's artifacts lie now."
    )
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 where paths are stale")
    check = parser.parse_args().check
    uri = tracking.tracking_uri()
    database = tracking.sqlite_file(uri)
    if database is None or not database.exists():
        if not check:
            print(f"{uri}: not an SQLite file of this machine, nothing to move")
        return
    if check:
        tracking.check_place(database)
        return
    changed = relocate(database)
    for old, count in changed.items():
        print(f"{count} recorded paths moved from {old} to {database.absolute().parent}")
    if not changed:
        print(f"every recorded path is in {database.absolute().parent} already")


if __name__ == "__main__":
    run_stage(main)
