"""A clone for each commit that is trained, so that a run never changes the operator's files.

A clone needs little space: git links its objects, and DVC links files from the checkout's cache. The next
run continues an interrupted one in its clone, where DVC knows the finished stages; training state is kept
outside of it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.errors import ParametersInvalid, TrainingBusy, WorkspaceFailed
from flows.repro import commands
from flows.repro.commands import CommandResult
from pipelines.core import paths
from pipelines.core.lineage import DEFINING, FOREIGN_OWNER, git_remedy
from pipelines.profile import BASE, CONF
from pipelines.tracking.runs import SCRATCH, TRACKING_URI

HOME = Path(".mien")
WORKSPACES = HOME / "workspaces"
CHECKPOINTS = HOME / "checkpoints"
_BUSY = HOME / "training.lock"
# Long enough to be unique in a repository; git abbreviates to this length in large ones.
COMMIT_DIGITS = 12
# Longer than the ten seconds after which guard.py kills the stages of a killed run.
LOCK_TIMEOUT_S = 30.0
_LOCK_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A clone in which git and DVC run."""

    root: Path
    checkout: Path
    """The repository that it was cloned from."""
    commit: str
    """The commit of the requested revision, 40 hexadecimal digits."""
    branch: str
    """Branch for results: `training/COMMIT`, or `training/COMMIT-PROFILE`."""
    environment: Mapping[str, str] = field(repr=False)
    """Variables of every command that runs in the clone."""
    lock: int
    """File descriptor of the training lock; processes that work in the clone inherit it."""

    def git(self, *arguments: str) -> CommandResult:
        """Run git in the clone."""
        return commands.run_git(arguments, self.root, self.environment)

    def dvc(self, *arguments: str) -> CommandResult:
        """Run dvc in the clone."""
        return commands.run_dvc(arguments, self.root, self.environment)


@contextmanager
def training_lock(checkout: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[int]:
    """Hold the checkout's training lock; yields its file descriptor.

    Processes that inherit the descriptor hold the lock too, and it is free once all of them have ended. The
    stages of a killed run end within seconds, and the next run waits for them.

    Args:
        checkout: one training at a time runs in it.
        timeout_s: how long to wait until another run has ended.

    Raises:
        TrainingBusy: another run holds the lock.
    """
    path = checkout / _BUSY
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        deadline = time.monotonic() + timeout_s
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                raise TrainingBusy(checkout=checkout)
            time.sleep(_LOCK_POLL_S)
        yield file.fileno()


def open_workspace(checkout: Path, *, revision: str, profile: str | None, lock: int) -> Workspace:
    """Open the clone of a revision: the clone of an earlier run, or a new one.

    Args:
        checkout: root of a git and DVC repository; is not changed.
        revision: branch, tag or commit.
        profile: settings of the run; each profile has its own clone.
        lock: see `only_training`.

    Raises:
        WorkspaceFailed: the repository does not exist or cannot be cloned.
        ParametersInvalid: the revision does not exist, or it has no such profile.
    """
    variables = _environment(checkout)
    commit = _commit(checkout, revision, variables)
    if profile is not None:
        _check_profile(checkout, commit, profile, variables)
    name = workspace_name(commit, profile)
    workspace = Workspace(
        root=checkout / WORKSPACES / name,
        checkout=checkout,
        commit=commit,
        branch=f"training/{name}",
        environment=variables,
        lock=lock,
    )
    if (workspace.root / ".git").exists():
        _clean_up(workspace)
    else:
        _clone(workspace)
    os.utime(workspace.root)  # the time of its last use, for retention
    return workspace


def new_workspace(checkout: Path, name: str, *, branch: str, revision: str, lock: int) -> Workspace:
    """Create a new clone for one run, at the branch if it exists, else at the revision.

    Args:
        checkout: root of a git and DVC repository; is not changed.
        name: of its folder in `.mien/workspaces`; an existing folder is replaced.
        branch: for results.
        revision: branch, tag or commit.
        lock: file descriptor of a lock that the run holds.

    Raises:
        WorkspaceFailed: the repository does not exist or cannot be cloned.
        ParametersInvalid: the revision does not exist.
    """
    variables = _environment(checkout)
    workspace = Workspace(
        root=checkout / WORKSPACES / name,
        checkout=checkout,
        commit=_commit(checkout, revision, variables),
        branch=branch,
        environment=variables,
        lock=lock,
    )
    shutil.rmtree(workspace.root, ignore_errors=True)
    _clone(workspace)
    return workspace


def workspace_name(commit: str, profile: str | None) -> str:
    """Name of a commit's folder, and of its branch below `training/`."""
    return commit[:COMMIT_DIGITS] + (f"-{profile}" if profile else "")


def uncommitted(checkout: Path) -> list[str]:
    """Files with uncommitted changes that would change results; a clone does not have these changes."""
    result = commands.run_git(["status", "--porcelain", "--", *DEFINING], checkout, _environment(checkout))
    return [line[3:] for line in result.output.splitlines()] if result.status == 0 else []


def tracking_uri(checkout: Path, given: Mapping[str, str]) -> str:
    """MLflow's address for a run in a clone: the configured one, else the checkout's store; absolute."""
    uri = given.get(TRACKING_URI, "").strip()
    if not uri:
        return f"sqlite:///{checkout.absolute() / paths.MLFLOW_DATABASE}"
    kind, slashes, path = uri.partition("sqlite:///")
    if slashes and not kind and not Path(path).is_absolute():
        return f"sqlite:///{checkout.absolute() / path}"
    return uri


def link_checkpoints(root: Path, folder: Path) -> None:
    """Link a clone's training state to a folder outside of the clone."""
    folder.mkdir(parents=True, exist_ok=True)
    (root / paths.CHECKPOINTS).symlink_to(folder.absolute())
    # The pattern in .gitignore ends with a slash, which does not match a link.
    with (root / ".git" / "info" / "exclude").open("a") as file:
        file.write(f"/{paths.CHECKPOINTS}\n")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _environment(checkout: Path) -> dict[str, str]:
    more = {TRACKING_URI: tracking_uri(checkout, os.environ), SCRATCH: "1"}
    return commands.environment(os.environ, **more)


def _commit(checkout: Path, revision: str, variables: Mapping[str, str]) -> str:
    top = commands.run_git(["rev-parse", "--show-toplevel"], checkout, {**variables, "LC_ALL": "C"})
    if FOREIGN_OWNER in top.output:
        reason = top.output.strip().splitlines()[0]
        raise WorkspaceFailed(what=str(checkout), reason=reason, remedy=git_remedy(reason, checkout))
    if top.status != 0 or Path(top.output.strip()).resolve() != checkout.resolve():
        raise WorkspaceFailed(
            what=str(checkout),
            reason="this is not the root of a git repository",
            remedy="start the flow in the root of one",
        )
    arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    found = commands.run_git(arguments, checkout, variables)
    if found.status != 0:
        raise ParametersInvalid(
            parameter="revision", got=revision, expected="a branch, tag or commit of this repository"
        )
    return found.output.strip()


def _check_profile(checkout: Path, commit: str, profile: str, variables: Mapping[str, str]) -> None:
    listed = commands.run_git(["ls-tree", "--name-only", commit, f"{CONF}/"], checkout, variables)
    found = {Path(line).stem for line in listed.output.splitlines() if line.endswith(".yaml")} - {BASE}
    if profile not in found:
        raise ParametersInvalid(
            parameter="profile", got=profile, expected=f"one of {', '.join(sorted(found))}, or nothing"
        )


def _clone(workspace: Workspace) -> None:
    """Clone at the revision's earlier results if there are some; the folder appears when it is complete."""
    partial = workspace.root.with_name(f".{workspace.root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    clone = ["clone", "--quiet", "--no-checkout", str(workspace.checkout), str(partial)]
    _check(commands.run_git(clone, workspace.checkout, workspace.environment))
    unfinished = replace(workspace, root=partial)
    earlier = f"refs/remotes/origin/{workspace.branch}"
    known = unfinished.git("rev-parse", "--verify", "--quiet", earlier).status == 0
    start = earlier if known else workspace.commit
    _check(unfinished.git("checkout", "--quiet", "--no-track", "-B", workspace.branch, start))
    link_checkpoints(unfinished.root, workspace.checkout / CHECKPOINTS)
    partial.rename(workspace.root)


def _clean_up(workspace: Workspace) -> None:
    """Remove locks that an earlier run left in its clone, and point it to this checkout.

    The processes of those locks have ended, because this run holds the training lock.
    """
    for name in (".git/index.lock", ".dvc/tmp/rwlock"):
        (workspace.root / name).unlink(missing_ok=True)
    # After the checkout was copied or moved, both still point to the original.
    _check(workspace.git("remote", "set-url", "origin", str(workspace.checkout)))
    checkpoints = workspace.root / paths.CHECKPOINTS
    checkpoints.unlink(missing_ok=True)
    checkpoints.symlink_to((workspace.checkout / CHECKPOINTS).absolute())


def _check(result: CommandResult) -> None:
    if result.status != 0:
        raise WorkspaceFailed(
            what="the run's clone", reason=result.reason, remedy="check disk and repository"
        )
