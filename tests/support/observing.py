"""Observations for tests: plausible, and each different from the others."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np

from serving.observations.records import ModelRecord, Observation, Switch, summarize_output

CLASSES = ("angry", "happy", "sad")
_DAY_S = 86_400.0
NOW = (time.time() // _DAY_S - 1) * _DAY_S
"""Midnight (UTC) before the last one: in the past for every process that a test starts."""
MODEL = ModelRecord(
    name="emotion",
    version="3",
    sha256="ab" * 32,
    classes=CLASSES,
    lineage={"run_id": "f00", "git_commit": None, "dataset": "d5", "sample": True},
)
SWITCH = Switch(
    time=NOW,
    from_version=None,
    from_sha256=None,
    to_version="3",
    to_sha256="ab" * 32,
    reason="first model",
    process="host:1",
)


def id_of(number: int, *, at: float = NOW) -> str:
    """A UUID of version 7, the same for the same number and time."""
    tail = random.Random(number).getrandbits(62)
    return f"{int(at * 1000):012x}7{number & 0xFFF:03x}{tail | 1 << 63:016x}"


def fresh_id(number: int = 0) -> str:
    """One that was made right now."""
    return id_of(number, at=time.time())


def observation(number: int = 0, **changes: Any) -> Observation:
    """One answer; `number` seconds after `NOW` unless `changes` say otherwise."""
    random_numbers = np.random.default_rng(number)
    probabilities = random_numbers.dirichlet([1, 1, 1]).astype(np.float32)
    outcome = summarize_output(probabilities, random_numbers.normal(size=8).astype(np.float32))
    values: dict[str, Any] = {
        "id": id_of(number),
        "time": NOW + number,
        "model_version": MODEL.version,
        "model_sha256": MODEL.sha256,
        "predicted": CLASSES[int(probabilities.argmax())],
        "probabilities": outcome.probabilities,
        "confidence": outcome.confidence,
        "entropy": outcome.entropy,
        "embedding": outcome.embedding,
        "brightness": 0.1 + number / 1e6,
        "contrast": 0.2,
        "sharpness": 0.01,
        "width": 640,
        "height": 480,
        "faces": 1,
        "box": (10, -5, 200, 210),
        "decode_ms": 1.5,
        "faces_ms": 4.0,
        "preprocess_ms": 0.5,
        "inference_ms": 3.0,
        "total_ms": 9.5,
    }
    return Observation(**values | changes)
