"""The stack's worker: sets up pool, deployments and automation, then becomes `prefect worker start`.

    python -m flows.dev_stack.worker [FILE]

The file is created when the deployments exist, which are necessary to start a run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flows.dev_stack.deployments import set_up
from flows.dev_stack.services import POOL
from flows.errors import StackError


def main() -> None:
    """Set up the server, then become the worker."""
    try:
        set_up(Path.cwd())
    except StackError as error:
        sys.exit(f"error: {error}")
    for path in sys.argv[1:2]:
        Path(path).touch()
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    os.execv(command[0], command)  # noqa: S606 - the command is this file's own


if __name__ == "__main__":
    main()
