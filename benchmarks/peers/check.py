"""Whether every server answers what the model answers: otherwise its speed means nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOLERANCE = 1e-4
"""Of a probability: float32 and two builds of OpenCV agree far better."""


class WrongAnswer(RuntimeError):
    """A server answers something else."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the ONNX file says of one picture, by this project's own code and without a server."""

    picture: bytes
    probabilities: Mapping[str, float]


def expectations(model: Path, pictures: list[bytes]) -> list[Expected]:
    """The model's own answers.

    Raises:
        WrongAnswer: it says the same of all of them, so that comparing would prove nothing.
    """
    import numpy as np

    from serving.contract import decode, preprocess
    from serving.inference.onnx_classifier import OnnxClassifier

    classifier = OnnxClassifier.open(model, threads=1)
    spec = classifier.contract.input
    images = [preprocess(decode(picture, max_pixels=10**8), spec) for picture in pictures]
    rows = [classifier.predict(np.stack([image])).probabilities[0] for image in images]
    if np.ptp(rows, axis=0).max() < 100 * TOLERANCE:
        raise WrongAnswer(f"{model} answers the same for every picture, expected different answers")
    named = [dict(zip(classifier.contract.classes, map(float, row), strict=True)) for row in rows]
    return [Expected(picture=p, probabilities=values) for p, values in zip(pictures, named, strict=True)]


def check(
    title: str,
    ask: Callable[[bytes], tuple[int, bytes]],
    read: Callable[[Any], Mapping[str, float]],
    expected: list[Expected],
) -> None:
    """Ask for each picture, once.

    Raises:
        WrongAnswer: an error, or a probability that is off by more than `TOLERANCE`.
    """
    for one in expected:
        status, body = ask(one.picture)
        if status != 200:
            raise WrongAnswer(f"{title} answers {status}, expected 200: {body[:300]!r}")
        got = read(json.loads(body))
        far = max(abs(got.get(name, -1.0) - value) for name, value in one.probabilities.items())
        if far > TOLERANCE:
            raise WrongAnswer(
                f"{title} answers {dict(got)}, expected {dict(one.probabilities)} ± {TOLERANCE}"
            )
