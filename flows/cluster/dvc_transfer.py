"""DVC's part of a job: pushes to and pulls from the DVC remote with `flows.repro.dvc_program`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows import guard
from flows.errors import ClusterError
from flows.repro.commands import dvc_operation, run

_RESULT = "result: "


def default_remote(root: Path) -> tuple[str, dict[str, object]]:
    """Name and settings of the remote that nodes and coordinator share.

    Raises:
        ClusterError: none is configured.
    """
    from dvc.config import Config

    settings: dict[str, Any] = Config(dvc_dir=str(root / ".dvc")).read()
    name = settings.get("core", {}).get("remote")
    if not name or name not in settings.get("remote", {}):
        raise ClusterError(
            what="the nodes' DVC remote",
            reason="this repository has no default remote, and nodes share files only through one",
            remedy="configure one that all of them reach: `dvc remote add --default NAME URL`",
        )
    section = settings["remote"][name]
    # Paths in DVC's settings are of a subclass of str; DVC has made them absolute.
    return name, {key: str(value) if isinstance(value, str) else value for key, value in section.items()}


def run_operation(
    root: Path, variables: Mapping[str, str], operation: str, **arguments: object
) -> dict[str, Any]:
    """Run one operation of `flows.repro.dvc_program` in a repository.

    Args:
        root: of the repository.
        variables: environment of the process.
        operation: name of a function there.
        arguments: of the function; must be JSON values.

    Raises:
        ClusterError: git, DVC or the remote failed; `temporary` where a lock or a connection was the cause.
    """
    command = dvc_operation(operation, **arguments)
    done = run(guard.command(command, owner=os.getpid()), root, variables)
    results = [line for line in done.output.splitlines() if line.startswith(_RESULT)]
    if done.status != 0 or not results:
        raise ClusterError(
            what=f"the DVC remote ({operation})",
            reason=done.reason,
            remedy="correct it, and start the run again",
            temporary=done.status == os.EX_TEMPFAIL,
        )
    result: dict[str, Any] = json.loads(results[-1].removeprefix(_RESULT))
    return result
