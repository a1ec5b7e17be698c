"""The work that a request gives to the batcher: pictures for the network, an answer from its outputs.

The batcher's worker threads call it; `Timing` tells it how long its parts took. `PreparedTensors` is the work
of a request that sends the network's inputs themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from serving.contract.arrays import Image
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import Prediction

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Durations of one request's parts, seconds."""

    queued_s: float
    """Time from its arrival until a worker took it."""
    prepare_s: float
    """Time to prepare its own pictures."""
    infer_s: float
    """Time of the network, for the whole batch."""
    batch: int
    """Number of pictures that went through the network together."""


class Work(Protocol[R_co]):
    """One request; both methods are called in a worker thread, one after the other."""

    def prepare(self, live: LiveModel) -> Image:
        """Return the network's inputs, uint8 [n, H, W, 3]; exceptions are passed to the caller."""

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> R_co:
        """Return the answer for the network's outputs of these n pictures."""


class Job(Protocol):
    """A request in the queue."""

    @property
    def images(self) -> int:
        """Expected number of pictures."""

    @property
    def live(self) -> LiveModel:
        """The model that answers the request."""


class PreparedTensors:
    """Work whose pictures are prepared already."""

    def __init__(self, images: Image) -> None:
        self._images = images

    def prepare(self, live: LiveModel) -> Image:
        """Return them."""
        return self._images

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> Prediction:
        """Return the network's outputs."""
        return prediction
