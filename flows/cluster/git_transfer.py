"""Git's part of an errand: the coordinator's clone as it stands, as a commit that a node can fetch.

No branch moves: a reference for each stage, `refs/mien/…`, is pushed before it and deleted after it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from flows.errors import ClusterError
from flows.repro.commands import Done, run_git
from flows.repro.workspace import Workspace

_AUTHOR = ("-c", "user.name=mien", "-c", "user.email=mien@localhost")


def reference(run: str, stage: str) -> str:
    """Under which name a stage's commit is pushed."""
    return f"refs/mien/{run}/{stage}"


def post(workspace: Workspace, repository: str, name: str) -> None:
    """Push the clone's files, committed or not, on top of its HEAD.

    Raises:
        ClusterError: the repository cannot be pushed to.
    """
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        # An index of its own: the clone's is for the results' branch.
        variables = {**workspace.environment, "GIT_INDEX_FILE": str(Path(folder) / "index")}

        def git(*arguments: str) -> str:
            return _need(run_git(arguments, workspace.root, variables), repository).output.strip()

        git("read-tree", "HEAD")
        git("add", "--all")
        commit = git(*_AUTHOR, "commit-tree", git("write-tree"), "-p", "HEAD", "-m", "For a node")
        git("push", "--quiet", "--force", repository, f"{commit}:{name}")


def recall(workspace: Workspace, repository: str, name: str) -> None:
    """Delete the reference; a failure costs only its name in the repository."""
    workspace.git("push", "--quiet", repository, f":{name}")


def receive(folder: Path, repository: str, name: str, variables: Mapping[str, str]) -> None:
    """On a node: HEAD as the coordinator's clone has it, and its files as they were sent.

    Raises:
        ClusterError: the repository cannot be reached from here.
    """
    folder.mkdir(parents=True)
    for arguments in (
        ["init", "--quiet"],
        # What was sent, and the commit below it: a model's recorded commit has to be one that exists.
        ["fetch", "--quiet", "--depth", "2", repository, name],
        ["checkout", "--quiet", "--detach", "FETCH_HEAD^"],
        ["restore", "--source", "FETCH_HEAD", "--worktree", "--", ":/"],
    ):
        _need(run_git(arguments, folder, variables), repository)


def _need(done: Done, repository: str) -> Done:
    if done.status != 0:
        raise ClusterError(
            what=f"the nodes' repository {repository}",
            reason=done.reason,
            remedy="set MIEN_CLUSTER_REPOSITORY to a URL that this machine pushes to and nodes fetch from",
        )
    return done
