"""git's part of a job: the files of the coordinator's clone, as a commit that a node can fetch.

No branch moves: a reference for each stage, `refs/mien/…`, is pushed before the stage and deleted after it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from flows.errors import ClusterError
from flows.repro.commands import CommandResult, run_git
from flows.repro.workspace import Workspace

# git has one exit status for all failures. Of these the network is the usual cause; a wrong address is found
# before the run starts, and costs some minutes of retries otherwise.
_REMOTE_OPERATIONS = ("fetch", "push")
_AUTHOR = ("-c", "user.name=mien", "-c", "user.email=mien@localhost")


def reference_name(run: str, stage: str) -> str:
    """Name of the reference of a stage's commit."""
    return f"refs/mien/{run}/{stage}"


def push_snapshot(workspace: Workspace, repository: str, reference: str) -> None:
    """Push the clone's files, committed or not, as a commit on top of its HEAD.

    Raises:
        ClusterError: git cannot push to the repository.
    """
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        # An index of its own: the clone's index is for the branch with the results.
        variables = {**workspace.environment, "GIT_INDEX_FILE": str(Path(folder) / "index")}

        def git(*arguments: str) -> str:
            result = run_git(arguments, workspace.root, variables)
            return _checked(result, repository, operation=arguments[0]).output.strip()

        git("read-tree", "HEAD")
        git("add", "--all")
        commit = git(*_AUTHOR, "commit-tree", git("write-tree"), "-p", "HEAD", "-m", "For a node")
        git("push", "--quiet", "--force", repository, f"{commit}:{reference}")


def delete_snapshot(workspace: Workspace, repository: str, reference: str) -> None:
    """Delete the reference; if that fails, only its name stays in the repository."""
    workspace.git("push", "--quiet", repository, f":{reference}")


def fetch_snapshot(folder: Path, repository: str, reference: str, variables: Mapping[str, str]) -> None:
    """On a node: clone with the coordinator's HEAD, and its files as they were pushed.

    Raises:
        ClusterError: git cannot fetch from the repository.
    """
    folder.mkdir(parents=True)
    for arguments in (
        ["init", "--quiet"],
        # The snapshot and its parent: the commit that a model records must exist in the repository.
        ["fetch", "--quiet", "--depth", "2", repository, reference],
        ["checkout", "--quiet", "--detach", "FETCH_HEAD^"],
        ["restore", "--source", "FETCH_HEAD", "--worktree", "--", ":/"],
    ):
        _checked(run_git(arguments, folder, variables), repository, operation=arguments[0])


def _checked(result: CommandResult, repository: str, *, operation: str) -> CommandResult:
    if result.status != 0:
        raise ClusterError(
            what=f"the nodes' repository {repository}",
            reason=result.reason,
            remedy="set MIEN_CLUSTER_REPOSITORY to a URL that this machine pushes to and nodes fetch from",
            temporary=operation in _REMOTE_OPERATIONS,
        )
    return result
