"""Run a stage as a command: one process per stage, quiet libraries, one line for an error, an exit status."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.core.errors import PipelineError, StageRunning

_LOCKS = Path(".mien", "stages")


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main` and end the process.

    Exit status 0 on success; with one line on standard error for a `PipelineError` 75 (EX_TEMPFAIL) if it is
    temporary, else 1. Any other exception keeps its traceback, and has the same exit status.
    """
    quiet_libraries()
    use_onednn()
    try:
        with _alone():
            main()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL if is_temporary(error) else 1)
    except Exception as error:
        if not is_temporary(error):
            raise
        traceback.print_exc()
        sys.exit(os.EX_TEMPFAIL)


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of the stage that DVC runs here, for as long as the block runs.

    Killing `dvc repro` (kill -9) leaves its stage running, and the next `dvc repro` would start the same
    stage again, with the same files. The lock is released when the process ends, in any way. Commands that
    DVC does not run have no stage: DVC sets `DVC_STAGE` and `DVC_ROOT` for each stage.

    Raises:
        StageRunning: another process runs the stage.
    """
    stage = os.environ.get("DVC_STAGE")
    if not stage:
        yield
        return
    path = Path(os.environ.get("DVC_ROOT", "."), _LOCKS, f"{re.sub(r'[^A-Za-z0-9@._-]', '_', stage)}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StageRunning(stage=stage, pid=file.read().strip()) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def use_onednn() -> None:
    """Let TensorFlow use oneDNN's kernels on every processor, unless the user chose otherwise.

    They are its default only where the processor has AVX-512 VNNI; without them LeNet trains at a third of
    the speed and a ViT at two thirds (docs/benchmarks.md). Call it before anything imports TensorFlow: two
    processes with other kernels round differently.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def quiet_libraries() -> None:
    """Switch off telemetry and TensorFlow's start-up chatter, unless the user chose otherwise."""
    for name, value in {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "GX_ANALYTICS_ENABLED": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }.items():
        os.environ.setdefault(name, value)


def child_environment() -> dict[str, str]:
    """This process's environment for `dvc`, with this interpreter first on PATH for the stages."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # Without this, Python buffers a stage's lines when it writes to a pipe.
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}


SQLITE_LOCKED, SQLITE_DAMAGED = {5, 6}, {11, 26}
"""Result codes, https://sqlite.org/rescode.html: another connection writes; damaged, or not a database."""
# Of an OSError without a class of its own: no route to the host, or a busy server.
_TEMPORARY_ERRNOS = (errno.EBUSY, errno.EHOSTUNREACH, errno.ENETUNREACH)
# Too many requests, bad gateway, service unavailable, gateway timeout (RFC 6585, 9110).
_TEMPORARY_STATUS = (429, 502, 503, 504)


def sqlite_codes(error: BaseException | None) -> set[int]:
    """SQLite's result codes of the error and its causes, without their details."""
    errors = [cause for cause in causes(error) if isinstance(cause, sqlite3.Error)]
    return {getattr(cause, "sqlite_errorcode", 0) & 0xFF for cause in errors}


def is_temporary(error: BaseException | None) -> bool:
    """Whether another try may succeed: a lock, a lost connection or a busy server caused the error.

    Types and codes of the error and its causes decide.
    """
    if sqlite_codes(error) & SQLITE_LOCKED:
        return True
    for cause in causes(error):
        if isinstance(cause, ConnectionError | TimeoutError):
            return True
        if isinstance(cause, socket.gaierror):
            return cause.errno == socket.EAI_AGAIN
        if isinstance(cause, OSError) and cause.errno in _TEMPORARY_ERRNOS:
            return True
        # HTTPError of urllib has `code`, that of requests `response`; MLflow answers with its own codes.
        response = getattr(cause, "response", None)
        if getattr(cause, "code", getattr(response, "status_code", None)) in _TEMPORARY_STATUS:
            return True
        if getattr(cause, "error_code", None) == "TEMPORARILY_UNAVAILABLE":
            return True
    return False


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
