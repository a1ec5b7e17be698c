"""When and where models were timed: machine, date, and a calibration time that says how fast it was then.

A time without them means little: on a shared machine the same model is twice as slow on a busy afternoon. The
calibration is a computation that never changes, timed between the models; where it took longer, so did they.
Written into `reports/latency.json` by `latency`; every table that shows these times prints it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from pipelines.machine import Machine

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The largest product that OpenBLAS still computes in one thread (interface/gemm.c: at most 64³
# multiplications), as latency is measured; its 48 KiB stay in the cache of any core.
_SIDE = 64
# 0.26 GFLOP in all, some ms on a core of today: long enough to time, short enough to repeat in every round.
_PRODUCTS = 500


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Circumstances under which models were timed."""

    machine: Machine
    measured_at: str
    """UTC, ISO 8601, to the second."""
    calibration_ms: float
    """Median time of the fixed computation, see `Calibration`."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object; `KeyError` where a value is missing."""
        return cls(
            machine=Machine.from_json(record["machine"]),
            measured_at=str(record["measured_at"]),
            calibration_ms=float(record["calibration_ms"]),
        )

    @property
    def day(self) -> str:
        """Of measuring, UTC, as in 2026-11-29."""
        return self.measured_at[:10]

    def __str__(self) -> str:
        """For people, in one line."""
        return f"{self.machine}, on {self.day}, calibration {self.calibration_ms:.2f} ms"


TIMING_KEYS = tuple(
    f"timing.{key}"
    for key in (
        *(f"machine.{name}" for name in Machine.__dataclass_fields__),
        "measured_at",
        "calibration_ms",
    )
)
"""What a file that holds a timing under the key `timing` must have, as `read_record` takes it."""


class Calibration:
    """A fixed computation in one thread: 500 products of float32 matrices, 64 by 64."""

    def __init__(self) -> None:
        """Prepare the matrices: the identity, so that nothing overflows however often they are multiplied."""
        import numpy as np

        self._fixed: NDArray[np.float32] = np.eye(_SIDE, dtype=np.float32)
        self._product: NDArray[np.float32] = np.empty_like(self._fixed)

    def timed_ms(self) -> float:
        """Do it once; returns how long it took, ms."""
        import numpy as np

        start = time.perf_counter_ns()
        for _ in range(_PRODUCTS):
            np.matmul(self._fixed, self._fixed, out=self._product)
        return (time.perf_counter_ns() - start) / 1e6


def now() -> str:
    """The current time as `Timing.measured_at` has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
