"""Nothing outlives the process that asked for it: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import guard

PATIENCE_S = 60.0

# A parent that ignores SIGTERM, a grandchild that detaches itself: both write their process id into a file.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import os,sys,time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", code, sys.argv[2]], start_new_session=True)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(600)
"""

# Somebody who has a guarded command run and waits for it.
OWNER = """
import os, subprocess, sys
from flows import guard
command = guard.command(sys.argv[1:], owner=os.getpid(), signal_name="TERM", grace_s=1)
sys.exit(subprocess.call(command))
"""


def read_pid(path: Path) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path.name} was not written"
        time.sleep(0.02)
    return int(path.read_text())


def gone(pid: int) -> bool:
    """Whether the process ends in time; one that is dead and not fetched has ended too."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def stubborn(tmp_path: Path) -> list[str]:
    return [sys.executable, "-c", STUBBORN, str(tmp_path / "parent"), str(tmp_path / "detached")]


def test_killed_owner_takes_the_whole_tree_with_it(stubborn: list[str], tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, *stubborn])
    parent, detached = read_pid(tmp_path / "parent"), read_pid(tmp_path / "detached")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert gone(parent)
    assert gone(detached)


def test_a_signal_ends_a_child_that_ignores_it(stubborn: list[str], tmp_path: Path) -> None:
    command = guard.command(stubborn, owner=os.getpid(), signal_name="TERM", grace_s=1)
    with subprocess.Popen(command) as guarding:
        parent, detached = read_pid(tmp_path / "parent"), read_pid(tmp_path / "detached")
        guarding.send_signal(signal.SIGTERM)
        assert guarding.wait(PATIENCE_S) == 128 + signal.SIGKILL
    assert gone(parent)
    assert gone(detached)


def test_command_that_ends_leaves_nothing_behind_either(tmp_path: Path) -> None:
    code = f"sleep 600 & echo $! > {tmp_path / 'left'}"
    command = guard.command(["sh", "-c", code], owner=os.getpid(), grace_s=1)
    assert subprocess.call(command) == 0
    assert gone(read_pid(tmp_path / "left"))


@pytest.mark.parametrize(("code", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_status_is_the_command_s_own(code: str, status: int) -> None:
    assert subprocess.call(guard.command(["sh", "-c", code], owner=os.getpid())) == status


def test_command_that_cannot_be_started_is_reported() -> None:
    command = guard.command(["no-such-command"], owner=os.getpid())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert done.stderr.startswith("error: cannot start no-such-command")
