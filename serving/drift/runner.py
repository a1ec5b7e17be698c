"""Computes one drift result in a child process.

    with compute_in_process(request) as done:
        done.result, done.html, done.snapshot

A failure of the process (an exception, kill −9, a timeout) gives a result without a verdict and its reason.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from serving.drift.result import DriftRequest, DriftResult, unknown_result
from serving.errors.operation import DriftFailed
from serving.processes import Child

_log = logging.getLogger(__name__)
RESULT, REPORT, SNAPSHOT = "result.json", "report.html", "snapshot.json"
TIMEOUT_S = 300.0
"""A result takes 5 s; the limit leaves room for a machine that is ten times slower and busy."""
_LOOK_S = 0.1
_ENVIRONMENT = {
    # One core is enough; the others answer requests.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "DO_NOT_TRACK": "1",
    # Deprecation warnings of libraries would hide the error that ends the process.
    "PYTHONWARNINGS": "ignore",
}
# Maximum length of the standard error line of a failed process that goes into the reason.
_MAX_STDERR_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class ComputedDrift:
    """A result and its files, which are deleted when the block ends."""

    result: DriftResult
    html: Path | None
    """Evidently's page; None without a verdict."""
    snapshot: Path | None
    """Evidently's run as JSON, for `Snapshot.loads` and a workspace; None without a verdict."""


@contextmanager
def compute_in_process(
    request: DriftRequest, *, timeout_s: float = TIMEOUT_S, ending: threading.Event | None = None
) -> Iterator[ComputedDrift]:
    """Compute in a child process.

    Args:
        request: what to compute.
        timeout_s: time after which the process is killed.
        ending: when set, the process is killed at once.
    """
    with tempfile.TemporaryDirectory(prefix="mien-drift-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            result = _run(request, folder, timeout_s=timeout_s, ending=ending or threading.Event())
        except DriftFailed as error:
            result = unknown_result(error, request)
        except OSError as error:
            result = unknown_result(DriftFailed(reason=str(error)), request)
        done = result.verdict != "unknown"
        yield ComputedDrift(
            result=result,
            html=folder / REPORT if done else None,
            snapshot=folder / SNAPSHOT if done else None,
        )


def _run(request: DriftRequest, folder: Path, *, timeout_s: float, ending: threading.Event) -> DriftResult:
    stderr_file = folder / "stderr"
    with stderr_file.open("wb") as stderr:
        child = Child(
            "serving.drift.compute",
            [str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            environment=_ENVIRONMENT,
        )
        try:
            _send_request(child, request)
            _wait(child, timeout_s=timeout_s, ending=ending)
        finally:
            status = child.end()
    if text := stderr_file.read_text(encoding="utf-8", errors="replace").strip():
        _log.info("standard error of the process that computes drift: %s", text)
    try:
        return DriftResult.loads((folder / RESULT).read_bytes())
    except (OSError, ValueError) as error:
        raise DriftFailed(reason=_cause(status, stderr_file)) from error


def _send_request(child: Child, request: DriftRequest) -> None:
    """Write the request to the child's standard input."""
    stdin = child.process.stdin
    if stdin is None:
        raise DriftFailed(reason="its process has no standard input")
    # A child that has ended already reads nothing; its exit status has the cause.
    with suppress(BrokenPipeError), stdin:
        stdin.write(request.dumps().encode() + b"\n")


def _wait(child: Child, *, timeout_s: float, ending: threading.Event) -> None:
    deadline = time.monotonic() + timeout_s
    while child.poll() is None:
        if ending.wait(_LOOK_S):
            raise DriftFailed(reason="the service is ending")
        if time.monotonic() >= deadline:
            raise DriftFailed(reason=f"it took more than {timeout_s:g} s")


def _cause(status: int, stderr_file: Path) -> str:
    """Return how the process ended, and its last line on standard error."""
    ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    lines = stderr_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"its process ended ({ended}){f': {lines[-1][:_MAX_STDERR_CHARS]}' if lines else ''}"
