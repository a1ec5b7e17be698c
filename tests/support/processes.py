"""Other processes, which may end at any moment."""

from __future__ import annotations

import signal
import subprocess

import psutil


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty when it has ended, whether somebody has waited for it or not."""
    try:
        return process.cmdline()
    # Also what a zombie raises.
    except psutil.NoSuchProcess:
        return []


def interrupted_at(process: subprocess.Popen[str], text: str) -> str:
    """Interrupt a process, as Ctrl-C does, when it prints a text; return what it wrote to standard error."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            process.send_signal(signal.SIGINT)
            break
    return process.communicate(timeout=120)[1]
