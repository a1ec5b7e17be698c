"""Results of runs: reuse those of an earlier commit, and commit new ones to a branch.

A clone of a new commit starts with the results of the newest other clone; DVC decides which are still valid.
DVC's run cache cannot replace this: it skips stages with outputs that git keeps (`cache: false`), which most
stages have.

New results become the branch `training/COMMIT`, one commit for each run that changed something.
`git merge training/COMMIT && dvc checkout` applies them; the files are in the checkout's DVC cache already.
Only git's references change, not the operator's working tree.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.errors import WorkspaceFailed
from flows.repro import commands
from flows.repro.commands import CommandResult
from flows.repro.workspace import COMMIT_DIGITS, Workspace
from pipelines.core import paths
from pipelines.core.io import write_text
from pipelines.core.lineage import DEFINING
from pipelines.profile import CONF, compose

_LOCK = "dvc.lock"
# Code, parameters and DVC's settings come from the new commit.
_NOT_REUSED = (*DEFINING, ".dvc", ".dvcignore")


def reuse_results(workspace: Workspace) -> Path | None:
    """Copy dvc.lock and the results in git from the newest other clone of the same profile.

    Nothing is copied if the clone has results of its own, or if its commit has another dvc.lock than the
    commit of the other clone.

    Returns:
        The other clone; None if nothing was copied.
    """
    if _has_results(workspace):
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


def _has_results(workspace: Workspace) -> bool:
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
    """Object id of a commit's dvc.lock; empty if it has none."""
    return workspace.git("rev-parse", "--verify", "--quiet", f"{commit}:{_LOCK}").output.strip()


def _results(workspace: Workspace, other: Path, base: str) -> list[str]:
    """Existing files that the other clone's runs have changed or added, committed or not."""

    def listed(*arguments: str) -> list[str]:
        result = commands.run_git(arguments, other, workspace.environment)
        return result.output.split("\0") if result.status == 0 else []

    names = [
        *listed("diff", "--name-only", "-z", base),
        *listed("ls-files", "-z", "--others", "--exclude-standard"),
    ]
    return [
        name
        for name in names
        if name and name.partition("/")[0] not in _NOT_REUSED and (other / name).is_file()
    ]


def use_profile(workspace: Workspace, profile: str, *, publish: bool) -> None:
    """Write the clone's params.yaml from its `conf/`.

    Args:
        workspace: the clone.
        profile: name of a file there.
        publish: commit and push it now, so that the commit that a model records exists in the checkout.

    Raises:
        ParamsError: the profile does not exist or is damaged.
        WorkspaceFailed: git cannot push the branch.
    """
    write_text(workspace.root / paths.PARAMS, compose(profile, workspace.root / CONF))
    if publish:
        commit(workspace, f"Settings of the profile {profile}")


def is_complete(workspace: Workspace) -> bool:
    """Whether all files in git exist: a failed stage has deleted its earlier results."""
    return workspace.git("ls-files", "--deleted").output.strip() == ""


def commit(workspace: Workspace, message: str) -> str | None:
    """Commit all changes in the clone and push them to the checkout.

    Returns:
        The branch; None if nothing has changed.

    Raises:
        WorkspaceFailed: git cannot commit or push.
    """
    _check(workspace, workspace.git("add", "--all"))
    if workspace.git("diff", "--cached", "--quiet").status == 0:
        return None
    _check(
        workspace,
        workspace.git(*author(workspace), "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message),
    )
    _check(workspace, workspace.git("push", "--quiet", "origin", f"HEAD:refs/heads/{workspace.branch}"))
    return workspace.branch


def author(workspace: Workspace) -> list[str]:
    """Options for git with an author; none if the operator has configured one."""
    known = (
        workspace.git("config", "user.email").status == 0 and workspace.git("config", "user.name").status == 0
    )
    return [] if known else ["-c", "user.name=mien", "-c", "user.email=mien@localhost"]


def _check(workspace: Workspace, result: CommandResult) -> None:
    if result.status != 0:
        raise WorkspaceFailed(
            what=f"the results' branch {workspace.branch}",
            reason=result.reason,
            remedy=f"commit and push the results by hand in {workspace.root}",
        )
