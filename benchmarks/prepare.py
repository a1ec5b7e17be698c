"""Speed and cost of `prepare`: images/s, CPU time per image, peak memory with its workers.

    python benchmarks/prepare.py FOLDER [--color gray] [--size 48] [--workers N]

FOLDER has the layout of data/. The result is written to a temporary folder beside it and removed.
FER2013 takes about fifteen seconds on two quiet cores. CPU time per image hardly depends on what
else the machine does; images/s does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from pathlib import Path

import psutil

from pipelines.core.params import load_params
from pipelines.core.paths import PARAMS
from pipelines.prepare.stage import prepare
from pipelines.prepare.summary import report

_SAMPLE_S = 0.05


class PeakMemory:
    """Largest resident memory of this process and its children together, sampled while it runs."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(_SAMPLE_S):
            self.bytes = max(self.bytes, sum(_resident(p) for p in (me, *me.children(recursive=True))))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def cpu_seconds() -> float:
    """Of this process and of its children that have ended, seconds."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    """Measure once and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--color", choices=("rgb", "gray"), default="gray")
    parser.add_argument("--size", type=int, default=48, help="side of the prepared pictures, px")
    parser.add_argument("--workers", type=int, default=None)
    options = parser.parse_args()
    changes = {"color": options.color, "image_size_px": options.size, "group_pattern": None}
    params = load_params(PARAMS).prepare.model_copy(update=changes)
    folder = options.folder.absolute()
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary, PeakMemory() as peak:
        cpu, began = cpu_seconds(), time.perf_counter()
        outcome = prepare(
            folder,
            Path(temporary) / "prepared",
            root=folder.parent,
            params=params,
            seed=20,
            workers=options.workers,
        )
        wall, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    figures = {
        "images": outcome.found,
        "seconds": round(wall, 2),
        "images_per_s": round(outcome.found / wall),
        "cpu_ms_per_image": round(1000 * cpu / outcome.found, 3),
        "peak_mib": round(peak.bytes / 2**20),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "removed": report(outcome).removed,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
