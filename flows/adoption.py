"""A new commit begins with the results of the one before it; DVC decides which of them still hold.

DVC's run cache would do the same, but leaves out stages with outputs that git keeps (`cache: false`): most.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flows import commands
from flows.commands import Done
from flows.workspace import COMMIT_DIGITS, Workspace
from pipelines.lineage import DEFINING

_LOCK = "dvc.lock"
# What shapes results is the new commit's own, and so are DVC's settings.
_NOT_ADOPTED = (*DEFINING, ".dvc", ".dvcignore")


def adopt(workspace: Workspace) -> Path | None:
    """Take over dvc.lock and what git keeps of the results from the newest other clone of the same profile.

    Nothing happens where the clone has results of its own, or where its commit has others than those that
    the other run began with.

    Returns:
        The other clone, None if nothing was taken over.
    """
    if _has_own(workspace):
        return None
    other = _newest_other(workspace)
    if other is None:
        return None
    base = other.name[:COMMIT_DIGITS]
    if workspace.git("cat-file", "-e", f"{base}^{{commit}}").status != 0:
        return None
    if _blob(workspace, base) != _blob(workspace, workspace.commit):
        return None
    for name in _results(workspace, other, base):
        target = workspace.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(other / name, target)
    return other


def _has_own(workspace: Workspace) -> bool:
    head = workspace.git("rev-parse", "HEAD").output.strip()
    return head != workspace.commit or workspace.git("status", "--porcelain").output.strip() != ""


def _newest_other(workspace: Workspace) -> Path | None:
    profile = workspace.root.name[COMMIT_DIGITS:]
    others = [
        path
        for path in workspace.root.parent.iterdir()
        if path.name[COMMIT_DIGITS:] == profile and path != workspace.root and not path.name.startswith(".")
    ]
    return max(others, key=lambda path: path.stat().st_mtime, default=None)


def _blob(workspace: Workspace, commit: str) -> str:
    """Identity of a commit's dvc.lock; empty if it has none."""
    return workspace.git("rev-parse", "--verify", "--quiet", f"{commit}:{_LOCK}").output.strip()


def _results(workspace: Workspace, other: Path, base: str) -> list[str]:
    """Files that the other clone's runs have changed or added, committed or not, and that are still there."""

    def listed(*arguments: str) -> list[str]:
        done: Done = commands.run_git(arguments, other, workspace.environment)
        return done.output.split("\0") if done.status == 0 else []

    names = [
        *listed("diff", "--name-only", "-z", base),
        *listed("ls-files", "-z", "--others", "--exclude-standard"),
    ]
    return [
        name
        for name in names
        if name and name.partition("/")[0] not in _NOT_ADOPTED and (other / name).is_file()
    ]
