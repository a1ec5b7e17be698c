"""Which code and which data a result comes from: git commit, uncommitted changes, DVC's hash of the data."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.layout import PARAMS

DATA_POINTER = Path("data.dvc")
UNKNOWN = "unknown"

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
    """Lineage of the checkout at `root`; never fails, what cannot be told is `unknown` and dirty."""
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *DEFINING)
    return Lineage(
        commit=commit or UNKNOWN,
        dirty=commit is None or changes is None or changes != "",
        data=_data_hash(root / DATA_POINTER),
    )


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(  # noqa: S603 - the arguments are this file's own
            ["git", "-C", str(root), *arguments],  # noqa: S607 - git is found on the user's own path
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def _data_hash(pointer: Path) -> str:
    try:
        outs = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"]
        return str(outs[0]["md5"])
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError):
        return UNKNOWN
