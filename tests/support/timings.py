"""Under which circumstances the pretended models of tests were timed."""

from __future__ import annotations

from typing import Any

MACHINE: dict[str, Any] = {
    "cpu": "Example CPU @ 2.00GHz",
    "architecture": "x86_64",
    "cores": 2,
    "quota_cores": None,
    "onnxruntime": "1.32.0",
}
TIMING: dict[str, Any] = {
    "machine": MACHINE,
    "measured_at": "2026-11-28T09:30:00Z",
    "calibration_ms": 4.125,
}
SAID = "Example CPU @ 2.00GHz, x86_64, 2 cores, ONNX Runtime 1.32.0, on 2026-11-28, calibration 4.12 ms"
"""`TIMING` as people read it."""
