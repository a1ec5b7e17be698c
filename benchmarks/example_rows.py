"""Observations for benchmarks of the database: as large as those of a real network, each different."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from serving.detection.responses import summarize_output
from serving.observations.records import Observation

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
FEATURES = 128
"""Length of an embedding; both as the sample's networks have them."""
VERSION, SHA256 = "3", "ab" * 32
"""Model that answered."""


def example_rows(count: int) -> Iterator[Observation]:
    """Observations of portraits with one face, in the order of their times."""
    random = np.random.default_rng(0)
    for number in range(count):
        outcome = summarize_output(
            random.dirichlet(np.ones(len(CLASSES))).astype(np.float32),
            random.normal(size=FEATURES).astype(np.float32),
        )
        brightness, contrast, sharpness = random.random(3)
        yield Observation(
            id=f"{number:012x}7000{random.integers(1 << 62):016x}",
            time=1.8e9 + number,
            model_version=VERSION,
            model_sha256=SHA256,
            predicted=CLASSES[number % len(CLASSES)],
            probabilities=outcome.probabilities,
            confidence=outcome.confidence,
            entropy=outcome.entropy,
            embedding=outcome.embedding,
            brightness=brightness,
            contrast=contrast,
            sharpness=sharpness,
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
