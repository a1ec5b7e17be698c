"""Other processes, which may end at any moment."""

from __future__ import annotations

import psutil


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty when it has ended, whether somebody has waited for it or not."""
    try:
        return process.cmdline()
    # Also what a zombie raises.
    except psutil.NoSuchProcess:
        return []
