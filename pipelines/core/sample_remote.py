"""The sample's DVC remote inside the repository, `.dvc/sample`: it holds the sample's files and nothing else.

    python -m pipelines.core.sample_remote FILE…     status 1 if one of these files is not the sample's

The remote is in git, so pictures that are pushed to it are published with the repository. `.dvc/sample.md5`
lists the hashes of the sample's files. git ignores others, `data.dvc` says `push: false`, and `prepare` and
the pre-commit hook refuse what comes in another way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from pipelines.core.cli import run_stage
from pipelines.core.errors import PrivateData

REMOTE = Path(".dvc/sample")
HASHES = Path(".dvc/sample.md5")
POINTER = Path("data.dvc")
_NAME = REMOTE.name
_SHOWN = 3


def check_remote(root: Path) -> None:
    """Refuse other pictures than the sample's in its remote, and a `data.dvc` that would bring them there.

    Raises:
        PrivateData: there are some, or they would be pushed there.
    """
    folder = root / REMOTE
    if not folder.is_dir():
        return
    check_files(root, (path.relative_to(root) for path in folder.rglob("*") if path.is_file()))
    _check_pointer(root)


def check_files(root: Path, files: Iterable[Path]) -> None:
    """Refuse files of the remote, relative to `root`, whose hashes are not listed.

    Raises:
        PrivateData: there are some.
    """
    known = _hashes(root)
    # DVC names a file by its hash, whose first two digits are the folder.
    foreign = sorted(path for path in files if path.parent.name + path.name not in known)
    if foreign:
        shown = ", ".join(str(path) for path in foreign[:_SHOWN])
        raise PrivateData(
            what=f".dvc/sample is in git and holds {len(foreign)} file(s) that are not the sample's "
            f"({shown})",
            remedy="push them to a remote of your own first if they are nowhere else, then run "
            f"`git clean -fdX {REMOTE}`; `git rm` those that a commit holds already",
        )


def has_sample_pointer(root: Path) -> bool:
    """Whether `data.dvc` names the sample's pictures."""
    named = [digest for digest, _ in _pointers(root)]
    return bool(named) and _hashes(root).issuperset(named)


def _check_pointer(root: Path) -> None:
    if not _hashes(root).issuperset(digest for digest, remote in _pointers(root) if remote == _NAME):
        raise PrivateData(
            what="data.dvc names pictures of your own and still the sample's remote, which is in git",
            remedy="run `dvc remove data.dvc && dvc add data`; the pictures stay where they are",
        )


def _pointers(root: Path) -> list[tuple[str, str | None]]:
    """Hash and remote of each output of `data.dvc`; none if it is missing or damaged, which DVC explains."""
    try:
        outs = yaml.safe_load((root / POINTER).read_text(encoding="utf-8"))["outs"]
        return [(str(out["md5"]), out.get("remote")) for out in outs]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return []


def _hashes(root: Path) -> set[str]:
    """Hashes of the sample's files, the listing of its folder (`….dir`) among them."""
    listed = root / HASHES
    return set(listed.read_text(encoding="ascii").split()) if listed.exists() else set()


def main() -> None:
    """Check the files that are named on the command line, as pre-commit does."""
    check_files(Path(), map(Path, sys.argv[1:]))


if __name__ == "__main__":
    run_stage(main)
