"""Answers and switches of the model as rows of the observation database."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from serving.detection.image_reader import Picture
from serving.detection.responses import Detection, summarize_output
from serving.inference.model_slot import LiveModel, ModelIdentity, ModelSignature
from serving.inference.onnx_classifier import Prediction
from serving.observations.records import (
    ModelRecord,
    Observation,
    OtherFace,
    Switch,
    SwitchKind,
)

if TYPE_CHECKING:
    from serving.observations.recorder import Recorder


def observation_of(
    detection: Detection, picture: Picture, prediction: Prediction, classes: tuple[str, ...]
) -> Observation:
    """Numbers of the first input's answer; there must be one."""
    outcome = summarize_output(prediction.probabilities[0], prediction.embedding[0])
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
        novelty=None if prediction.novelty is None else float(prediction.novelty[0]),
        brightness=statistics.brightness,
        contrast=statistics.contrast,
        sharpness=statistics.sharpness,
        width=detection.width,
        height=detection.height,
        faces=len(picture.faces),
        box=picture.box,
        other_faces=_other_faces(picture, prediction, classes),
        decode_ms=timings.decode,
        faces_ms=timings.faces,
        preprocess_ms=timings.preprocess,
        inference_ms=timings.inference,
        total_ms=timings.total,
    )


def _other_faces(picture: Picture, prediction: Prediction, classes: tuple[str, ...]) -> tuple[OtherFace, ...]:
    """The answers to the inputs after the first, which are the picture's faces in the same order."""
    rows = prediction.probabilities[1:]
    return tuple(
        OtherFace(predicted=classes[index], confidence=float(row[index]), box=face.box)
        for face, row, index in zip(picture.faces[1:], rows, rows.argmax(axis=1).tolist(), strict=True)
    )


class ObservationSink:
    """Records answers, and of each model that gave one the facts that are needed to read them later."""

    def __init__(self, recorder: Recorder, *, keeps_pictures: bool) -> None:
        """Create the sink; without `keeps_pictures` the recorder gets no picture to choose from."""
        self._recorder = recorder
        self._keeps_pictures = keeps_pictures
        self._known: LiveModel | None = None

    def record(self, observation: Observation, *, live: LiveModel, data: bytes | None) -> None:
        """See `serving.detection.detector.Sink`."""
        if live is not self._known:
            self._recorder.remember(_record_of(live))
            self._known = live
        self._recorder.record(observation, picture=data if self._keeps_pictures else None)


def _record_of(live: LiveModel) -> ModelRecord:
    identity = live.identity
    return ModelRecord(
        name=identity.name,
        version=identity.version,
        sha256=identity.sha256,
        classes=live.contract.classes,
        lineage={
            "source": identity.source,
            "run_id": identity.run_id,
            "git_commit": identity.git_commit,
            "dirty": identity.dirty,
            "dataset": live.contract.dataset,
            "data_dvc": identity.data_dvc,
            "architecture": live.contract.architecture,
            "weights": live.contract.weights,
            "sample": identity.sample,
        },
    )


class SwitchLog:
    """Records the switches of the live model in the observation database."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._process = f"{socket.gethostname()}:{os.getpid()}"

    def record_switch(
        self,
        time: float,
        previous: ModelIdentity | None,
        current: ModelIdentity,
        reason: str,
        *,
        kind: SwitchKind,
        promoted_by: str | None = None,
        signature: ModelSignature | None = None,
    ) -> None:
        """See `serving.model_sync.watcher.History`."""
        self._recorder.record_switch(
            Switch(
                time=time,
                from_version=previous.version if previous else None,
                from_sha256=previous.sha256 if previous else None,
                to_version=current.version,
                to_sha256=current.sha256,
                reason=reason,
                process=self._process,
                kind=kind,
                promoted_by=promoted_by,
                signature=signature.state if signature else None,
                signed_by=signature.signed_by if signature else None,
            )
        )
