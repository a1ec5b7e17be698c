"""A new commit begins with the results of the one before it; DVC decides which of them still hold.

DVC's run cache would do the same, but leaves out stages with outputs that git keeps (`cache: false`): most.

Results come home as a branch: `training/COMMIT`, one commit for each run that changed something.

`git merge training/COMMIT && dvc checkout` takes them over; the files themselves already lie in the
checkout's DVC cache. Only git's references change, the operator's tree stays as it is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.errors import WorkspaceFailed
from flows.repro import commands
from flows.repro.commands import Done
from flows.repro.workspace import COMMIT_DIGITS, Workspace
from pipelines.core import paths
from pipelines.core.io import write_text
from pipelines.core.lineage import DEFINING
from pipelines.profile import CONF, compose

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


def use_profile(workspace: Workspace, profile: str, *, publish: bool) -> None:
    """Write the clone's params.yaml from its `conf/`.

    Args:
        workspace: the clone.
        profile: name of a file there.
        publish: commit and push it at once, so that a model's recorded commit is one that exists.

    Raises:
        ParamsError: there is no such profile, or it is damaged.
        WorkspaceFailed: the branch cannot be pushed.
    """
    write_text(workspace.root / paths.PARAMS, compose(profile, workspace.root / CONF))
    if publish:
        commit(workspace, f"Settings of the profile {profile}")


def are_whole(workspace: Workspace) -> bool:
    """Whether nothing that git keeps is missing: a stage that fails takes its earlier results away."""
    return workspace.git("ls-files", "--deleted").output.strip() == ""


def commit(workspace: Workspace, message: str) -> str | None:
    """Commit what changed in the clone and push it to the checkout; None if nothing did.

    Returns:
        The branch.

    Raises:
        WorkspaceFailed: git refuses.
    """
    _need(workspace, workspace.git("add", "--all"))
    if workspace.git("diff", "--cached", "--quiet").status == 0:
        return None
    _need(
        workspace,
        workspace.git(*author(workspace), "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message),
    )
    _need(workspace, workspace.git("push", "--quiet", "origin", f"HEAD:refs/heads/{workspace.branch}"))
    return workspace.branch


def author(workspace: Workspace) -> list[str]:
    """Options for git: the operator's own name where it knows one."""
    known = (
        workspace.git("config", "user.email").status == 0 and workspace.git("config", "user.name").status == 0
    )
    return [] if known else ["-c", "user.name=mien", "-c", "user.email=mien@localhost"]


def _need(workspace: Workspace, done: Done) -> None:
    if done.status != 0:
        raise WorkspaceFailed(
            what=f"the results' branch {workspace.branch}",
            reason=done.reason,
            remedy=f"commit and push them by hand in {workspace.root}",
        )
