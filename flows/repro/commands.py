"""git and dvc as short-lived child processes, with the reason of a failure in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.run_record import last_reason

# Variables that would lead a command out of its folder: another repository, an experiment, this flow run.
_DROPPED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_EXP", "DVC_ROOT", "DVC_STAGE", "PREFECT__")
_QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
    # A question would wait for an answer for ever.
    "GIT_TERMINAL_PROMPT": "0",
}
# Settings with a path that may be relative to the folder in which the flow was started.
_PATHS = ("MIEN_WEIGHTS_DIR", "MIEN_FACE_MODEL", "MIEN_SIGNING_KEY")
_DVC_PROGRAM = Path(__file__).with_name("dvc_program.py")


@dataclass(frozen=True)
class CommandResult:
    """Exit status and output of a command."""

    status: int
    output: str
    """Standard output and standard error, in the order in which they were written."""

    @property
    def reason(self) -> str:
        """Why the command failed, in one line."""
        return last_reason(self.output) or f"it ended with status {self.status}"


def environment(given: Mapping[str, str], **more: str) -> dict[str, str]:
    """Variables for commands that run in another folder, with this interpreter first on PATH.

    Args:
        given: usually `os.environ`.
        more: added unchanged.
    """
    kept = {name: value for name, value in given.items() if not name.startswith(_DROPPED)}
    for name in _PATHS:
        if kept.get(name):
            kept[name] = str(Path(kept[name]).absolute())
    path = os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)])
    return kept | _QUIET | {"PATH": path} | more


def run_git(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> CommandResult:
    """Run git in a folder; never raises."""
    return run(["git", *arguments], folder, variables)


def run_dvc(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> CommandResult:
    """Run dvc in a folder; waits while another process holds DVC's lock; never raises."""
    # Without `--wait-for-lock` DVC gives up after three seconds.
    return run([sys.executable, "-m", "dvc", "--wait-for-lock", *arguments], folder, variables)


def dvc_operation(operation: str, **arguments: object) -> list[str]:
    """Command line of an operation of `flows.repro.dvc_program`; arguments must be JSON values."""
    return [sys.executable, "-P", str(_DVC_PROGRAM), operation, json.dumps(arguments)]


def run(command: list[str], folder: Path, variables: Mapping[str, str]) -> CommandResult:
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
        return CommandResult(127, f"error: cannot start {command[0]}: {error}")
    return CommandResult(done.returncode, done.stdout)
