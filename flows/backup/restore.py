"""Bring a backup back into a fresh clone: `mien restore FILE`.

    python -m flows.backup.restore /mnt/backups/mien-20261130T184700Z.tar

Nothing that exists is overwritten. The whole archive is read and compared with its hashes before anything is
written; files are extracted beside their places and renamed. MLflow's recorded paths are corrected, and `dvc
checkout` brings data and results. After a kill the same command goes on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.backup.archive import Archive, Manifest, SavedFile, opened
from flows.backup.places import Place, check_space, files_below, locked, read_places, summary, translated
from flows.backup.save import run
from flows.errors import BackupError
from flows.repro.commands import environment, run_dvc
from pipelines.core.io import sha256_of
from pipelines.core.lineage import read_lineage
from pipelines.tracking import runs as tracking
from pipelines.tracking.relocation import relocate

_MLFLOW = "mlflow.db"
Plan = Mapping[Place, Sequence[SavedFile]]
"""Place → its files in the archive, for those that are not there yet."""


def restore(root: Path, path: Path) -> Manifest:
    """Write an archive's files to their places.

    Args:
        root: the checkout, which is the current folder.
        path: of the archive.

    Returns:
        The archive's manifest.

    Raises:
        BackupError: the archive is damaged, a place holds something else, or the disk is full.
        FlowError, PipelineError: the settings are not valid.
    """
    with translated(path), locked(root), opened(path) as archive:
        plan = _plan(root, archive)
        archive.verify()
        with _extracted(archive, plan) as folders:
            for place, folder in folders.items():
                _put(folder / place.name, place)
        database = tracking.sqlite_file(tracking.tracking_uri())
        if _MLFLOW in archive.members and database is not None:
            relocate(database)
        return archive.manifest


def _plan(root: Path, archive: Archive) -> Plan:
    """What is to be written where; a database comes after the files that it names.

    Raises:
        BackupError: something else is there, or the place is not on this machine.
    """
    places, _ = read_places(root)
    files: dict[str, list[SavedFile]] = {}
    for saved in archive.manifest.files:
        files.setdefault(saved.name.partition("/")[0], []).append(saved)
    unknown = files.keys() - {place.name for place in places}
    if unknown:
        raise BackupError(
            what=archive.path,
            reason=f"it holds {min(unknown)}, which has no place on this machine",
            remedy="unset MLFLOW_TRACKING_URI or MIEN_DATABASE_URL if they name a server, or use the version "
            "of mien that wrote it",
        )
    return {
        place: files[place.name]
        for place in reversed(places)
        if place.name in files and not _is_restored(place, files[place.name])
    }


def _is_restored(place: Place, files: Sequence[SavedFile]) -> bool:
    """Whether a place has exactly these files, as after a restore that was killed.

    Raises:
        BackupError: it has something else.
    """
    path = place.path
    if place.kind == "cache":
        return False
    if place.kind == "folder":
        there = {f"{place.name}/{name}": path / name for name in files_below(path)}
    else:
        # What another database left beside it would be written into the restored one.
        names = {end: path.with_name(path.name + end) for end in ("", "-wal", "-journal")}
        there = {place.name + end: file for end, file in names.items() if file.exists()}
    saved = {file.name: file.sha256 for file in files}
    if not there and not (path.is_dir() and any(path.iterdir())):
        return False
    if there.keys() == saved.keys() and all(sha256_of(there[name]) == saved[name] for name in saved):
        return True
    remedy = f"restore into a fresh clone, or move it away: `mv {path} {path}.before`"
    raise BackupError(what=path, reason="it exists, and is not overwritten", remedy=remedy)


@contextmanager
def _extracted(archive: Archive, plan: Plan) -> Iterator[dict[Place, Path]]:
    """Extract every place's files into a folder beside it, on the same file system; yields the folders."""
    folders = {place: place.path.with_name(f".{place.path.name}.restoring") for place in plan}
    needed: dict[int, int] = {}
    try:
        for place, folder in folders.items():
            # Of a restore that was killed.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            disk = folder.stat().st_dev
            needed[disk] = needed.get(disk, 0) + sum(file.size for file in plan[place])
            check_space(folder, needed[disk])
        for place, folder in folders.items():
            archive.extract(plan[place], folder)
        yield folders
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def _put(extracted: Path, place: Place) -> None:
    """Move what was extracted to its place."""
    if place.kind == "cache":
        for name in files_below(extracted):
            # An object's name is its hash, so one that is there is the same.
            if not (place.path / name).exists():
                (place.path / name).parent.mkdir(parents=True, exist_ok=True)
                (extracted / name).replace(place.path / name)
        return
    if place.name == "pictures":
        for folder in (extracted, *(path for path in extracted.rglob("*") if path.is_dir())):
            folder.chmod(0o700)
    extracted.replace(place.path)


def main() -> None:
    """Restore an archive into the current folder and say what was restored."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.backup.restore", description="Bring a backup back into a fresh clone."
    )
    parser.add_argument("file", type=Path, help="archive that `mien backup` wrote")
    root = Path()
    manifest = restore(root, parser.parse_args().file)
    print(f"restored the state of {manifest.time}: {summary(manifest)}")
    for sentence in manifest.left_out:
        print(f"was not in it: {sentence}")
    commit = read_lineage(root).commit
    if commit != manifest.commit:
        print(
            f"warning: the backup is of commit {manifest.commit[:12]}, this is {commit[:12]}; "
            f"run `git checkout {manifest.commit[:12]} && dvc checkout` for its data and results",
            file=sys.stderr,
        )
    done = run_dvc(["checkout", "--quiet", "--allow-missing"], root, environment(os.environ))
    if done.status:
        print(f"warning: `dvc checkout` failed: {done.reason}; run it again", file=sys.stderr)


if __name__ == "__main__":
    run(main)
