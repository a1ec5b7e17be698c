"""Run single DVC stages: the protocol of every executor, and the one that uses child processes here.

`flows.cluster.executor` is the other implementation: it sends stages to the nodes of a cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from flows import guard
from flows.repro.commands import dvc_operation
from flows.repro.stages import StageOutcome, is_dvc_advice, read_outcome
from pipelines.run_record import idle_stages, locked_results

# Enough for a traceback and what dvc prints after it.
_KEPT_LINES = 200


class StageExecutor(Protocol):
    """Runs single stages; tasks receive it as a parameter."""

    def run(self, stage: str, *, force: bool = False, on_line: Callable[[str], None] = print) -> StageOutcome:
        """Bring one stage up to date.

        Args:
            stage: its name, `train@vgg`.
            force: run the stage even if nothing has changed.
            on_line: called with each line that dvc and the stage print, while they run.

        Raises:
            InterruptedError: `stop` was called before.
        """

    def stop(self) -> None:
        """End the stages that are running, and refuse to start others."""


class LocalExecutor:
    """Runs stages of one repository in child processes; thread-safe, several stages at once."""

    def __init__(self, root: Path, environment: Mapping[str, str], *, inherited: Sequence[int] = ()) -> None:
        """Create the executor; nothing is started.

        Args:
            root: of the repository.
            environment: all variables of the children.
            inherited: file descriptors that stay open until the last process of a stage has ended.
        """
        self._root = root
        self._environment = dict(environment)
        self._inherited = tuple(inherited)
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, stage: str, *, force: bool = False, on_line: Callable[[str], None] = print) -> StageOutcome:
        """See `StageExecutor`."""
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        before = locked_results(self._root, stage=stage)
        with self._start(stage, force=force) as child:
            if child.stdout is not None:
                for line in child.stdout:
                    lines.append(line.rstrip())
                    if lines[-1] and not is_dvc_advice(line):
                        on_line(lines[-1])
            status = child.wait()
        with self._lock:
            self._running.discard(child)
        idle = idle_stages(before, locked_results(self._root, stage=stage))
        return read_outcome(stage, status, list(lines), idle=stage in idle)

    def stop(self) -> None:
        """See `StageExecutor`."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for child in running:
            child.send_signal(signal.SIGTERM)

    def _start(self, stage: str, *, force: bool) -> subprocess.Popen[str]:
        repro = dvc_operation("reproduce", stage=stage, force=force)
        with self._lock:
            if self._stopped:
                raise InterruptedError(f"{stage} was not started: the run is ending")
            child = subprocess.Popen(  # noqa: S603 - the command is this package's own
                guard.command(repro, owner=os.getpid()),
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
