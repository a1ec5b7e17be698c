"""How a stage runs as a command: quiet libraries, one line for an error, an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from pipelines.errors import PipelineError


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main` and end the process.

    Exit status 0 on success; 1 with one line on standard error for a `PipelineError`.
    Anything else is a bug and keeps its traceback.
    """
    quiet_libraries()
    try:
        main()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


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
