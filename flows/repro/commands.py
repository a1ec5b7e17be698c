"""git and dvc as commands: short ones, with the reason of a failure in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.run_record import last_reason

# What would lead a command out of its folder: another repository, an experiment, the parent's own flow run.
_DROPPED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_EXP", "DVC_ROOT", "DVC_STAGE", "PREFECT__")
_QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
    # A question would wait for an answer for ever.
    "GIT_TERMINAL_PROMPT": "0",
}
# Folders and files that settings may name relative to where the flow was started.
_PATHS = ("MIEN_WEIGHTS_DIR", "MIEN_FACE_MODEL")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    output: str
    """Standard output and error, as they came."""

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        return last_reason(self.output) or f"it ended with status {self.status}"


def environment(given: Mapping[str, str], **more: str) -> dict[str, str]:
    """Variables for commands that run in another folder, with this interpreter first on PATH.

    Args:
        given: usually `os.environ`.
        more: are added as they are.
    """
    kept = {name: value for name, value in given.items() if not name.startswith(_DROPPED)}
    for name in _PATHS:
        if kept.get(name):
            kept[name] = str(Path(kept[name]).absolute())
    path = os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)])
    return kept | _QUIET | {"PATH": path} | more


def run_git(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Done:
    """Run git in a folder; never raises."""
    return run(["git", *arguments], folder, variables)


def run_dvc(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Done:
    """Run dvc in a folder; waits while another process holds DVC's lock; never raises."""
    return run([*dvc(), *arguments], folder, variables)


def dvc() -> list[str]:
    """The dvc of this environment, as the beginning of a command.

    Without the option DVC gives up after three seconds of another's lock, be it after an hour of training.
    """
    return [sys.executable, "-m", "dvc", "--wait-for-lock"]


def run(command: list[str], folder: Path, variables: Mapping[str, str]) -> Done:
    """Run a command in a folder; never raises."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands are this package's own
            command,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return Done(127, f"error: {command[0]} cannot be started: {error}")
    return Done(done.returncode, done.stdout)
