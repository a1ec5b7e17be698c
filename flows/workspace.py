"""A clone of its own for every training run, so that no schedule ever touches the operator's files.

A clone costs little: git links its objects, DVC's cache is the checkout's own and files are linked out of it.
What has to outlive a clone lies beside it: training state, so that a run goes on where a killed one was.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows import commands
from flows.commands import Done
from flows.errors import ParametersInvalid, TrainingBusy, WorkspaceFailed
from pipelines import layout
from pipelines.lineage import DEFINING
from pipelines.tracking import SCRATCH, TRACKING_URI

HOME = Path(".mien")
WORKSPACES = HOME / "workspaces"
CHECKPOINTS = HOME / "checkpoints"
_BUSY = HOME / "training.lock"
# Enough that two commits of one repository never share it; what git itself abbreviates to in large ones.
COMMIT_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A clone, ready for DVC."""

    root: Path
    checkout: Path
    """What it was cloned from."""
    commit: str
    """What was asked for, 40 hexadecimal digits."""
    branch: str
    """Where results go: `training/COMMIT`, or `training/COMMIT-PROFILE`."""
    environment: Mapping[str, str] = field(repr=False)
    """Variables of every command that runs in it."""

    def git(self, *arguments: str) -> Done:
        """Run git in the clone."""
        return commands.run_git(arguments, self.root, self.environment)

    def dvc(self, *arguments: str) -> Done:
        """Run dvc in the clone."""
        return commands.run_dvc(arguments, self.root, self.environment)


@contextmanager
def only_training(checkout: Path) -> Iterator[None]:
    """Hold the checkout's training lock; it is free again when this process is gone, however it went.

    Raises:
        TrainingBusy: another process holds it.
    """
    path = checkout / _BUSY
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingBusy(checkout=checkout) from error
        yield


def clone(checkout: Path, name: str, *, revision: str, profile: str | None) -> Workspace:
    """Clone the checkout at a revision; goes on from that revision's results where a run has left some.

    Args:
        checkout: root of a git and DVC repository; stays as it is.
        name: of the new folder in `.mien/workspaces`.
        revision: branch, tag or commit.
        profile: only names the branch here.

    Raises:
        WorkspaceFailed: there is no such repository, or it cannot be cloned.
        ParametersInvalid: there is no such revision.
    """
    variables = _environment(checkout)
    commit = _commit(checkout, revision, variables)
    branch = f"training/{commit[:COMMIT_DIGITS]}" + (f"-{profile}" if profile else "")
    root = checkout / WORKSPACES / name
    root.parent.mkdir(parents=True, exist_ok=True)
    _need(
        commands.run_git(["clone", "--quiet", "--no-checkout", str(checkout), str(root)], checkout, variables)
    )
    workspace = Workspace(root=root, checkout=checkout, commit=commit, branch=branch, environment=variables)
    earlier = f"refs/remotes/origin/{branch}"
    start = earlier if workspace.git("rev-parse", "--verify", "--quiet", earlier).status == 0 else commit
    _need(workspace.git("checkout", "--quiet", "--no-track", "-B", branch, start))
    _link_checkpoints(workspace)
    return workspace


def uncommitted(checkout: Path) -> list[str]:
    """Changed files that shape results; a clone does not have these changes."""
    asked = commands.run_git(["status", "--porcelain", "--", *DEFINING], checkout, _environment(checkout))
    return [line[3:] for line in asked.output.splitlines()] if asked.status == 0 else []


def tracking_uri(checkout: Path, given: Mapping[str, str]) -> str:
    """Where a run in a clone logs to: what is configured, else the checkout's own store. Always absolute."""
    uri = given.get(TRACKING_URI, "").strip()
    if not uri:
        return f"sqlite:///{checkout.absolute() / layout.MLFLOW_DATABASE}"
    kind, slashes, path = uri.partition("sqlite:///")
    if slashes and not kind and not Path(path).is_absolute():
        return f"sqlite:///{checkout.absolute() / path}"
    return uri


def _environment(checkout: Path) -> dict[str, str]:
    more = {TRACKING_URI: tracking_uri(checkout, os.environ), SCRATCH: "1"}
    return commands.environment(os.environ, **more)


def _commit(checkout: Path, revision: str, variables: Mapping[str, str]) -> str:
    top = commands.run_git(["rev-parse", "--show-toplevel"], checkout, variables)
    if top.status != 0 or Path(top.output.strip()).resolve() != checkout.resolve():
        raise WorkspaceFailed(
            what=str(checkout),
            reason="this is not the root of a git repository",
            remedy="start the flow in one",
        )
    asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    found = commands.run_git(asked, checkout, variables)
    if found.status != 0:
        raise ParametersInvalid(
            parameter="revision", got=revision, expected="a branch, tag or commit of this repository"
        )
    return found.output.strip()


def _link_checkpoints(workspace: Workspace) -> None:
    home = workspace.checkout / CHECKPOINTS
    home.mkdir(parents=True, exist_ok=True)
    (workspace.root / layout.CHECKPOINTS).symlink_to(home.absolute())
    # .gitignore names the folder with a slash, which a link does not match.
    with (workspace.root / ".git" / "info" / "exclude").open("a") as file:
        file.write(f"/{layout.CHECKPOINTS}\n")


def _need(done: Done) -> None:
    if done.status != 0:
        raise WorkspaceFailed(
            what="the run's own clone", reason=done.reason, remedy="check disk and repository"
        )
