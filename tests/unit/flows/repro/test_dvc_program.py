"""The program that runs DVC: its exit status says whether another try may help."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from dvc.exceptions import DvcException, ReproductionError
from dvc.lock import LockError

from flows.cluster.dvc_transfer import run_operation
from flows.errors import ClusterError
from flows.repro.dvc_program import StageFailed, failure_status, is_temporary
from tests.support.dvc_project import new_project


def refused() -> Exception:
    """A real refused connection, inside of the error of a library."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        try:
            try:
                socket.create_connection(unused.getsockname(), timeout=5)
            except OSError as error:
                raise DvcException("failed to upload") from error
        except DvcException as failure:
            kept: Exception = failure
            return kept
    raise AssertionError("something listens on an unused port")


def test_locks_lost_connections_and_busy_servers_are_temporary() -> None:
    assert is_temporary(refused())
    assert is_temporary(LockError("'data' is busy"))
    assert is_temporary(OSError(errno.EBUSY, "Please reduce your request rate"))
    assert is_temporary(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))


@pytest.mark.parametrize(
    "error",
    [
        DvcException("Connection refused, says the file that could not be read"),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    ],
)
def test_all_other_errors_are_permanent(error: Exception) -> None:
    assert not is_temporary(error)


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (StageFailed("train", 1), 1),
        (StageFailed("train", 75), 75),
        (StageFailed("train", 137), 137),
        (StageFailed("train", -9), 137),
        (StageFailed("train, exited with 75", -15), 1),
        (LockError("'data' is busy"), 75),
        (DvcException("'dvc.yaml' is invalid"), 1),
    ],
    ids=str,
)
def test_the_exit_status_of_a_run_follows_from_the_stage_s(cause: Exception, status: int) -> None:
    error = ReproductionError("failed to reproduce 'train'")
    error.__cause__ = cause
    assert failure_status(error) == status


def test_an_operation_that_cannot_succeed_is_permanent(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    with pytest.raises(ClusterError) as caught:
        run_operation(project.root, os.environ, "push_results", stage="no-such-stage")
    assert not caught.value.temporary
