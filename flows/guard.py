"""Run a command, and see to it that nothing of it outlives whoever asked for it.

    python -P flows/guard.py --owner PID [--signal INT] [--grace 10] -- COMMAND ARGUMENT…

A process that is killed with SIGKILL cannot clean up after itself, so this one watches for it: when the owner
is gone, or on SIGTERM, SIGINT or SIGHUP, it tells all that the command has started to end, and kills what is
left after the grace period. It imports nothing of this repository: it runs where any commit is checked out.
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
    # -P: the folder of this file is no place to import from.
    return [
        *(sys.executable, "-P", str(Path(__file__).resolve())),
        *("--owner", str(owner), "--signal", signal_name, "--grace", f"{grace_s:g}", "--"),
        *arguments,
    ]


def main() -> int:
    """Run the command until it ends or its owner does; returns the exit status."""
    options = _parser().parse_args()
    owner = _process(options.owner)
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: told.append(got))
    _adopt_orphans()
    try:
        child = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - the command is the caller's own
    except OSError as error:
        print(f"error: {options.command[0]} cannot be started: {error}", file=sys.stderr)
        return 127
    while child.poll() is None and not told and _lives(owner):
        try:
            child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    end_descendants(child, signal.Signals[f"SIG{options.signal}"], grace_s=options.grace)
    status = child.wait()
    return status if status >= 0 else 128 - status


def end_descendants(child: subprocess.Popen[bytes], polite: signal.Signals, *, grace_s: float) -> None:
    """Signal every process below this one, and kill those that are still there after `grace_s` seconds."""
    _signal(_descendants(), polite)
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
    """Whether it is still the same process, and not only a dead one that nobody has fetched."""
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
    """On Linux, so that what detaches itself is still found here; elsewhere direct descendants are."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run a command that ends with its owner.")
    parser.add_argument("--owner", type=int, required=True, help="process id of whoever asks for it")
    parser.add_argument(
        "--signal", choices=("INT", "TERM"), default="INT", help="what it is told to end with"
    )
    parser.add_argument("--grace", type=float, default=10.0, help="seconds it gets to end by itself")
    parser.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
