"""A note that the registry was asked and knew: while its file is as it was then, it need not be asked again.

Importing MLflow and opening its store takes 3–6 s on two cores, more than all else that an unchanged `dvc
repro` does; looking at a file takes none. Any change of the SQLite file by anyone, such as a promotion
in the UI, makes the note void. A registry behind a server or in PostgreSQL is always asked.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.core import paths
from pipelines.core.io import read_json, sha256_of, write_json

MEMO = paths.CHECKPOINTS / "register.json"
"""Beside the training state: of this checkout only, and nothing is lost with it."""

_SQLITE = "sqlite:///"
# In WAL mode, recent changes stand in a second file.
_FILES = ("", "-wal", "-journal")

State = list[list[int | str]]


def store_state(uri: str) -> State | None:
    """What changes whenever the registry does; None where that cannot be told from here.

    Take it *before* asking the registry, so that a change meanwhile is noticed the next time.
    """
    if not uri.startswith(_SQLITE):
        return None
    path = uri.removeprefix(_SQLITE)
    state: State = [[uri]]
    for suffix in _FILES:
        try:
            status = Path(f"{path}{suffix}").stat()
        except OSError:
            if not suffix:
                return None
            continue
        state.append([suffix, status.st_ino, status.st_size, status.st_mtime_ns])
    return state


def remember(
    root: Path, state: State | None, case: str, *, stored: Path | None = None, version: int | None = None
) -> None:
    """Note that the registry, in `state`, knew the case with this digest, its version and its stored file."""
    if state is not None:
        more = {"stored": str(stored) if stored else None, "version": version}
        write_json(root / MEMO, _note(root, state, case) | more)


def noted_version(root: Path) -> int | None:
    """Number of the version in the note; ask only where `settled` said that the note holds."""
    found: int | None = read_json(root / MEMO)["version"]
    return found


def settled(root: Path, state: State | None, case: str) -> bool:
    """Whether registry, case and `gate.json` are as they were noted."""
    if state is None:
        return False
    try:
        noted = read_json(root / MEMO)
        stored, _ = noted.pop("stored"), noted.pop("version")
        return noted == _note(root, state, case) and (stored is None or Path(stored).is_file())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # no note, or a damaged one


def _note(root: Path, state: State, case: str) -> dict[str, object]:
    return {"store": state, "case": case, "gate": sha256_of(root / paths.GATE)}
