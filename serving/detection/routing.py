"""Routes a request to the canary's candidate or the live model, and offers answers to the shadow.

This module has the protocols and the order of calls; the application provides the implementations.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.contract import InputSpec
from serving.detection.image_reader import FacesMode
from serving.errors import ImageError
from serving.errors.requests import RequestError
from serving.inference.batching import Batcher
from serving.inference.model_slot import LiveModel, ModelIdentity
from serving.inference.work import Work
from serving.observations.records import Observation

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# Of a request's time: when the candidate has used it up, as much is left for the live model.
_CANDIDATES_TIME = 0.5
PICTURES = "pictures"
"""The workload of requests with pictures' files, see `Turn.workload`."""


class Sink(Protocol):
    """Receives every answer that is recorded."""

    def record(self, observation: Observation, *, live: LiveModel, data: bytes | None) -> None:
        """Keep one answer; never blocks, never raises. `data` is the picture's file, if there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveAnswer:
    """The live model's answer to one input, a picture's first one, for a comparison with another model."""

    id: str
    """Of the answer."""
    data: bytes
    """The picture's file: the other model may need another size, crop or detector. With `tensor`, the input
    itself: uint8 [H, W, 3]."""
    faces: FacesMode
    tensor: InputSpec | None = None
    """What `data` was prepared for by the client; None for a file."""
    model: ModelIdentity
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    """[classes]."""
    cost_s: float
    """Seconds of work that it took; see `Turn.cost_s`."""


class Shadow(Protocol):
    """Another model that classifies a sample of the pictures; clients never see its answers."""

    def wants(self, tensor: InputSpec | None = None) -> bool:
        """Whether this input belongs to the sample; called for every one, in any thread.

        Args:
            tensor: what the client prepared the input for; only a model with the same input wants it. None:
                it comes from a picture's file.
        """

    def offer(self, answer: LiveAnswer) -> None:
        """Take one answer; never blocks, never raises."""


class Canary(Protocol):
    """Another model that answers a share of the clients."""

    def choose(self, subject: str) -> LiveModel | None:
        """The candidate, when it is to answer this subject."""

    async def run(self, work: Work[R], candidate: LiveModel, *, deadline_s: float, images: int) -> R:
        """Have the candidate answer."""

    def measured(self, cost_s: float | None, workload: str) -> None:
        """The live model answered; see `Turn.cost_s` and `Turn.workload`."""

    def answered(self, candidate: LiveModel, cost_s: float | None, workload: str) -> None:
        """The candidate answered."""

    def failed(self, candidate: LiveModel, error: Exception) -> None:
        """The candidate did not answer."""


@dataclass(kw_only=True, slots=True)
class Turn:
    """One model's turn at one request."""

    sink: Sink
    shadow: Shadow | None = None
    canary: bool = False
    """Whether it is the candidate's."""
    begun: float = field(default_factory=time.perf_counter)
    """When the request was complete, on `time.perf_counter`; the same for both turns."""
    cost_s: float | None = None
    """Once answered: seconds of work for one input (finding faces, preprocessing, its part of the batch's
    inference), without what does not depend on the model; None without an input."""
    workload: str = PICTURES
    """What `cost_s` is the cost of: only costs of one workload are compared."""


class Pin:
    """The model that answers one stream: the choice for its first frame holds until that candidate is gone.

    Then the live model answers the rest of the stream, also if the candidate comes back.
    """

    def __init__(self) -> None:
        """Create a pin before the first frame."""
        self._chosen: tuple[str, str] | None = None
        self._is_new = True

    def keep(self, chosen: LiveModel | None) -> LiveModel | None:
        """Return the candidate that answers this frame; None: the live model.

        Args:
            chosen: what the canary chooses at this moment.
        """
        key = None if chosen is None else chosen.identity.key
        if self._is_new:
            self._is_new, self._chosen = False, key
        elif key != self._chosen:
            self._chosen = None
        return chosen if self._chosen is not None else None


class _HeldSink:
    """Holds a candidate's observations until its answer is the one that the client gets."""

    def __init__(self) -> None:
        self._kept: list[Callable[[Sink], None]] = []

    def record(self, observation: Observation, *, live: LiveModel, data: bytes | None) -> None:
        self._kept.append(lambda sink: sink.record(observation, live=live, data=data))

    def pass_on(self, sink: Sink) -> None:
        for record in self._kept:
            record(sink)


async def route_request(
    canary: Canary,
    candidate: LiveModel | None,
    make: Callable[[Turn], Work[R]],
    *,
    batcher: Batcher,
    sink: Sink,
    shadow: Shadow | None,
    timeout_s: float,
    live: LiveModel | None,
    images: int = 1,
) -> R:
    """Have the candidate answer if there is one, and the live model if there is none or the candidate fails.

    Args:
        canary: runs the candidate and counts.
        candidate: that the canary chose for this request; None: the live model answers.
        make: the request as work, for one turn.
        batcher: of the live model.
        sink: receives the one answer that counts.
        shadow: gets the live model's answers.
        timeout_s: for both turns together.
        live: the model that is to answer if the candidate does not; the current one without it.
        images: expected number of pictures, for the limits of the queues.

    Raises:
        Exception: of the live model's turn, and of the candidate's where the picture is the cause.
    """
    begun = time.perf_counter()
    if candidate is not None:
        held = _HeldSink()
        turn = Turn(sink=held, canary=True, begun=begun)
        try:
            deadline_s = timeout_s * _CANDIDATES_TIME
            answer = await canary.run(make(turn), candidate, deadline_s=deadline_s, images=images)
        except (ImageError, RequestError):
            raise
        except Exception as error:
            canary.failed(candidate, error)
        else:
            held.pass_on(sink)
            canary.answered(candidate, turn.cost_s, turn.workload)
            return answer
    # An error of the live model's turn must not keep the candidate alive: its traceback holds this frame.
    del candidate
    turn = Turn(sink=sink, shadow=shadow, begun=begun)
    left_s = timeout_s - (time.perf_counter() - begun)
    answer = await batcher.run(make(turn), deadline_s=max(left_s, 0.0), live=live, images=images)
    canary.measured(turn.cost_s, turn.workload)
    return answer
