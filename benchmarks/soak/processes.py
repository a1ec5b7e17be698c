"""What the service's processes do, and what each of them uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import psutil

from benchmarks.service import processes_of
from benchmarks.soak.record import ProcessUse, Role

ANSWERING: Final = "answers requests"
REGISTRY: Final = "follows the registry"
FETCHING: Final = "fetches a version"
DRIFT: Final = "computes drift"
OTHER: Final = "other"
LASTING: Final = (ANSWERING, REGISTRY)
"""Processes that last as long as the service: their memory is judged."""
BRIEF: Final = (FETCHING, DRIFT)
"""Processes that last seconds, with MLflow and with Evidently."""

# What `serving.processes` starts, by module; with one worker the first process answers itself.
_MODULES: Final = {
    "serving.model_sync.poller": REGISTRY,
    "serving.model_sync.registry_process": FETCHING,
    "serving.drift.compute": DRIFT,
}
_STARTER: Final = "serving.processes"
_MIB: Final = 1 << 20


def role_of(command: Sequence[str]) -> Role:
    """What a process with this command line does."""
    if command[1:] == ["-m", "serving"]:
        return ANSWERING
    if _STARTER in command:
        return next((role for module, role in _MODULES.items() if module in command), OTHER)
    return OTHER


def uses(pid: int) -> Iterator[ProcessUse]:
    """Use of a service of one worker, by process.

    Args:
        pid: of `python -m serving`. A process that ends meanwhile is left out.
    """
    for process in processes_of(pid):
        with suppress(psutil.NoSuchProcess):
            yield ProcessUse(
                role=role_of(process.cmdline()),
                memory_mib=_memory_mib(process),
                files=process.num_fds(),
                threads=process.num_threads(),
            )


def _memory_mib(process: psutil.Process) -> float:
    memory = process.memory_full_info()
    return float(getattr(memory, "pss", 0) or memory.rss) / _MIB
