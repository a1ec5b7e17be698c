"""Under which circumstances the pretended models of tests were timed."""

from __future__ import annotations

from pipelines.core.results import CallTimes, Timing, VariantTimes
from pipelines.machine import Machine

MACHINE = Machine(
    cpu="Example CPU @ 2.00GHz", architecture="x86_64", cores=2, quota_cores=None, onnxruntime="1.32.0"
)
TIMING = Timing(machine=MACHINE, measured_at="2026-11-28T09:30:00Z", calibration_ms=4.125)
SAID = "Example CPU @ 2.00GHz, x86_64, 2 cores, ONNX Runtime 1.32.0, on 2026-11-28, calibration 4.12 ms"
"""`TIMING` as people read it."""


def times(p50_ms: float, *, speed_up: float | None = None) -> VariantTimes:
    """Times of one variant: a batch of 16 takes nine times as long as one picture."""
    return VariantTimes(
        batch_1=CallTimes(p50_ms=p50_ms, p95_ms=2 * p50_ms, speed_up=speed_up),
        batch_16=CallTimes(p50_ms=9 * p50_ms, p95_ms=10 * p50_ms, speed_up=speed_up),
    )
