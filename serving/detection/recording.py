"""Turns answers and switches into rows of the observation database."""

from __future__ import annotations

import os
import socket

from serving.inference.model_slot import LiveModel, ModelIdentity
from serving.observations.recorder import Recorder
from serving.observations.records import ModelRecord, Observation, Switch, SwitchKind


class ObservationSink:
    """Records answers, and of each answering model the data needed to read them later."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._known: LiveModel | None = None

    def record(self, observation: Observation, *, live: LiveModel, data: bytes | None) -> None:
        """See `serving.detection.detector.Sink`."""
        if live is not self._known:
            self._recorder.remember(_record_of(live))
            self._known = live
        self._recorder.record(observation, picture=data)


class SwitchLog:
    """Records the history of live models."""

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
            )
        )


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
            "dataset": live.contract.dataset,
            "data_dvc": identity.data_dvc,
            "architecture": live.contract.architecture,
            "weights": live.contract.weights,
            "sample": identity.sample,
        },
    )
