"""Which code and which data a result comes from: git commit, uncommitted changes, DVC's hash of the data."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from pipelines.core.paths import PARAMS

DATA_POINTER = Path("data.dvc")
UNKNOWN = "unknown"
FOREIGN_OWNER = "dubious ownership"
"""Git's words since 2.35.2 for a repository of another user, as on mounts and in containers."""

DEFINING = (
    "pipelines",
    "serving",
    str(PARAMS),
    "dvc.yaml",
    str(DATA_POINTER),
    "pyproject.toml",
    "requirements",
)
"""What shapes a result. Metrics and `dvc.lock`, which every run rewrites, do not make a tree dirty."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a result comes from."""

    commit: str
    """Git commit, 40 hexadecimal digits; `unknown` outside a git checkout."""
    dirty: bool
    """Whether code or parameters differ from that commit, so that it alone does not give the result."""
    data: str
    """MD5 that DVC recorded for the data folder in `data.dvc`; `unknown` without that file."""

    def tags(self) -> dict[str, str]:
        """As MLflow tags."""
        return {"git_commit": self.commit, "dirty": str(self.dirty).lower(), "data_dvc": self.data}


def read_lineage(root: Path) -> Lineage:
    """Lineage of the checkout at `root`; does not fail: an unknown commit is `unknown` and dirty.

    A warning on standard error gives git's reason, once per process, and a remedy.
    """
    data = _data_hash(root / DATA_POINTER)
    try:
        commit = _git(root, "rev-parse", "HEAD")
    except _GitFailed as error:
        _warn(root, "git_commit is 'unknown'", str(error))
        return Lineage(commit=UNKNOWN, dirty=True, data=data)
    try:
        changes = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *DEFINING)
    except _GitFailed as error:
        _warn(root, "the commit counts as changed", str(error))
        return Lineage(commit=commit, dirty=True, data=data)
    return Lineage(commit=commit, dirty=changes != "", data=data)


def commit_time(root: Path) -> float | None:
    """When the last commit of the checkout at `root` was made, Unix time in seconds; None without one."""
    try:
        return float(_git(root, "log", "-1", "--format=%ct"))
    except _GitFailed:
        return None


def git_remedy(reason: str, root: Path) -> str:
    """Remedy for a git command that failed for this reason."""
    if FOREIGN_OWNER in reason:
        return f"run `git config --global --add safe.directory {shlex.quote(str(root.resolve()))}`"
    return "run the pipeline in a git repository that has a commit, or its versions cannot be rebuilt"


class _GitFailed(Exception):
    """Git's own words, in one line."""


def _git(root: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(  # noqa: S603 - the arguments are this file's own
            ["git", "-C", str(root), *arguments],  # noqa: S607 - git is found on the user's own path
            capture_output=True,
            text=True,
            check=True,
            # Its messages in English, in which `git_remedy` looks for the cause.
            env=os.environ | {"LC_ALL": "C"},
        )
    except OSError as error:
        raise _GitFailed(f"git cannot be started ({error.strerror})") from error
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines()
        raise _GitFailed(lines[0] if lines else f"it ended with status {error.returncode}") from error
    return result.stdout.strip()


@cache
def _warn(root: Path, what: str, reason: str) -> None:
    print(f"warning: {what}: {reason}; {git_remedy(reason, root)}", file=sys.stderr)


def _data_hash(pointer: Path) -> str:
    try:
        outs = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"]
        return str(outs[0]["md5"])
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError):
        return UNKNOWN
