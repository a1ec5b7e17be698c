"""The outcome of one DVC stage, read from the exit status of `flows.repro.dvc_program` and from dvc's output.

DVC decides whether a stage is stale; this module only reports what DVC did. The exit status decides whether a
failure is temporary; the output gives the reason.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from httpx import TransportError

from flows.errors import FlowError
from pipelines.run_record import RESTORED, UNCHANGED, failure_reason, last_reason

StageKind = Literal["ran", "unchanged", "restored", "failed", "interrupted"]
"""`restored`: from DVC's run cache, the stage did not run; `interrupted`: it failed, but may be retried."""

# SIGKILL is usually the kernel's, for lack of memory. A training that is started again continues after its
# last epoch.
_KILLED = 128 + signal.SIGKILL
# Advice that dvc prints after every stage, for a person at a terminal.
_ADVICE = re.compile(
    r"^(To track the changes with git|\s*git add |To enable auto staging|\s*dvc config core.autostage"
    r"|Use `dvc push`|Data and pipelines are up to date|Updating lock file|Generating lock file)"
)


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """How a stage ended."""

    stage: str
    kind: StageKind
    message: str
    """One sentence for a person."""


def is_dvc_advice(line: str) -> bool:
    """Whether a line of dvc's output is advice that a log does not need."""
    return _ADVICE.match(line) is not None


def read_outcome(stage: str, status: int, lines: Sequence[str], *, idle: bool = False) -> StageOutcome:
    """Interpret exit status and output.

    Args:
        stage: its name.
        status: exit status of the program.
        lines: printed by dvc and the stage.
        idle: whether the stage, which runs every time, left its outputs as they were.
    """
    if status != 0:
        return _failure(stage, status, lines)
    if any(UNCHANGED.match(line) for line in lines):
        return StageOutcome(stage=stage, kind="unchanged", message="nothing it depends on has changed")
    if any(RESTORED.match(line) for line in lines):
        message = "it ran before with the same inputs; its results were restored"
        return StageOutcome(stage=stage, kind="restored", message=message)
    if idle:
        return StageOutcome(stage=stage, kind="unchanged", message="it ran, and nothing has changed")
    return StageOutcome(stage=stage, kind="ran", message="it has run")


def error_outcome(stage: str, error: Exception, *, host: str | None = None) -> StageOutcome:
    """The outcome of a stage that ended with an exception before or after its own process.

    Args:
        stage: its name.
        error: whether it is temporary depends on its type and, for a `FlowError`, on its field.
        host: name of the machine, if it is another one.
    """
    temporary = error.temporary if isinstance(error, FlowError) else isinstance(error, _TEMPORARY_ERRORS)
    reason = last_reason(str(error)) or type(error).__name__
    return StageOutcome(
        stage=stage,
        kind="interrupted" if temporary else "failed",
        message=f"{host}: {reason}" if host else reason,
    )


_TEMPORARY_ERRORS = (ConnectionError, TimeoutError, TransportError)


def _failure(stage: str, status: int, lines: Sequence[str]) -> StageOutcome:
    if status == _KILLED:
        message = "it was killed (SIGKILL: out of memory, or by hand)"
        return StageOutcome(stage=stage, kind="interrupted", message=message)
    reason = failure_reason(list(lines)) or f"status {status}"
    kind: StageKind = "interrupted" if status == os.EX_TEMPFAIL else "failed"
    return StageOutcome(stage=stage, kind=kind, message=reason)
