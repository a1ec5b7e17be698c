"""Results come home as a branch: `training/COMMIT`, one commit for each run that changed something.

`git merge training/COMMIT && dvc checkout` takes them over; the files themselves already lie in the
checkout's DVC cache. Only git's references change, the operator's tree stays as it is.
"""

from __future__ import annotations

from flows.commands import Done
from flows.errors import WorkspaceFailed
from flows.workspace import Workspace
from pipelines import layout
from pipelines.files import write_text
from pipelines.profile import CONF, compose


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
    write_text(workspace.root / layout.PARAMS, compose(profile, workspace.root / CONF))
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
