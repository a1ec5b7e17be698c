"""Description of a benchmark's machine: the same facts under every table."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import psutil

from serving.cores import usable_cores


def processor() -> str:
    """The processor's name, as the system has it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine() -> str:
    """Cores, processor, memory, system, interpreter."""
    gib = psutil.virtual_memory().total / 2**30
    system = _system()
    python = platform.python_version()
    return f"{usable_cores()} cores of {processor()}, {gib:.0f} GiB, {system}, Python {python}"


def versions(packages: Iterable[str]) -> str:
    """Of installed packages."""
    return ", ".join(f"{name} {version(name)}" for name in packages)


def commit() -> str:
    """The commit that is checked out, `-dirty` when files that git knows were changed; empty without git."""
    if shutil.which("git") is None:
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def load() -> float:
    """The system's load average over one minute."""
    return psutil.getloadavg()[0]


def _system() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    return release.get("PRETTY_NAME", platform.system())
