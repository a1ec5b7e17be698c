"""Run a stage as a command: one process per stage, quiet libraries, one line for an error, an exit status."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.core.errors import PipelineError, StageRunning

_LOCKS = Path(".mien", "stages")


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main` and end the process.

    Exit status 0 on success; 1 with one line on standard error for a `PipelineError`.
    Anything else is a bug and keeps its traceback.
    """
    quiet_libraries()
    try:
        with _alone():
            main()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


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
