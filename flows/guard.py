"""Run a command, and end all of its processes when the owner of the command ends.

    python -P flows/guard.py --owner PID [--signal INT] [--grace 10] -- COMMAND ARGUMENT…

A process that is killed with SIGKILL cannot clean up after itself, so that this one watches it: when the
owner has ended, or on SIGTERM, SIGINT or SIGHUP, it signals all processes that the command has started, and
kills those that are left after the grace period. It imports nothing of this repository, because it runs in
any commit.
"""

from __future__ import annotations

import argparse
import ctypes
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

POLL_S = 0.25
# From linux/prctl.h: orphans below this process become its children, instead of init's.
_PR_SET_CHILD_SUBREAPER = 36


def command(
    arguments: list[str], *, owner: int, signal_name: str = "INT", grace_s: float = 10.0
) -> list[str]:
    """The command line that runs `arguments` under guard."""
    # -P: do not import from the folder of this file.
    return [
        *(sys.executable, "-P", str(Path(__file__).resolve())),
        *("--owner", str(owner), "--signal", signal_name, "--grace", f"{grace_s:g}", "--"),
        *arguments,
    ]


def main() -> int:
    """Run the command until it or its owner ends; returns the exit status."""
    options = _parser().parse_args()
    owner = _process(options.owner)
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: received.append(number))
    _adopt_orphans()
    try:
        child = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - the command is the caller's own
    except OSError as error:
        print(f"error: cannot start {options.command[0]}: {error}", file=sys.stderr)
        return 127
    while child.poll() is None and not received and _lives(owner):
        try:
            child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    end_descendants(child, signal.Signals[f"SIG{options.signal}"], grace_s=options.grace)
    status = child.wait()
    return status if status >= 0 else 128 - status


def end_descendants(child: subprocess.Popen[bytes], number: signal.Signals, *, grace_s: float) -> None:
    """Signal every process below this one, and kill those that still run after `grace_s` seconds."""
    _signal(_descendants(), number)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        child.poll()
        if not _descendants():
            return
        time.sleep(0.05)
    while left := _descendants():
        _signal(left, signal.SIGKILL)
        child.poll()
        time.sleep(0.05)


def _descendants() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if _lives(process)]


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _lives(process: psutil.Process | None) -> bool:
    """Whether it is still the same process, and not a zombie."""
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _adopt_orphans() -> None:
    """On Linux, keep detached processes below this one; elsewhere only direct descendants are found."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run a command that ends with its owner.")
    parser.add_argument("--owner", type=int, required=True, help="process id of the owner")
    parser.add_argument(
        "--signal", choices=("INT", "TERM"), default="INT", help="signal that asks the processes to end"
    )
    parser.add_argument("--grace", type=float, default=10.0, help="seconds until they are killed")
    parser.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
