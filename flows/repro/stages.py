"""One DVC stage as a child process. DVC alone decides whether it is stale; here is only told what it did."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows import guard
from flows.repro.commands import dvc
from pipelines.run_record import RESTORED, UNCHANGED, failure_reason, idle_stages, locked_results

Kind = Literal["ran", "unchanged", "restored", "failed", "interrupted"]
"""`restored`: from DVC's run cache, it did not run; `interrupted`: failed, for a reason that passes."""

# Contention: DVC's own lock, its lock on paths, SQLite under MLflow. Infrastructure: what a socket leads to.
_PASSING = re.compile(
    r"Unable to acquire lock|is busy, it is being blocked by|database (table )?is locked"
    r"|no server answers|Connection (refused|reset|aborted)|Connection broken|RemoteDisconnected"
    r"|Could not connect|Max retries exceeded|[Tt]imed out|Temporary failure in name resolution"
    r"|Too Many Requests|Service Unavailable|Bad Gateway|Gateway Timeout|SlowDown"
)
# SIGKILL: usually the kernel, out of memory. A training that is started again goes on after its last epoch.
_KILLED = re.compile(r"exited with (-9|137)\b")
# What dvc says after every stage to whoever typed the command.
_NOISE = re.compile(
    r"^(To track the changes with git|\s*git add |To enable auto staging|\s*dvc config core.autostage"
    r"|Use `dvc push`|Data and pipelines are up to date|Updating lock file|Generating lock file)"
)
# Enough for a traceback and what dvc says after it.
_KEPT_LINES = 200


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a stage went."""

    stage: str
    kind: Kind
    said: str
    """One sentence for a person."""


class Stages:
    """Runs stages of one repository; from any thread, several at once."""

    def __init__(self, root: Path, environment: Mapping[str, str], *, inherited: Sequence[int] = ()) -> None:
        """Remember where; nothing is started.

        Args:
            root: of the repository.
            environment: all variables of the children.
            inherited: file descriptors that stay open until the last process of a stage is gone.
        """
        self._root = root
        self._environment = dict(environment)
        self._inherited = tuple(inherited)
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, stage: str, *, force: bool = False, on_line: Callable[[str], None] = print) -> Outcome:
        """Let DVC bring a stage up to date.

        Args:
            stage: its name, `train@vgg`.
            force: run it although nothing changed.
            on_line: gets what dvc and the stage print, line by line, while they run.
        """
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        before = locked_results(self._root, stage=stage)
        with self._child(stage, force=force) as child:
            if child.stdout is not None:
                for line in child.stdout:
                    lines.append(line.rstrip())
                    if lines[-1] and not _NOISE.match(line):
                        on_line(lines[-1])
            status = child.wait()
        with self._lock:
            self._running.discard(child)
        idle = idle_stages(before, locked_results(self._root, stage=stage))
        return outcome(stage, status, list(lines), idle=stage in idle)

    def stop(self) -> None:
        """End what is running, and start nothing any more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for child in running:
            child.send_signal(signal.SIGTERM)

    def _child(self, stage: str, *, force: bool) -> subprocess.Popen[str]:
        options = ["--force"] if force else []
        command = guard.command([*dvc(), "repro", "--single-item", *options, stage], owner=os.getpid())
        with self._lock:
            if self._stopped:
                raise InterruptedError(f"{stage} is not started any more: the run ends")
            child = subprocess.Popen(  # noqa: S603 - the command is this package's own
                command,
                cwd=self._root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=self._inherited,
            )
            self._running.add(child)
        return child


def outcome(stage: str, status: int, lines: list[str], *, idle: bool = False) -> Outcome:
    """What dvc's exit status and lines mean.

    Args:
        stage: its name.
        status: of dvc.
        lines: that dvc and the stage printed.
        idle: whether the stage, which runs every time, left the outputs that there were.
    """
    if status == 0:
        if any(UNCHANGED.match(line) for line in lines):
            return Outcome(stage=stage, kind="unchanged", said="nothing it depends on has changed")
        if any(RESTORED.match(line) for line in lines):
            return Outcome(
                stage=stage, kind="restored", said="the same has run before; its results were restored"
            )
        if idle:
            return Outcome(stage=stage, kind="unchanged", said="it ran, and nothing has changed")
        return Outcome(stage=stage, kind="ran", said="it has run")
    return _failure(stage, status, lines)


def passes_by_itself(reason: str) -> bool:
    """Whether what was said is contention or infrastructure, so that another try may help."""
    return _PASSING.search(reason) is not None


def _failure(stage: str, status: int, lines: list[str]) -> Outcome:
    of_dvc = "\n".join(line for line in lines if line.startswith("ERROR: "))
    if _KILLED.search(of_dvc) or status == 128 + signal.SIGKILL:
        said = "it was killed (SIGKILL: out of memory, or by hand)"
        return Outcome(stage=stage, kind="interrupted", said=said)
    reason = failure_reason(lines) or f"status {status}"
    kind: Kind = "interrupted" if passes_by_itself(f"{reason}\n{of_dvc}") else "failed"
    return Outcome(stage=stage, kind=kind, said=reason)
