"""`mien erase`: removes a person's pictures and answers, and lists what still contains them.

    mien erase id0042                                   what would be removed; nothing is changed
    mien erase id0042 --yes                             removes it
    mien erase 01a209871df77c76842d20dbfb05ba3e --yes   an answer, with its kept and its collected picture

Removed are the files below `data/`, their rows in `data/attributes.csv` and `data/relabel.csv`, their copies
in DVC's cache, and the answers with feedback and kept pictures. What was made earlier stays and is listed:
versions of the data in git's history, and registered models that were trained on them. Copies on remotes and
in backups are named, not removed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from flows.errors import EraseRefused, FlowError
from flows.repro import commands
from flows.repro.data import cache_folder, leave_sample_remote, object_path
from flows.settings import has_observations, service_settings
from pipelines.core import paths
from pipelines.core.cli import run_stage
from pipelines.core.params import load_params
from pipelines.core.pixel_table import NAME as CSV_NAME
from pipelines.prepare.listing import find_sources
from pipelines.prepare.splitting import group_of
from pipelines.tracking.registry import look
from serving.errors import ServingError
from serving.errors.requests import ObservationUnknown
from serving.observations.images import PictureFolder
from serving.observations.store import Store
from serving.settings import Settings

_POINTER = f"{paths.DATA}.dvc"
_OTHER_FACE = re.compile(r"(?<=^[0-9a-f]{32})-\d+$")
"""What `collect` adds to an answer's id to name its second face and those after it."""
_SHORT = 12
"""Digits of a commit or hash that are printed."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What belongs to the people and answers that are to be erased."""

    names: tuple[str, ...]
    """As given: people by `prepare.group_pattern`, ids of answers, or files below `data/`."""
    pattern: str | None
    """`prepare.group_pattern`."""
    files: tuple[Path, ...]
    """Below `data/`."""
    answers: tuple[str, ...]
    """Ids of stored answers."""
    rows: Mapping[Path, tuple[str, ...]]
    """CSV file beside the pictures → what remains of it, line by line, where rows go."""
    hashes: frozenset[str]
    """MD5 of the files, by which DVC names its copies."""


@dataclass(frozen=True, kw_only=True)
class DataVersion:
    """A version of the data in git's history."""

    md5: str
    """Of DVC's listing, as in `data.dvc` and in the tag `data_dvc` of registered models."""
    commit: str
    date: str
    """Of the newest commit with it, YYYY-MM-DD."""
    pictures: int | None
    """Pictures of the subject in it; None if its listing is not in this checkout's cache."""


def find_subject(root: Path, names: Sequence[str], settings: Settings) -> Subject:
    """Find the files and answers of people.

    Args:
        root: the checkout.
        names: people by `prepare.group_pattern`, ids of answers, or files below `data/`.
        settings: the service's.

    Raises:
        EraseRefused: the data are a table.
        DataError: the data cannot be read.
        ServingError: the database of observations cannot be reached.
    """
    folder, pattern = root / paths.DATA, load_params(root / paths.PARAMS).prepare.group_pattern
    if (folder / CSV_NAME).is_file():
        raise EraseRefused(
            f"the data are {paths.DATA}/{CSV_NAME}, a table that names no people; remove its rows by hand"
        )
    sources = find_sources(folder, root=root).sources if folder.is_dir() else ()
    files = tuple(
        sorted(
            Path(source.locator)
            for source in sources
            if not _names_of(source.locator, pattern).isdisjoint(names)
        )
    )
    return Subject(
        names=tuple(names),
        pattern=pattern,
        files=files,
        answers=tuple(_answers(settings, sorted({*names, *(_answer_of(file.stem) for file in files)}))),
        rows=dict(_remaining_rows(root, names, files)),
        hashes=frozenset(_md5(root / file) for file in files),
    )


def _names_of(locator: str, pattern: str | None) -> set[str]:
    """The names that a picture, `data/…`, can be erased by: its person, its answer's id, its path."""
    path = PurePosixPath(locator)
    return {
        group_of(locator, pattern),
        path.stem,
        _answer_of(path.stem),
        path.relative_to(paths.DATA.as_posix()).as_posix(),
    }


def _answer_of(stem: str) -> str:
    """The id of the answer that a picture was collected of, without the number of its face."""
    return _OTHER_FACE.sub("", stem)


def _remaining_rows(
    root: Path, names: Sequence[str], files: Sequence[Path]
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Each CSV file that names the subject, without these rows."""
    keys = {*names, *(file.relative_to(paths.DATA).as_posix() for file in files)}
    for path in (paths.ATTRIBUTES, paths.RELABEL):
        if not (root / path).is_file():
            continue
        lines = (root / path).read_text(encoding="utf-8-sig").splitlines(keepends=True)
        kept = tuple(line for line in lines if _key(line) not in keys)
        if len(kept) < len(lines):
            yield path, kept


def _key(line: str) -> str:
    """The first value of a line of a CSV file: a person or a file."""
    return next(csv.reader(io.StringIO(line)), [""])[0].strip()


def data_versions(root: Path, subject: Subject) -> list[DataVersion]:
    """Versions of the data in all branches, newest first, that contain the subject or are unknown."""
    environment = commands.environment(os.environ)
    log = commands.run_git(["log", "--all", "--format=%H %cs", "--", _POINTER], root, environment)
    cache, found = cache_folder(root), dict[str, DataVersion]()
    for line in log.output.splitlines() if log.status == 0 else ():
        commit, _, date = line.partition(" ")
        pointer = commands.run_git(["show", f"{commit}:{_POINTER}"], root, environment)
        md5 = _pointed(pointer.output) if pointer.status == 0 else None
        if md5 is None or md5 in found:
            continue
        count = _contained(cache, md5, subject)
        if count != 0:
            found[md5] = DataVersion(md5=md5, commit=commit, date=date, pictures=count)
    return list(found.values())


def _pointed(pointer: str) -> str | None:
    """MD5 in a `data.dvc`; None if it has none."""
    try:
        return str(yaml.safe_load(pointer)["outs"][0]["md5"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        return None


def _contained(cache: Path, md5: str, subject: Subject) -> int | None:
    """Pictures of the subject in a version: by content, and by name, which also finds erased ones."""
    try:
        listing = json.loads((cache / object_path(md5)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return sum(
        entry["md5"] in subject.hashes
        or not _names_of(f"{paths.DATA}/{entry['relpath']}", subject.pattern).isdisjoint(subject.names)
        for entry in listing
    )


def models_of(model: str, versions: Sequence[DataVersion]) -> Iterator[str]:
    """A line for each registered version that was trained on one of these versions of the data."""
    by_md5 = {version.md5: version for version in versions}
    registry = look(model)
    for version in registry.versions() if registry is not None else ():
        data = by_md5.get(version.tags.get("data_dvc", ""))
        if data is not None:
            aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
            unknown = "; whether it contains them is unknown" if data.pictures is None else ""
            yield f"{model} version {version.number}{aliases}, trained on data {data.md5[:_SHORT]}{unknown}"


def erase(root: Path, subject: Subject, settings: Settings) -> Iterator[str]:
    """Remove the subject; yields a line for each thing that was removed.

    Raises:
        EraseRefused: DVC cannot add the data.
        ServingError: the database of observations cannot be reached.
    """
    if subject.answers:
        with _opened(settings) as store:
            for id in subject.answers:
                store.delete(id)
        yield f"answers: {len(subject.answers)} removed, with feedback and kept pictures"
    if not subject.files and not subject.rows:
        return
    for path, kept in subject.rows.items():
        (root / path).write_text("".join(kept), encoding="utf-8")
        yield f"{path}: rows removed"
    for file in subject.files:
        (root / file).unlink()
    yield f"{paths.DATA}/: {len(subject.files)} pictures removed"
    if (root / _POINTER).is_file():
        added = commands.run_dvc(["add", "--quiet", str(paths.DATA)], root, commands.environment(os.environ))
        if added.status != 0:
            raise EraseRefused(f"the pictures are removed, but `dvc add data` failed: {added.reason}; run it")
        # The sample's remote is in git, and `prepare` refuses other data than the sample that name it.
        leave_sample_remote(root / _POINTER)
        yield f"{_POINTER}: a new version of the data"
    cache = cache_folder(root)
    copies = [cache / object_path(md5) for md5 in sorted(subject.hashes - _present(root))]
    present = [copy for copy in copies if copy.is_file()]
    for copy in present:
        copy.unlink()
    yield f"DVC's cache: {len(present)} copies removed"


def _present(root: Path) -> set[str]:
    """MD5 of all pictures of the present data: two files with the same content share a copy."""
    return {_md5(path) for path in (root / paths.DATA).rglob("*") if path.is_file()}


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _answers(settings: Settings, ids: Iterable[str]) -> Iterator[str]:
    """Those of the ids that are of stored answers."""
    if not has_observations(settings):
        return
    with _opened(settings) as store:
        for id in ids:
            try:
                store.observation(id)
            except ObservationUnknown:
                continue
            yield id


@contextmanager
def _opened(settings: Settings) -> Iterator[Store]:
    pictures = PictureFolder(settings.keep_images_dir, fraction=0.0)
    store = Store(settings.database_url.reveal(), pictures=pictures)
    try:
        yield store
    finally:
        store.close()


def report(root: Path, versions: Sequence[DataVersion]) -> Iterator[str]:
    """Lines about what contains the subject apart from the present data."""
    for version in versions:
        what = (
            "not in this cache, so it is unknown whether it contains them"
            if version.pictures is None
            else f"{version.pictures} pictures"
        )
        yield f"in data {version.md5[:_SHORT]} (commit {version.commit[:_SHORT]}, {version.date}): {what}"
    yield from models_of(load_params(root / paths.PARAMS).register_.model, versions)
    yield (
        "not looked at: DVC's remotes, exported files, reports in MLflow (they show test pictures), backups; "
        "docs/security.md says how to erase there"
    )


def _run(names: Sequence[str], *, removes: bool) -> None:
    root = Path()
    settings = service_settings()
    subject = find_subject(root, names, settings)
    versions = data_versions(root, subject)
    if not (subject.files or subject.rows or versions or subject.answers):
        raise EraseRefused(
            f"nothing is of {', '.join(map(repr, names))}, expected a person by prepare.group_pattern "
            f"({subject.pattern}), an answer's id, or a file below {paths.DATA}/; check the name"
        )
    pictures, answers = len(subject.files), len(subject.answers)
    print(f"{', '.join(names)}: {pictures} pictures of {paths.DATA}/, {answers} answers")
    for file in subject.files:
        print(f"  {file}")
    for line in report(root, versions):
        print(line)
    if not removes:
        print("nothing was removed; `--yes` removes these pictures and answers")
        return
    for line in erase(root, subject, settings):
        print(line)
    if subject.files:
        print(f"next: commit {_POINTER}, run `mien run` and promote the new version")


def main() -> None:
    """Erase what the command line names."""
    parser = argparse.ArgumentParser(
        description="Remove a person's pictures and answers, and list what still contains them."
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="person, answer's id, or file below data/")
    parser.add_argument("--yes", action="store_true", help="remove; without it everything is only listed")
    arguments = parser.parse_args()
    try:
        run_stage(lambda: _run(arguments.names, removes=arguments.yes))
    except (FlowError, ServingError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
