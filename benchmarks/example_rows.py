"""Observations for benchmarks of the database: as large as those of a real network, each different."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from serving.detection.responses import summarize_output
from serving.observations.records import Observation

CLASSES, FEATURES = 7, 128
"""Numbers of the sample's networks."""


def example_rows(count: int) -> Iterator[Observation]:
    """Observations of portraits with one face, in the order of their times."""
    random = np.random.default_rng(0)
    for number in range(count):
        outcome = summarize_output(
            random.dirichlet(np.ones(CLASSES)).astype(np.float32),
            random.normal(size=FEATURES).astype(np.float32),
        )
        yield Observation(
            id=f"{number:012x}7000{random.integers(1 << 62):016x}",
            time=1.8e9 + number,
            model_version="3",
            model_sha256="ab" * 32,
            predicted="happy",
            probabilities=outcome.probabilities,
            confidence=outcome.confidence,
            entropy=outcome.entropy,
            embedding=outcome.embedding,
            brightness=0.5,
            contrast=0.2,
            sharpness=0.01,
            width=640,
            height=480,
            faces=1,
            box=(10, 10, 200, 200),
            decode_ms=2.0,
            faces_ms=9.0,
            preprocess_ms=0.2,
            inference_ms=3.0,
            total_ms=15.0,
        )
