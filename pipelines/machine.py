"""Describe the machine that latencies are measured on: `python -m pipelines.machine`.

Latencies depend on the machine, which no other input file describes: in a clone on another machine DVC would
find all inputs of `latency` unchanged and keep the latencies of the first machine. Therefore this stage
always runs, and `latency` depends on its output. The file is rewritten only if its content differs; it
contains no host name.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from pipelines.core.cli import run_stage
from pipelines.core.io import write_text
from pipelines.core.paths import MACHINE
from serving.cores import usable_cores

UNKNOWN = "unknown"
# One of them is installed; both contain the same module.
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
# Fields of /proc/cpuinfo for ARM cores, which have no model name.
_ARM_FIELDS = ("CPU implementer", "CPU part", "CPU variant")
_CPUINFO = Path("/proc/cpuinfo")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Properties that determine how fast a model runs on a machine: `reports/machine.json`."""

    cpu: str
    """Processor model, as the system names it."""
    architecture: str
    """`x86_64`, `aarch64`, …"""
    cores: int
    """Number of cores that this process may run on (its affinity)."""
    quota_cores: float | None
    """Limit of processor time by control groups, in cores; None without a limit."""
    onnxruntime: str
    """Version of ONNX Runtime."""

    def __str__(self) -> str:
        """Return a description in one line."""
        cores = f"{self.cores} core{'' if self.cores == 1 else 's'}"
        quota = "" if self.quota_cores is None else f" (quota {self.quota_cores:g})"
        return f"{self.cpu}, {self.architecture}, {cores}{quota}, ONNX Runtime {self.onnxruntime}"


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    return Machine(
        cpu=_cpu(),
        architecture=platform.machine() or UNKNOWN,
        cores=usable_cores(),
        quota_cores=quota_cores(_OWN_CGROUPS, _CGROUPS),
        onnxruntime=_runtime(),
    )


def cpu_model(cpuinfo: str) -> str | None:
    """Find the processor model in the text of /proc/cpuinfo; None if it is not given."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, separator, value = line.partition(":")
        if separator and value.strip():
            fields.setdefault(name.strip(), " ".join(value.split()))
    if "model name" in fields:
        return fields["model name"]
    parts = [f"{name} {fields[name]}" for name in _ARM_FIELDS if name in fields]
    return ", ".join(parts) or None


def quota_cores(own: Path, mounted: Path) -> float | None:
    """Find the smallest limit on processor time of this process's control groups, in cores; None without one.

    Args:
        own: list of the process's groups, /proc/self/cgroup.
        mounted: mount point of the control groups.
    """
    limits = [
        quota / period
        for folder in _group_folders(_read(own), mounted)
        for quota, period in [_limit(folder)]
        if quota > 0 and period > 0
    ]
    return round(min(limits), 2) if limits else None


def _group_folders(own: str, mounted: Path) -> Iterator[Path]:
    """Yield folders of the process's groups and their ancestors; in a container only the topmost exists."""
    for line in own.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":  # version 2, one tree for all controllers
            root = mounted
        elif "cpu" in controllers.split(","):
            root = mounted / "cpu"
        else:
            continue
        path = PurePosixPath(group.lstrip("/"))
        for part in (path, *path.parents):
            yield root / part


def _limit(folder: Path) -> tuple[float, float]:
    """Read quota and period of one group, µs; a quota of 0 means no limit."""
    words = _read(folder / "cpu.max").split() or [
        _read(folder / "cpu.cfs_quota_us").strip(),
        _read(folder / "cpu.cfs_period_us").strip(),
    ]
    try:
        return float(words[0]), float(words[1])
    except (ValueError, IndexError):  # "max", or no such file
        return 0.0, 0.0


def _cpu() -> str:
    return cpu_model(_read(_CPUINFO)) or platform.processor() or UNKNOWN


def _runtime() -> str:
    for name in _RUNTIMES:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return UNKNOWN


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def main() -> None:
    """Write the description of this machine if it differs from the file."""
    machine = this_machine()
    text = json.dumps(asdict(machine), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if _read(MACHINE) != text:
        write_text(MACHINE, text)
    print(machine)


if __name__ == "__main__":
    run_stage(main)
