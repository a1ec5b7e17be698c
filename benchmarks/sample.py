"""`python -m benchmarks.sample`: how fast sample images are drawn and written; about 20 s.

It prints images/s with one process and with one per core, start of the processes included, the best of some
rounds (the machine may have other work). Expected: ≥300 images/s with two processes at 72 px.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from sample_faces.dataset import SampleSpec, write_sample


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of the sample's drawing.")
    parser.add_argument("--per-class", type=int, default=600)
    parser.add_argument("--size", type=int, default=72)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    spec = SampleSpec(per_class=arguments.per_class, seed=20, size_px=arguments.size)
    speeds = {
        processes: max(measure(spec, processes) for _ in range(arguments.rounds))
        for processes in sorted({1, len(os.sched_getaffinity(0))})
    }
    for processes, speed in speeds.items():
        print(f"{processes} process(es): {speed:6.0f} images/s, × {speed / speeds[1]:.2f} of one")


def measure(spec: SampleSpec, processes: int) -> float:
    """Images/s of writing a whole sample, files included."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        images = write_sample(spec, Path(folder) / "sample", processes=processes)
        return images / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
