"""What one answer leaves behind, as numbers."""

from __future__ import annotations

import time

from serving.answering.pictures import Picture
from serving.answering.results import Detection
from serving.inference import Prediction
from serving.observing.observation import Observation, describe


def observation_of(
    detection: Detection, picture: Picture, prediction: Prediction, classes: tuple[str, ...]
) -> Observation:
    """Numbers of the first input's answer; there must be one."""
    outcome = describe(prediction.probabilities[0], prediction.embedding[0])
    statistics, timings = picture.statistics, detection.timings
    if statistics is None:
        raise RuntimeError("there is an answer, but there was no input")
    return Observation(
        id=detection.id,
        time=time.time(),
        model_version=detection.model.version,
        model_sha256=detection.model.sha256,
        predicted=classes[int(prediction.probabilities[0].argmax())],
        probabilities=outcome.probabilities,
        confidence=outcome.confidence,
        entropy=outcome.entropy,
        embedding=outcome.embedding,
        brightness=statistics.brightness,
        contrast=statistics.contrast,
        sharpness=statistics.sharpness,
        width=detection.width,
        height=detection.height,
        faces=len(picture.faces),
        box=picture.box,
        decode_ms=timings.decode,
        faces_ms=timings.faces,
        preprocess_ms=timings.preprocess,
        inference_ms=timings.queue + timings.inference,
        total_ms=timings.total,
    )
