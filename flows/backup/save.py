"""Save what a clone of the git repository does not hold: `mien backup FOLDER`.

    python -m flows.backup /mnt/backups     prints the file that it wrote, what is in it and what is not

MLflow's database and artifacts, the service's observations and kept pictures, tuning results, and the objects
of DVC that the checkout's `dvc.lock` and `.dvc` files name. Other programs may write meanwhile. The file has
personal data, and only its owner can read it. Secrets are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from flows.backup.archive import FORMAT, Manifest, SavedFile, opened, write
from flows.backup.places import (
    check_space,
    files_below,
    git_lines,
    locked,
    read_places,
    recorded_objects,
    snapshot,
    summary,
    translated,
)
from flows.errors import BackupError, FlowError
from pipelines.core.cli import quiet_libraries
from pipelines.core.errors import PipelineError
from pipelines.core.io import sha256_of
from pipelines.core.lineage import read_lineage

_WORK = Path(".mien/backup")
_ATTEMPTS = 3
"""A file that another program replaces while it is read is rare; one that always changes is not a result."""
_SECRETS = (".dvc/config.local", ".env")


class _Changed(Exception):
    """A file changed between the moment when it was hashed and the end of the backup."""


def backup(root: Path, folder: Path) -> tuple[Path, Manifest]:
    """Write an archive into a folder, read it back, and give it its name once all of it is on the disk.

    Args:
        root: the checkout, which is the current folder.
        folder: is created if it does not exist.

    Raises:
        BackupError: a file cannot be read, or the disk is full.
        FlowError, PipelineError: the settings are not valid.
    """
    name = f"{socket.gethostname()}:{root.resolve()}"
    work = root / _WORK
    # One of each checkout: what was left by a killed backup is overwritten by the next one.
    partial = folder / f".mien-{hashlib.sha256(name.encode()).hexdigest()[:12]}.partial"
    with translated(folder), locked(root):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for _ in range(_ATTEMPTS):
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(mode=0o700, parents=True)
                try:
                    manifest = _write(root, work, partial)
                except _Changed as error:
                    reason = f"{error}, {_ATTEMPTS} times"
                else:
                    return _finish(partial, folder, manifest), manifest
        finally:
            partial.unlink(missing_ok=True)
            shutil.rmtree(work, ignore_errors=True)
    remedy = "wait until what writes there has ended, or check the disk"
    raise BackupError(what=root.resolve(), reason=reason, remedy=remedy)


def _write(root: Path, work: Path, partial: Path) -> Manifest:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    counts: dict[str, int] = {}
    left_out = list(_unsaved(root))
    sources = dict(_sources(root, work, counts, left_out))
    try:
        files = [
            SavedFile(name=name, size=path.stat().st_size, sha256=sha256_of(path))
            for name, path in sources.items()
        ]
        check_space(partial.parent, sum(file.size for file in files))
        commit = read_lineage(root).commit
        manifest = Manifest(
            format=FORMAT, commit=commit, time=now, counts=counts, left_out=left_out, files=files
        )
        write(partial, manifest, list(sources.values()))
    except OSError as error:
        # tarfile has no number for a file that ends too early.
        if error.errno is None or isinstance(error, FileNotFoundError):
            raise _Changed(f"{error.filename or 'a file'} was removed or shortened") from error
        raise
    try:
        with opened(partial) as archive:
            archive.verify()
    except BackupError as error:
        raise _Changed(f"a file changed while it was read ({error.reason})") from error
    return manifest


def _sources(
    root: Path, work: Path, counts: dict[str, int], left_out: list[str]
) -> Iterator[tuple[str, Path]]:
    """Name in the archive and path of every file; adds to the counts and to what is left out."""
    places, servers = read_places(root)
    left_out += servers
    for place in places:
        if place.kind == "database":
            if place.path.exists():
                copy = work / place.name
                counts |= snapshot(place.path, copy)
                yield place.name, copy
            continue
        if place.kind == "folder":
            names = list(files_below(place.path))
            counts[place.name] = len(names)
        else:
            names, missing = recorded_objects(root, place.path)
            counts["objects of DVC"] = len(names)
            if missing:
                left_out.append(
                    f"{missing:,} objects of DVC are not in its cache here: `dvc fetch` gets those that a "
                    "remote has"
                )
        yield from ((f"{place.name}/{name}", place.path / name) for name in names)


def _unsaved(root: Path) -> Iterator[str]:
    """What is not in an archive of this checkout, and what to do about it."""
    changed = git_lines(root, "status", "--porcelain", "--untracked-files=no")
    if changed:
        yield f"{len(changed)} files of git differ from the commit ({changed[0][3:]} …): commit and push them"
    elif not git_lines(root, "branch", "--remotes", "--contains", "HEAD"):
        yield "the commit is in no branch of a remote repository: push it"
    secrets = [name for name in _SECRETS if (root / name).exists()]
    also = f"{', '.join(secrets)}, and " if secrets else ""
    yield f"{also}keys and passwords of the environment are secrets: keep them where you keep secrets"


def _finish(partial: Path, folder: Path, manifest: Manifest) -> Path:
    """Give the archive its name, which lasts once the folder is on the disk."""
    path = folder / f"mien-{manifest.time[:19].replace(':', '').replace('-', '')}Z.tar"
    if path.exists():
        raise BackupError(what=path, reason="it exists already", remedy="start it again")
    partial.rename(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def run(command: Callable[[], None]) -> None:
    """Run a command; one line for an error, and signals to end clean up."""
    quiet_libraries()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda number, _: sys.exit(128 + number))
    try:
        command()
    except (FlowError, PipelineError) as error:
        sys.exit(f"error: {error}")


def main() -> None:
    """Save the current folder's state and say what was saved."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.backup", description="Save what a clone of the git repository does not hold."
    )
    parser.add_argument("folder", type=Path, help="where the archive is written to, best on another machine")
    path, manifest = backup(Path(), parser.parse_args().folder)
    print(f"{path}: {summary(manifest)}")
    for sentence in manifest.left_out:
        print(f"not in it: {sentence}")
