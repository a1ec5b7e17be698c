"""A clone for every commit that is trained, so that no schedule ever touches the operator's files.

A clone costs little: git links its objects, DVC's cache is the checkout's own and files are linked out of it.
A run that was cut off is continued in its clone, where DVC sees what is finished; training state lies beside.
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
from flows.repro.commands import Done
from pipelines.core import paths
from pipelines.core.lineage import DEFINING, FOREIGN_OWNER, git_remedy
from pipelines.profile import BASE, CONF
from pipelines.tracking.runs import SCRATCH, TRACKING_URI

HOME = Path(".mien")
WORKSPACES = HOME / "workspaces"
CHECKPOINTS = HOME / "checkpoints"
_BUSY = HOME / "training.lock"
# Enough that two commits of one repository never share it; what git itself abbreviates to in large ones.
COMMIT_DIGITS = 12
# A killed run's stages get ten seconds to end (guard.py), then they are killed.
LOCK_PATIENCE_S = 30.0
_LOCK_POLL_S = 0.2


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
    lock: int
    """File descriptor of the training lock; processes that work in the clone inherit it."""

    def git(self, *arguments: str) -> Done:
        """Run git in the clone."""
        return commands.run_git(arguments, self.root, self.environment)

    def dvc(self, *arguments: str) -> Done:
        """Run dvc in the clone."""
        return commands.run_dvc(arguments, self.root, self.environment)


@contextmanager
def only_training(checkout: Path, *, patience_s: float = LOCK_PATIENCE_S) -> Iterator[int]:
    """Hold the checkout's training lock; yields its file descriptor.

    Whoever inherits the descriptor holds the lock too. It is free once all of them are gone, however they
    went: a killed run's stages end within seconds, and the next run waits for that long.

    Args:
        checkout: whose trainings exclude each other.
        patience_s: how long to wait for another run's end.

    Raises:
        TrainingBusy: another run holds it.
    """
    path = checkout / _BUSY
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        deadline = time.monotonic() + patience_s
        while not _locked(file.fileno()):
            if time.monotonic() >= deadline:
                raise TrainingBusy(checkout=checkout)
            time.sleep(_LOCK_POLL_S)
        yield file.fileno()


def open_workspace(checkout: Path, *, revision: str, profile: str | None, lock: int) -> Workspace:
    """The clone of a revision: the one that an earlier run of it left, or a new one.

    Args:
        checkout: root of a git and DVC repository; stays as it is.
        revision: branch, tag or commit.
        profile: whose settings the run will use; another profile is another clone.
        lock: see `only_training`.

    Raises:
        WorkspaceFailed: there is no such repository, or it cannot be cloned.
        ParametersInvalid: there is no such revision, or no such profile in it.
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
        _tidy(workspace)
    else:
        _clone(workspace)
    os.utime(workspace.root)  # when it was used last, for retention
    return workspace


def fresh_clone(checkout: Path, name: str, *, branch: str, revision: str, lock: int) -> Workspace:
    """A new clone for one run, at the branch where there is one, else at the revision.

    Args:
        checkout: root of a git and DVC repository; stays as it is.
        name: of its folder in `.mien/workspaces`; one that is there is replaced.
        branch: where results go.
        revision: branch, tag or commit.
        lock: file descriptor that says that the run is alive.

    Raises:
        WorkspaceFailed: there is no such repository, or it cannot be cloned.
        ParametersInvalid: there is no such revision, or no such profile in it.
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
    """Name of a commit's folder, and of its branch after `training/`."""
    return commit[:COMMIT_DIGITS] + (f"-{profile}" if profile else "")


def uncommitted(checkout: Path) -> list[str]:
    """Changed files that shape results; a clone does not have these changes."""
    asked = commands.run_git(["status", "--porcelain", "--", *DEFINING], checkout, _environment(checkout))
    return [line[3:] for line in asked.output.splitlines()] if asked.status == 0 else []


def tracking_uri(checkout: Path, given: Mapping[str, str]) -> str:
    """Where a run in a clone logs to: what is configured, else the checkout's own store. Always absolute."""
    uri = given.get(TRACKING_URI, "").strip()
    if not uri:
        return f"sqlite:///{checkout.absolute() / paths.MLFLOW_DATABASE}"
    kind, slashes, path = uri.partition("sqlite:///")
    if slashes and not kind and not Path(path).is_absolute():
        return f"sqlite:///{checkout.absolute() / path}"
    return uri


def link_checkpoints(root: Path, home: Path) -> None:
    """Let a clone keep its training state in a folder that outlives it."""
    home.mkdir(parents=True, exist_ok=True)
    (root / paths.CHECKPOINTS).symlink_to(home.absolute())
    # .gitignore names the folder with a slash, which a link does not match.
    with (root / ".git" / "info" / "exclude").open("a") as file:
        file.write(f"/{paths.CHECKPOINTS}\n")


def _locked(descriptor: int) -> bool:
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
            remedy="start the flow in one",
        )
    asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    found = commands.run_git(asked, checkout, variables)
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
    """Clone whole or not at all; from the revision's own results where there are some."""
    partial = workspace.root.with_name(f".{workspace.root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    clone = ["clone", "--quiet", "--no-checkout", str(workspace.checkout), str(partial)]
    _need(commands.run_git(clone, workspace.checkout, workspace.environment))
    unfinished = replace(workspace, root=partial)
    earlier = f"refs/remotes/origin/{workspace.branch}"
    known = unfinished.git("rev-parse", "--verify", "--quiet", earlier).status == 0
    start = earlier if known else workspace.commit
    _need(unfinished.git("checkout", "--quiet", "--no-track", "-B", workspace.branch, start))
    link_checkpoints(unfinished.root, workspace.checkout / CHECKPOINTS)
    partial.rename(workspace.root)


def _tidy(workspace: Workspace) -> None:
    """Make an earlier run's clone ready: no locks of its killed git and dvc, and at home in this checkout.

    Those processes are gone: the training lock is held.
    """
    for name in (".git/index.lock", ".dvc/tmp/rwlock"):
        (workspace.root / name).unlink(missing_ok=True)
    # In a checkout that was copied or moved they still lead to the original.
    _need(workspace.git("remote", "set-url", "origin", str(workspace.checkout)))
    checkpoints = workspace.root / paths.CHECKPOINTS
    checkpoints.unlink(missing_ok=True)
    checkpoints.symlink_to((workspace.checkout / CHECKPOINTS).absolute())


def _need(done: Done) -> None:
    if done.status != 0:
        raise WorkspaceFailed(
            what="the run's own clone", reason=done.reason, remedy="check disk and repository"
        )
