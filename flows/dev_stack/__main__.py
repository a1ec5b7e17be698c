"""`make up`: the complete stack on this machine, without containers; Ctrl-C ends it.

    HOST=127.0.0.1 MLFLOW_PORT=5000 PREFECT_PORT=4200 MIEN_PORT=8000 python -m flows.dev_stack

When one process ends, all others are ended too, and the exit status is not 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from flows.dev_stack.services import STOP_S, Stack, check_ports, read_stack
from flows.errors import StackError
from pipelines.core import paths
from pipelines.core.cli import quiet_libraries
from pipelines.core.errors import RegistryError
from pipelines.tracking.runs import check_place

# honcho's status after a signal: 128 + SIGINT, 128 + SIGTERM.
_STOPPED = (130, 143)


def main() -> int:
    """Start the stack and wait until it ends; returns the exit status."""
    argparse.ArgumentParser(
        prog="python -m flows.dev_stack",
        description="Start MLflow, Prefect, a worker and the service; Ctrl-C ends all.",
        epilog="Addresses and ports: HOST, MLFLOW_PORT, PREFECT_PORT, MIEN_HOST, MIEN_PORT; docs/settings.md",
    ).parse_args()
    quiet_libraries()
    try:
        stack = read_stack(os.environ, Path.cwd())
        check_ports(stack)
        check_place(stack.root / paths.MLFLOW_DATABASE)
    except (StackError, RegistryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    status = run(stack)
    if status in _STOPPED:
        return 0
    print(f"error: a process ended by itself (status {status}); see its last lines", file=sys.stderr)
    return status or 1


def run(stack: Stack) -> int:
    """Run the stack's processes until one of them ends or on a signal; returns honcho's status."""
    from honcho import manager as honcho

    # The default of five seconds would cut off requests that the service still answers.
    honcho.KILL_WAIT = STOP_S + 5
    manager = honcho.Manager()
    environment = stack.environment(os.environ)
    for folder in (stack.prefect_home, stack.root / paths.MLRUNS):
        folder.mkdir(parents=True, exist_ok=True)
    for name, command in stack.commands(os.getpid()).items():
        # exec: honcho's signals reach the guard and not a shell.
        manager.add_process(name, f"exec {command}", env=environment, cwd=str(stack.root))
    manager.loop()
    return int(manager.returncode or 0)


if __name__ == "__main__":
    sys.exit(main())
