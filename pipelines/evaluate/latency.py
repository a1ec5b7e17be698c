"""Time every model on real test pictures: `python -m pipelines.evaluate.latency`.

One process, one thread, all models loaded, their order shuffled again in every round: what else the machine
does at a moment then falls on all of them alike, and the figures compare. Variants of one architecture take
their turns together; how much faster one is, is the median of the rounds' own ratios. Close other programs.
Times differ from run to run, so the stage runs only when a model file or the machine changes. The file also
holds machine, date and the time of a fixed computation (`pipelines.core.results`).
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.cli import run_stage
from pipelines.core.errors import ResultCorrupt
from pipelines.core.manifest import read_manifest
from pipelines.core.params import load_params
from pipelines.core.records import read_record, write_record
from pipelines.core.results import CallTimes, Latencies, Timing, VariantTimes
from pipelines.core.variants import all_variants, architecture_of
from pipelines.machine import Machine, this_machine
from pipelines.model.predict import open_model, read_batches
from serving.contract.arrays import Image
from serving.cores import usable_cores
from serving.inference.onnx_classifier import OnnxClassifier

THREADS = 1
BATCH_SIZES = (1, 16)
# The first runs plan memory and bring weights into the caches.
WARM_UP_RUNS = 3
# Different pictures in turn; no network here is faster on one than on another.
PICTURES = 32

Times = dict[int, list[float]]
"""Batch size → ms of each call."""

# The largest product that OpenBLAS still computes in one thread (interface/gemm.c: at most 64³
# multiplications), as latency is measured; its 48 KiB stay in the cache of any core.
_SIDE = 64
# 0.26 GFLOP in all, some ms on a core of today: long enough to time, short enough to repeat in every round.
_PRODUCTS = 500


class Calibration:
    """A fixed computation in one thread: 500 products of float32 matrices, 64 by 64.

    It never changes and is timed between the models; where it took longer, so did they.
    """

    def __init__(self) -> None:
        """Prepare the matrices: the identity, so that nothing overflows however often they are multiplied."""
        self._fixed: NDArray[np.float32] = np.eye(_SIDE, dtype=np.float32)
        self._product: NDArray[np.float32] = np.empty_like(self._fixed)

    def timed_ms(self) -> float:
        """Do it once; returns how long it took, ms."""
        start = time.perf_counter_ns()
        for _ in range(_PRODUCTS):
            np.matmul(self._fixed, self._fixed, out=self._product)
        return (time.perf_counter_ns() - start) / 1e6


def measure(
    models: Mapping[str, OnnxClassifier], pictures: Mapping[str, Image], *, rounds: int, seed: int
) -> tuple[dict[str, VariantTimes], float]:
    """Time all models in rotation, and the calibration before each round.

    Args:
        models: by name of the variant.
        pictures: for each of them uint8 [≥ 16, H, W, 3], preprocessed.
        rounds: timed runs of each model and batch size.
        seed: of the order of turns.

    Returns:
        Times by name, with the speed-up where the float32 model is among the models; and the calibration
        time, ms.
    """
    times: dict[str, Times] = {name: {size: [] for size in BATCH_SIZES} for name in models}
    for name, model in models.items():
        for size in BATCH_SIZES * WARM_UP_RUNS:
            model.predict(pictures[name][:size])
    order = random.Random(seed)
    calibration = Calibration()
    calibration.timed_ms()
    calibrations_ms = []
    with _no_garbage_collection():
        for number in range(rounds):
            calibrations_ms.append(calibration.timed_ms())
            for name in _shuffled(models, order):
                # Untimed: a service runs one model all the time, not after six others emptied the caches.
                models[name].predict(pictures[name][:1])
                for size in BATCH_SIZES:
                    batch = _turn(pictures[name], number, size)
                    times[name][size].append(_timed_ms(models[name], batch))
    figures = {name: _summary(found, times.get(architecture_of(name)), name) for name, found in times.items()}
    return figures, round(median(calibrations_ms), 3)


def read_machine(path: Path) -> Machine:
    """The machine that the stage `machine` described, which must be this one.

    Raises:
        ResultCorrupt: it is absent, damaged, or of another machine.
    """
    described, here = read_record(path, Machine, stage="machine"), this_machine()
    if described != here:
        reason = f"it describes another machine ({described}) than this one ({here})"
        raise ResultCorrupt(path=path, reason=reason, stage="machine")
    return here


def read_pictures(
    models: Mapping[str, OnnxClassifier], locators: Sequence[str], root: Path
) -> dict[str, Image]:
    """The same originals for all models, each through its own contract; repeated up to the largest batch."""
    enough = [locators[index % len(locators)] for index in range(max(len(locators), max(BATCH_SIZES)))]
    return {
        name: np.concatenate(list(read_batches(enough, root, model.contract, workers=usable_cores())))
        for name, model in models.items()
    }


def main() -> None:
    """Load every variant of `architectures`, time them, write the figures."""
    params = load_params()
    machine = read_machine(paths.MACHINE)
    names = all_variants(params.architectures)
    models = {name: open_model(paths.onnx_model(name), threads=THREADS) for name in names}
    manifest = read_manifest(paths.MANIFEST, columns=["split", "source"])
    test = manifest[manifest["split"] == "test"]["source"]
    chosen = test.sample(min(PICTURES, len(test)), random_state=params.seed)
    pictures = read_pictures(models, list(chosen), Path())
    rounds = params.latency.rounds
    times, calibration_ms = measure(models, pictures, rounds=rounds, seed=params.seed)
    measured_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    timing = Timing(machine=machine, measured_at=measured_at, calibration_ms=calibration_ms)
    write_record(paths.LATENCY, Latencies(timing=timing, threads=THREADS, rounds=rounds, models=times))
    for name, found in times.items():
        one, many = found.batch_1, found.batch_16
        faster = "" if one.speed_up is None else f", × {one.speed_up:.2f}"
        print(f"{name}: {one.p50_ms:.2f} ms (p95 {one.p95_ms:.2f}), 16 in {many.p50_ms:.1f} ms{faster}")
    print(f"Measured on {timing}.")


def _shuffled(names: Iterable[str], order: random.Random) -> list[str]:
    """Architectures in any order, the variants of one beside each other in any order."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(architecture_of(name), []).append(name)
    turns = list(families.values())
    order.shuffle(turns)
    for family in turns:
        order.shuffle(family)
    return [name for family in turns for name in family]


def _summary(found: Times, float_times: Times | None, name: str) -> VariantTimes:
    if architecture_of(name) == name:
        float_times = None
    by_size = {
        f"batch_{size}": _call_times(times, None if float_times is None else float_times[size])
        for size, times in found.items()
    }
    return VariantTimes(**by_size)


def _call_times(times_ms: list[float], float_times_ms: list[float] | None) -> CallTimes:
    low, high = np.quantile(times_ms, (0.5, 0.95))
    ratios = None if float_times_ms is None else np.array(float_times_ms) / np.array(times_ms)
    return CallTimes(
        p50_ms=round(float(low), 3),
        p95_ms=round(float(high), 3),
        speed_up=None if ratios is None else round(float(np.median(ratios)), 3),
    )


def _turn(pictures: Image, number: int, size: int) -> Image:
    """A batch that starts at another picture every round."""
    rows = (np.arange(size) + number) % len(pictures)
    return pictures[rows]


def _timed_ms(model: OnnxClassifier, batch: Image) -> float:
    start = time.perf_counter_ns()
    model.predict(batch)
    return (time.perf_counter_ns() - start) / 1e6


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a millisecond measurement would be counted as the model's."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


if __name__ == "__main__":
    run_stage(main)
