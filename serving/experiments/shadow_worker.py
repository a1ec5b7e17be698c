"""The shadow process: another model answers pictures that the live model has answered.

    python -m serving.experiments.shadow_worker FD      # started by the service, through serving.processes

It is a process and not a thread, so that it does not disturb the service: it holds no interpreter lock that
other threads wait for, the kernel kills it first when memory runs out, and a model that crashes ends only
this process.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from serving.detection.detectors import Detectors
from serving.detection.image_reader import PictureReader
from serving.errors import ServingError
from serving.experiments.shadow_client import (
    ShadowQuestion,
    ShadowReply,
    ShadowSetup,
    read_question,
    read_setup,
    send_reply,
)
from serving.inference.model_slot import LiveModel, ModelSlot
from serving.model_sync.service import ModelSync

_LOWEST_PRIORITY = 19
_FIRST_TO_END = "1000"
# At the lowest priority a run waits for as long as the machine is busy; the service gives up after 300 s.
_STARVED_S = 240.0
# Maximum number of log lines between two questions; further lines are dropped.
_MAX_LOGS = 100


class ShadowWorker:
    """Answers the service's questions."""

    def __init__(self, setup: ShadowSetup) -> None:
        """Create the worker; `following.start` starts it."""
        self._location = setup.location
        self._slot = ModelSlot()
        self.following = ModelSync(
            setup.location,
            self._slot,
            cache=setup.cache,
            tracking_uri=setup.tracking_uri,
            poll_s=setup.poll_s,
            # One picture at a time.
            max_batch=1,
            limit_s=setup.model_timeout_s,
            role="shadow",
            trusted_keys=setup.trusted_keys,
        )
        self._reader = PictureReader(
            Detectors(setup.face_detector, face_model=setup.face_model, cache_dir=setup.cache),
            max_pixels=setup.max_pixels,
            max_faces=setup.max_faces,
            margin=setup.face_margin,
        )

    def reply(self, question: ShadowQuestion) -> ShadowReply:
        """Return the shadow's status and, for a picture, the model's answer."""
        live = None if self.following.absent else self._slot.current
        if live is None:
            absent = f"{self._location} names no model"
            return ShadowReply(model=None, reason=absent if self.following.absent else self._slot.reason)
        status = ShadowReply(model=live.identity, reason="", input=live.contract.input)
        if question.data is None:
            return status
        if question.tensor not in (None, live.contract.input):
            return replace(status, skipped=True)
        try:
            return self._answer(live, question, question.data, status)
        except Exception as error:  # any failure of the shadow is reported to the service, which counts it
            return replace(status, error=" ".join(str(error).split())[:300] or type(error).__name__)

    def _answer(
        self, live: LiveModel, question: ShadowQuestion, data: bytes, status: ShadowReply
    ) -> ShadowReply:
        own_s = 0.0
        if question.tensor is not None:
            spec = question.tensor
            inputs = np.frombuffer(data, np.uint8).reshape(1, spec.height, spec.width, 3)
        else:
            picture = self._reader.read(data, live.contract.input, question.faces)
            inputs = picture.inputs
            if not len(inputs):
                return status
            own_s = (picture.faces_ms + picture.preprocess_ms / len(inputs)) / 1e3
        begun = time.perf_counter()
        # Only the largest face is compared: its answer is the picture's.
        answers = live.classifier.predict(inputs[:1], limit_s=_STARVED_S)
        row = answers.probabilities[0]
        return replace(
            status,
            probabilities=dict(zip(live.contract.classes, row.tolist(), strict=True)),
            cost_s=own_s + time.perf_counter() - begun,
        )


class _LogBuffer(logging.Handler):
    """Keeps log lines for the next reply."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) < _MAX_LOGS:
            self._lines.append((record.name, record.levelno, self.format(record)))

    def taken(self) -> tuple[tuple[str, int, str], ...]:
        lines, self._lines = self._lines, []
        return tuple(lines)


def _step_back() -> None:
    """Lower the priority of this thread only, so that models are still loaded without delay."""
    os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_PRIORITY)
    if hasattr(os, "SCHED_IDLE"):
        # Runs only on otherwise idle cores (sched(7)).
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_first() -> None:
    """Make this process the first to be killed when memory runs out (proc_pid_oom_score_adj(5))."""
    try:
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_END, encoding="ascii")
    except OSError:
        return


def main() -> None:
    """Answer questions until the service ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("fd", type=int, help="file descriptor of the connection to the service")
    connection = Connection(parser.parse_args().fd)
    import cv2

    cv2.setNumThreads(1)
    kept = _LogBuffer()
    logger = logging.getLogger("serving")
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    _end_first()
    looker = ShadowWorker(read_setup(connection))
    # Before the priority is lowered: threads that start afterwards inherit it.
    try:
        looker.following.start()
    except ServingError as error:
        raise SystemExit(str(error)) from None
    _step_back()
    try:
        while True:
            question = read_question(connection)
            reply = looker.reply(question)
            # Free the picture before waiting for the next one.
            del question
            send_reply(connection, replace(reply, logs=kept.taken()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        looker.following.stop()


if __name__ == "__main__":
    main()
